"""Ground truth of an official nuScenes folder, from its JSON tables, as nuscenes-devkit 1.2.0 loads it.

The tables are decoded once, into columns that lie in a cache from then on and are mapped: all processes of a machine
share them, and each opens them in a moment::

    VERSION/*.json ──► rows, in blocks ──► columns ──► CACHE/nuscenes/VERSION-*/STATE/*.npy ──► mapped, by every process
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import DatasetNotFound, InputError, closest
from datamodules.files.text_files import read_text
from datamodules.nuscenes.box_checks import check_truth
from datamodules.nuscenes.boxes import GlobalBoxes, GroundTruth, SampleBoxes, SampleTruth, take_groups
from datamodules.nuscenes.format import collector_off
from datamodules.nuscenes.splits import RELEASES, scenes_of
from datamodules.nuscenes.table_boxes import read_boxes, warn_of_categories
from datamodules.nuscenes.table_cache import cache_place, cached_columns
from datamodules.nuscenes.table_columns import LIDAR_INDEX, TEXT_COLUMNS, Problems, TableColumns, Texts, names_by_token
from datamodules.nuscenes.table_shots import read_moments, read_shots
from datamodules.nuscenes.table_stream import LARGE_TABLES, TABLE_FILES, unchanged
from datamodules.processes import beside

Row = dict[str, Any]


def read_dataset(dataroot: str | os.PathLike[str], version: str, split: str) -> GroundTruth:
    """The annotations of a split, for evaluation.

    Args:
        dataroot: folder that holds the version's folder.
        version: v1.0-mini, v1.0-trainval, or another folder of the same tables.
        split: see :func:`read_truth`.

    Raises:
        DatasetNotFound: a missing folder or table.
        InputError: see :func:`read_truth`, or a version without annotations.
    """
    tables = Tables(Path(dataroot) / version)
    truth = read_truth(tables, split)
    if not tables.columns["annotations"][0]:
        place = tables.folder / "sample_annotation.json"
        raise InputError(f"{place} holds no annotations; expected those of {split}")
    return truth


class Tables:
    """The columns of a version's tables.

    Attributes:
        folder: DATAROOT/VERSION.
        columns: arrays by name (:data:`datamodules.nuscenes.table_columns.COLUMNS`), and two for each of its texts.
        problems: what is wrong with single samples.
        sample_tokens: of all samples, in the order of their table.
        scene_names: of all scenes, likewise.
        shot_files: pictures below the data root, six a sample.
    """

    def __init__(self, folder: Path, cache: str | os.PathLike[str] | None = None) -> None:
        """Read them, or map what was kept of them.

        Args:
            folder: DATAROOT/VERSION.
            cache: folder where their columns are kept; by default, of tables of some size, the user's cache.

        Raises:
            DatasetNotFound: a missing folder or table.
            InputError: an ill-formed table.
        """
        if not folder.is_dir():
            found = sorted(path.name for path in folder.parent.glob("v*") if path.is_dir())
            hint = f"found {', '.join(found)}" if found else "found no version there"
            raise DatasetNotFound(
                f"{folder} does not exist; expected {TABLE_FILES}; {hint}; correct the folder or the version"
            )
        self.folder, self._cache = folder, cache
        place = cache_place(folder, cache)
        self._mapped = False
        if place is None:
            self.columns, self.problems = read_columns(folder)
        else:
            self.columns, self.problems, self._mapped = cached_columns(place, lambda: read_columns(folder))
        self.sample_tokens, self.scene_names, self.shot_files, self.category_names = (
            Texts(self.columns[name], self.columns[f"{name}_ends"]) for name in TEXT_COLUMNS
        )

    def __len__(self) -> int:
        return len(self.sample_tokens)

    def __reduce__(self) -> Any:
        """For processes that share no memory: what is mapped is mapped there again."""
        return (Tables, (self.folder, self._cache)) if self._mapped else super().__reduce__()

    def samples_of(self, split: str) -> np.ndarray:
        """Rows (K,) of a split's samples, whose annotations are sound.

        Raises:
            InputError: see :func:`read_truth`.
        """
        scenes, names = _scene_names(split, self.folder.name), list(self.scene_names)
        if split not in RELEASES and not scenes <= set(names):
            missing = min(scenes - set(names))
            raise InputError(
                f"{split}: scene {missing!r} is not in {self.folder / 'scene.json'}; correct the name or the version"
            )
        wanted = np.array([name in scenes for name in names], np.bool_)
        chosen = np.flatnonzero(wanted[self.columns["sample_scene"]])
        if not len(chosen):
            raise InputError(
                f"{self.folder}: no sample of split {split}; expected some of its scenes; correct the version or the "
                "split"
            )
        warn_of_categories(self.folder, self.category_names)
        self.problems.raise_first("lidar", chosen)
        self.problems.raise_first("boxes", chosen)
        if self.problems.found.get("values"):  # of some sample; which one is said of the split
            check_truth(self.truth(chosen), str(self.folder))
        return chosen

    def truth(self, chosen: np.ndarray) -> GroundTruth:
        """Annotations of some samples (K,), copied."""
        return _truth(self.columns, self.sample_tokens, chosen)

    def sample_truth(self, row: int) -> SampleTruth:
        """Annotations of one sample; most of it are views of the columns."""
        of = self.columns
        boxes, racks = (slice(*of[f"{name}_offsets"][row : row + 2].tolist()) for name in ("box", "rack"))
        return SampleTruth(_boxes(of, boxes), of["shot_pose"][row, LIDAR_INDEX, 4:], of["racks"][racks])


def _truth(of: TableColumns, tokens: Texts, chosen: np.ndarray) -> GroundTruth:
    rows, offsets = take_groups(of["box_offsets"], chosen)
    racks, rack_offsets = take_groups(of["rack_offsets"], chosen)
    boxes = SampleBoxes(tuple(tokens.take(chosen)), offsets, _boxes(of, rows))
    return GroundTruth(boxes, of["shot_pose"][chosen, LIDAR_INDEX, 4:], of["racks"][racks], rack_offsets)


def _boxes(of: TableColumns, rows: np.ndarray | slice) -> GlobalBoxes:
    geometry, velocity, codes = (of[f"box_{name}"][rows] for name in ("geometry", "velocity", "codes"))
    parts = geometry[:, :3], geometry[:, 3:6], geometry[:, 6:], velocity
    labels, attributes, points = codes.astype(np.int64).T
    return GlobalBoxes(*parts, labels, attributes, np.full(len(codes), np.nan), points)


def read_columns(folder: Path) -> tuple[TableColumns, Problems]:
    """Decode the tables of a folder.

    Returns:
        The columns, and what is wrong with single samples.

    Raises:
        DatasetNotFound: a missing table.
        InputError: an ill-formed table, one that points nowhere in a way that concerns all samples, or one that changes
            while it is read.
    """
    problems = Problems()
    with collector_off(), unchanged(folder) as size:
        scenes, names = names_by_token(folder, "scene", "name")
        samples, columns = read_moments(folder, scenes)
        columns |= Texts.columns("scene_name", names)
        half = partial(read_boxes, folder, samples, columns["sample_time"])
        with beside(half, size >= LARGE_TABLES) as boxes:
            columns |= read_shots(folder, samples, problems)
            others, box_problems = boxes()
        columns |= others
        problems.found |= box_problems.found
        tokens = Texts(columns["sample_token"], columns["sample_token_ends"])
        try:
            check_truth(_truth(columns, tokens, np.arange(len(tokens))), str(folder))
        except InputError as error:
            problems.add("values", 0, (0, 0), error)
    return columns, problems


def read_truth(tables: Tables, split: str) -> GroundTruth:
    """Annotations of a split; none where the version has none (the official test set).

    Args:
        tables: of the version.
        split: train, val, test, mini_train, mini_val, train_detect, train_track, or a text file of scene names.

    Returns:
        Unfiltered boxes of the ten classes, places of the car at the lidar's time, bicycle racks; samples in the order
        of the sample table. Velocities (m/s) are differences between the neighbouring annotations of an instance.

    Raises:
        InputError: an unknown split or one of another version, or a row that points nowhere.
    """
    return tables.truth(tables.samples_of(split))


def _scene_names(split: str, version: str) -> frozenset[str]:
    """Names of a split's scenes."""
    if split in RELEASES:
        if not version.endswith(RELEASES[split]):
            raise InputError(f"split {split}: belongs to a version ending in {RELEASES[split]}, not to {version}")
        return scenes_of(split)
    try:
        names = read_text(split, "scene names, one a line").split()
    except DatasetNotFound:
        choices = f"expected one of {', '.join(RELEASES)}, or a text file of scene names{closest(split, RELEASES)}"
        missing = (
            "no such file (data.train_split and val_split do not follow data.root); " if Path(split).suffix else ""
        )
        raise InputError(f"split {split}: {missing}{choices}") from None
    if not names:
        raise InputError(f"split {split}: the file holds no scene names; expected one a line, such as scene-0061")
    return frozenset(names)

"""Ground truth of an official nuScenes folder, from its JSON tables, as nuscenes-devkit 1.2.0 loads it."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datamodules.errors import DatasetNotFound, InputError, closest, printable
from datamodules.files.checksums import verify
from datamodules.files.text_files import decoded, read_text
from datamodules.files.typed_json import quoted
from datamodules.nuscenes.box_checks import check_truth
from datamodules.nuscenes.boxes import (
    ATTRIBUTE_NAMES,
    BOX_COLUMNS,
    DETECTION_NAMES,
    RACK_COLUMNS,
    GlobalBoxes,
    GroundTruth,
    SampleTruth,
)
from datamodules.nuscenes.format import collector_off
from datamodules.nuscenes.splits import RELEASES, scenes_of
from datamodules.nuscenes.table_rows import ROWS, WANTED

TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance",
    "sample", "sample_annotation", "sample_data", "scene", "sensor",
)  # fmt: skip
TABLE_FILES = "DATAROOT/VERSION/{" + ",".join(TABLES) + "}.json"
RACK = "static_object.bicycle_rack"
CATEGORIES = {
    "movable_object.barrier": "barrier",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.trafficcone": "traffic_cone",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
LEFT_OUT = (  # of the detection task; lidar segmentation adds noise and whatever is flat, static or the car itself
    r"animal|human\.pedestrian\.(personal_mobility|stroller|wheelchair)|movable_object\.(debris|pushable_pullable)|"
    r"vehicle\.(emergency\.(ambulance|police)|ego)|noise|(flat|static)\..+"
)
MAX_TIME = 1.5  # s between neighbouring annotations that still give a velocity
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
    if not tables.rows["sample_annotation"]:
        place = tables.folder / "sample_annotation.json"
        raise InputError(f"{place} holds no annotations; expected those of {split}")
    return truth


class Tables:
    """The tables of a version by token.

    Attributes:
        folder: DATAROOT/VERSION.
        rows: table name to its rows by token, in file order.
    """

    def __init__(self, folder: Path) -> None:
        """Read them.

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
        self.folder = folder
        with collector_off():
            self.rows = {name: _read_table(folder / f"{name}.json") for name in TABLES}

    def find(self, table: str, token: str, source: str) -> Row:
        """The row that another row names.

        Raises:
            InputError: there is none.
        """
        try:
            return self.rows[table][token]
        except KeyError:
            place = f"{self.folder / source}.json"
            cure = "copy all tables of one release again"
            complaint = f"{place}: names {table} {token!r}, which {table}.json does not hold; {cure}"
            raise InputError(printable(complaint)) from None


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
    folder = tables.folder
    scenes = _scene_names(split, folder.name)
    known = {row["name"] for row in tables.rows["scene"].values()}
    if split not in RELEASES and not scenes <= known:
        missing = min(scenes - known)
        raise InputError(
            f"{split}: scene {missing!r} is not in {folder / 'scene.json'}; correct the name or the version"
        )
    chosen = {
        token: sample
        for token, sample in tables.rows["sample"].items()
        if tables.find("scene", sample["scene_token"], "sample")["name"] in scenes
    }
    if not chosen:
        raise InputError(
            f"{folder}: no sample of split {split}; expected some of its scenes; correct the version or the split"
        )
    _warn_of_categories(tables)
    poses = _lidar_poses(tables, chosen)
    boxes: dict[str, list[list[float]]] = {token: [] for token in chosen}
    racks: dict[str, list[list[float]]] = {token: [] for token in chosen}
    for row in tables.rows["sample_annotation"].values():
        token = row["sample_token"]
        if token not in chosen:
            continue
        instance = tables.find("instance", row["instance_token"], "sample_annotation")
        category = tables.find("category", instance["category_token"], "instance")["name"]
        if category == RACK:
            racks[token].append(_geometry(row))
        elif category in CATEGORIES:
            boxes[token].append(_box(tables, row, CATEGORIES[category]))
    truth = GroundTruth.join(
        {
            token: SampleTruth(
                GlobalBoxes.from_rows(np.array(boxes[token], dtype=np.float64).reshape(-1, BOX_COLUMNS)),
                np.array(poses[token], dtype=np.float64),
                np.array(racks[token], dtype=np.float64).reshape(-1, RACK_COLUMNS),
            )
            for token in chosen
        }
    )
    check_truth(truth, str(folder))
    return truth


def _warn_of_categories(tables: Tables) -> None:
    """Say which categories are none of nuScenes' own: their objects are left out."""
    names = [row["name"] for row in tables.rows["category"].values()]
    known = (*CATEGORIES, RACK)
    foreign = [name for name in names if name not in known and not re.fullmatch(LEFT_OUT, name)]
    if foreign:
        place = f"{tables.folder / 'category.json'}: {quoted(foreign[0])}"
        rest = f"one of {len(foreign)} categories that nuScenes does not have; their objects are left out"
        warnings.warn(printable(f"{place}, {rest}{closest(foreign[0], known)}"), stacklevel=3)


def _lidar_poses(tables: Tables, samples: dict[str, Row]) -> dict[str, list[float]]:
    """Place of the car (3,) at each sample's key frame of the upper lidar."""
    lidars = {
        token
        for token, row in tables.rows["calibrated_sensor"].items()
        if tables.find("sensor", row["sensor_token"], "calibrated_sensor")["channel"] == "LIDAR_TOP"
    }
    poses = {
        row["sample_token"]: _geometry(tables.find("ego_pose", row["ego_pose_token"], "sample_data"), ("translation",))
        for row in tables.rows["sample_data"].values()
        if row["is_key_frame"] and row["calibrated_sensor_token"] in lidars and row["sample_token"] in samples
    }
    if len(poses) < len(samples):
        token = next(token for token in samples if token not in poses)
        place = tables.folder / "sample_data.json"
        raise InputError(f"{place}: sample {token} has no key frame of LIDAR_TOP; copy the tables of one release again")
    return poses


def _box(tables: Tables, row: Row, name: str) -> list[float]:
    """One of ``GlobalBoxes.rows``."""
    attributes = [tables.find("attribute", t, "sample_annotation")["name"] for t in row["attribute_tokens"]]
    if len(attributes) > 1 or not set(attributes) <= set(ATTRIBUTE_NAMES):
        place = f"{tables.folder / 'sample_annotation.json'}: {row['token']}"
        raise InputError(f"{place}: attributes {attributes}, expected at most one of {', '.join(ATTRIBUTE_NAMES)}")
    attribute = ATTRIBUTE_NAMES.index(attributes[0]) if attributes else -1
    points = row["num_lidar_pts"] + row["num_radar_pts"]
    geometry = _geometry(row)
    return [*geometry, *_velocity(tables, row), DETECTION_NAMES.index(name), attribute, np.nan, points]


def _geometry(row: Row, keys: tuple[str, ...] = ("translation", "size", "rotation")) -> list[float]:
    """The numbers of some vectors of a row, one after another."""
    return [number for key in keys for number in row[key]]


def _velocity(tables: Tables, row: Row) -> tuple[float, float]:
    """Difference of the previous and next annotation of the instance (or this one) over time, x and y; or NaN."""
    first, last = (
        tables.find("sample_annotation", row[side], "sample_annotation") if row[side] else row
        for side in ("prev", "next")
    )
    for neighbour in (first, last):
        tables.find("instance", neighbour["instance_token"], "sample_annotation")
    if not first["instance_token"] == last["instance_token"] == row["instance_token"]:
        place = printable(f"{tables.folder / 'sample_annotation.json'}: row {row['token']}")
        raise InputError(f"{place}: prev or next is of another instance; copy all tables of one release again")
    begin, end = (
        1e-6 * tables.find("sample", end["sample_token"], "sample_annotation")["timestamp"] for end in (first, last)
    )
    longest = 2 * MAX_TIME if row["prev"] and row["next"] else MAX_TIME
    if end == begin or end - begin > longest:
        return np.nan, np.nan
    (x, y, _), (next_x, next_y, _) = first["translation"], last["translation"]
    return (next_x - x) / (end - begin), (next_y - y) / (end - begin)


def _read_table(path: Path) -> dict[str, Row]:
    """Rows by token, in file order."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        cause = f"{path}: cannot be read ({error.strerror}); expected {TABLE_FILES}"
        raise DatasetNotFound(f"{cause}; download the version's metadata") from error
    verify(path, raw)
    text = decoded(raw, path, "a nuScenes table")
    try:
        rows = json.loads(text)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and type(row["token"]) is str for row in rows):
            raise TypeError("no list of rows with tokens")
        if len(re.findall(r'"\s*:', text)) > sum(map(len, rows)):  # JSON keeps the last of two equal keys only
            json.loads(text, object_pairs_hook=_unique)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        expected = "expected a JSON list of rows with tokens"
        problem = printable(f"{path}: not a nuScenes table ({error!r})")
        raise InputError(f"{problem}; {expected}; copy it again") from error
    found: dict[str, Row] = {row["token"]: _Row(path, row) for row in rows}
    if len(found) < len(rows):
        token = next(token for token, count in Counter(row["token"] for row in rows).items() if count > 1)
        raise InputError(printable(f"{path}: two rows have the token {token}, expected one; copy it again"))
    _check_rows(path, rows)
    return found


def _check_rows(path: Path, rows: list[Row]) -> None:
    """Compare rows with their structure (:mod:`datamodules.nuscenes.table_rows`)."""
    try:
        msgspec.convert(rows, ROWS[path.stem])
    except (msgspec.ValidationError, UnicodeError) as error:
        place = re.search(r"\$\[(\d+)\]", str(error))
        field = re.search(r"`\$(?:\[\d+\])?\.(\w+)", str(error))
        row, key = rows[int(place[1])] if place else {}, field[1] if field else ""
        wanted = WANTED.get(key, "text" if key else "a row of this table")
        where = f"{path}: row {row.get('token')}: {key} {quoted(row.get(key))}"
        bound = re.search(r" (?:>=|<=) \S+", str(error))
        raise InputError(
            printable(f"{where}, expected {wanted}{bound[0] if bound else ''}; copy the table again")
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    name, count = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
    if count > 1:
        raise ValueError(f"the key {name!r} stands twice in one row")
    return dict(pairs)


class _Row(dict[str, Any]):
    """A row that says which file lacks a field."""

    def __init__(self, path: Path, fields: Row) -> None:
        super().__init__(fields)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.path}: row {self['token']} has no {key}; copy all tables of one release again")


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
        raise InputError(f"split {split}: {choices}") from None
    if not names:
        raise InputError(f"split {split}: the file holds no scene names; expected one a line, such as scene-0061")
    return frozenset(names)

"""Annotations of nuScenes' tables as columns: the boxes of the detection task and bicycle racks, sample by sample."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from datamodules.errors import InputError, closest, printable
from datamodules.files.typed_json import quoted
from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES, offsets_of
from datamodules.nuscenes.table_columns import (
    LOST,
    NO_USE,
    Problems,
    TableColumns,
    Texts,
    linked,
    names_by_token,
    numbers,
)
from datamodules.nuscenes.table_stream import dangles, lacks, read_rows

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
MAX_TIME = 1.5  # s between neighbouring annotations that still give a velocity
RACKS = len(DETECTION_NAMES)  # code of racks, after those of the ten classes
LEFT_OUT = (  # of the detection task; lidar segmentation adds noise and whatever is flat, static or the car itself
    r"animal|human\.pedestrian\.(personal_mobility|stroller|wheelchair)|movable_object\.(debris|pushable_pullable)|"
    r"vehicle\.(emergency\.(ambulance|police)|ego)|noise|(flat|static)\..+"
)
FOREIGN = -3  # of attributes: more than one, or none of the eight


class _Annotations:
    """Rows of the annotation table, as columns of all of them.

    Attributes:
        tokens: of each row.
        links: tokens of the previous and of the next row of its instance, each.
        geometry: (N, 10) translation, size and rotation, NaN where lacking.
        codes: (N, 5) row of the sample, row of the instance, class or rack, attribute, points; negative where there is
            none.
        strays: tokens of samples that are not there, by row.
        unnamed: why a row has no instance, by row.
    """

    def __init__(self, folder: Path, samples: dict[str, int], problems: Problems) -> None:
        self.folder, self.samples, self.problems = folder, samples, problems
        self.tokens: list[str] = []
        self.links: tuple[list[str], list[str]] = [], []
        self.strays: dict[int, str] = {}
        self.unnamed: dict[int, InputError] = {}
        categories, names = names_by_token(folder, "category", "name")
        kinds = [RACKS if name == RACK else _LABELS.get(CATEGORIES.get(name, ""), NO_USE) for name in names]
        self.category_names = names
        self.instances: dict[str, int] = {}
        self.classes: list[int] = []
        self.lost: dict[int, InputError] = {}  # instances that name no category
        for rows in read_rows(folder, "instance"):
            for row in rows:
                category = categories.get(row.category_token, LOST)
                if category == LOST:
                    self.lost[len(self.classes)] = linked(folder, "instance", row, "category_token", "category")
                self.instances[row.token] = len(self.classes)
                self.classes.append(LOST if category == LOST else kinds[category])
        attributes, self.attribute_names = names_by_token(folder, "attribute", "name")
        known = {name: code for code, name in enumerate(ATTRIBUTE_NAMES)}
        self.attributes = {token: known.get(self.attribute_names[row], FOREIGN) for token, row in attributes.items()}
        self.attribute_rows = attributes
        geometry, codes = [np.zeros((0, 10))], [np.zeros((0, 5), np.int32)]
        for rows in read_rows(folder, "sample_annotation"):
            geometry.append(numbers(rows, (("translation", 3), ("size", 3), ("rotation", 4))))
            codes.append(self._codes(rows))
            self.tokens += [row.token for row in rows]
            self.links[0].extend([row.prev for row in rows])
            self.links[1].extend([row.next for row in rows])
        self.geometry, self.codes = np.concatenate(geometry), np.concatenate(codes)

    def _codes(self, rows: Sequence[Any]) -> np.ndarray:
        """(K, 5) codes of a block of rows; what leads nowhere is noted, for rows of samples that are there."""
        first, codes = len(self.tokens), np.empty((len(rows), 5), np.int32)
        sample = [self.samples.get(row.sample_token, LOST) for row in rows]
        instance = [self.instances.get(row.instance_token, LOST) for row in rows]
        label = [LOST if one == LOST else self.classes[one] for one in instance]
        codes[:, 0], codes[:, 1], codes[:, 2] = sample, instance, label
        codes[:, 3] = [self._attribute(row.attribute_tokens) for row in rows]
        codes[:, 4] = [
            LOST if row.num_lidar_pts is UNSET or row.num_radar_pts is UNSET else row.num_lidar_pts + row.num_radar_pts
            for row in rows
        ]
        for number in np.flatnonzero(codes[:, 0] == LOST).tolist():
            if rows[number].sample_token is UNSET:
                raise lacks(self.folder, "sample_annotation", rows[number].token, "sample_token")
            self.strays[first + number] = rows[number].sample_token
        for number in np.flatnonzero(codes[:, 1] == LOST).tolist():
            row = rows[number]
            self.unnamed[first + number] = linked(self.folder, "sample_annotation", row, "instance_token", "instance")
        boxes = (codes[:, 2] >= 0) & (codes[:, 2] < RACKS)
        bad = (codes[:, 2] == LOST) | (boxes & ((codes[:, 3] < NO_USE) | (codes[:, 4] < 0)))
        for number in np.flatnonzero(bad & (codes[:, 0] >= 0)).tolist():
            error = self.unnamed.get(first + number) or self._complaint(rows[number], instance[number])
            self._note(first + number, sample[number], error)
        return codes

    def _attribute(self, tokens: Any) -> int:
        if tokens is UNSET or len(tokens) > 1:
            return FOREIGN
        return self.attributes.get(tokens[0], LOST) if tokens else NO_USE

    def _note(self, row: int, sample: int, error: InputError) -> None:
        self.problems.add("boxes", sample, (0, row), error)

    def _complaint(self, row: Any, instance: int) -> InputError:
        """What is wrong with a row."""
        table = "sample_annotation"
        if instance in self.lost:
            return self.lost[instance]
        for key in ("attribute_tokens", "num_lidar_pts", "num_radar_pts"):
            if getattr(row, key) is UNSET:
                return lacks(self.folder, table, row.token, key)
        rows = [self.attribute_rows.get(token, LOST) for token in row.attribute_tokens]
        if LOST in rows:
            return dangles(self.folder, table, "attribute", row.attribute_tokens[rows.index(LOST)])
        names = [self.attribute_names[number] for number in rows]
        place = f"{self.folder / table}.json: {row.token}"
        expected = f"expected at most one of {', '.join(ATTRIBUTE_NAMES)}"
        return InputError(printable(f"{place}: attributes {names}, {expected}"))

    def neighbours(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The previous and the next row (K,) of some rows' instances; the row itself at an end."""
        index: dict[Any, int] = {token: number for number, token in enumerate(self.tokens)}
        index[""] = NO_USE
        every = (np.fromiter((index.get(one, LOST) for one in links), np.int64, len(links)) for links in self.links)
        first, last = (np.where(found[rows] == NO_USE, rows, found[rows]) for found in every)
        sample, instance = self.codes[:, 0], self.codes[:, 1]
        for key, links, found in (("prev", self.links[0], first), ("next", self.links[1], last)):
            for place in np.flatnonzero(found == LOST).tolist():
                row, token = int(rows[place]), links[rows[place]]
                table = "sample_annotation"
                error = (
                    lacks(self.folder, table, self.tokens[row], key)
                    if token is UNSET
                    else dangles(self.folder, table, table, token)
                )
                self._note(row, int(sample[row]), error)
        there = (first >= 0) & (last >= 0)
        first, last = (np.where(there, found, rows) for found in (first, last))
        for found in (first, last):
            for place in np.flatnonzero(instance[found] == LOST).tolist():
                row = int(rows[place])
                self._note(row, int(sample[row]), self.unnamed[int(found[place])])
        others = (instance[first] != instance[rows]) | (instance[last] != instance[rows])
        for row in rows[others].tolist():
            where = printable(f"{self.folder / 'sample_annotation.json'}: row {self.tokens[row]}")
            cure = "copy all tables of one release again"
            self._note(row, int(sample[row]), InputError(f"{where}: prev or next is of another instance; {cure}"))
        for found in (first, last):
            for place in np.flatnonzero(sample[found] == LOST).tolist():
                row, stray = int(rows[place]), self.strays[int(found[place])]
                self._note(row, int(sample[row]), dangles(self.folder, "sample_annotation", "sample", stray))
        return first, last


def read_boxes(folder: Path, samples: dict[str, int], times: np.ndarray) -> tuple[TableColumns, Problems]:
    """The annotations of the detection task, and racks, by sample.

    Args:
        folder: of the tables.
        samples: rows of samples by token.
        times: (N,) int64 their microseconds.

    Returns:
        The columns, and what is wrong with single annotations. Velocities (m/s) are differences between the
        neighbouring annotations of an instance.

    Raises:
        DatasetNotFound: a missing table.
        InputError: an ill-formed table.
    """
    problems = Problems()
    table = _Annotations(folder, samples, problems)
    sample, label = table.codes[:, 0], table.codes[:, 2]
    columns: TableColumns = {"annotations": np.array([len(table.tokens)], np.int64)}
    for name, wanted in (("box", (label >= 0) & (label < RACKS)), ("rack", label == RACKS)):
        rows = np.flatnonzero(wanted & (sample >= 0))
        for row in rows[np.isnan(table.geometry[rows]).any(1)].tolist():
            lacking = ("translation", "size", "rotation")[int(np.isnan(table.geometry[row])[[0, 3, 6]].argmax())]
            error = lacks(folder, "sample_annotation", table.tokens[row], lacking)
            problems.add("boxes", int(sample[row]), (0, row), error)
        rows = rows[np.argsort(sample[rows], kind="stable")]
        columns[f"{name}_offsets"] = offsets_of(np.bincount(sample[rows], minlength=len(samples)))
        if name == "rack":
            columns["racks"] = table.geometry[rows]
            continue
        columns["box_geometry"] = table.geometry[rows]
        columns["box_codes"] = table.codes[rows, 2:]
        columns["box_velocity"] = _velocities(table, rows, times)
    return columns | Texts.columns("category_name", table.category_names), problems


def _velocities(table: _Annotations, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(K, 2) m/s: the way between the previous and the next annotation (or this one) over the time; or NaN."""
    first, last = table.neighbours(rows)
    sample = table.codes[:, 0]
    begin, end = (1e-6 * times[sample[one]] for one in (first, last))
    longest = np.where((first != rows) & (last != rows), 2 * MAX_TIME, MAX_TIME)
    unknown = (end == begin) | (end - begin > longest)
    moved = table.geometry[last, :2] - table.geometry[first, :2]
    velocity: np.ndarray = moved / np.where(unknown, 1.0, end - begin)[:, None]
    velocity[unknown] = np.nan
    return velocity


def warn_of_categories(folder: Path, names: Sequence[str]) -> None:
    """Say which categories are none of nuScenes' own: their objects are left out."""
    known = (*CATEGORIES, RACK)
    foreign = [name for name in names if name not in known and not re.fullmatch(LEFT_OUT, name)]
    if foreign:
        place = f"{folder / 'category.json'}: {quoted(foreign[0])}"
        rest = f"one of {len(foreign)} categories that nuScenes does not have; their objects are left out"
        warnings.warn(printable(f"{place}, {rest}{closest(foreign[0], known)}"), stacklevel=4)


_LABELS = {name: code for code, name in enumerate(DETECTION_NAMES)}

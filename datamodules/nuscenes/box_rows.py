"""Boxes as submissions and ground truth files hold them, and the columns that they become.

What the numbers may be, :mod:`datamodules.nuscenes.box_checks` says of the columns: structures say the types.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES, AttributeName, DetectionName, GlobalBoxes
from datamodules.nuscenes.table_rows import Points

Vector = tuple[float, float, float]
Speed = float | None  # unknown where None or NaN
_LABELS = {name: code for code, name in enumerate(DETECTION_NAMES)}
_ATTRIBUTES = {"": -1, **{name: code for code, name in enumerate(ATTRIBUTE_NAMES)}}


class RackRow(Struct, gc=False):
    """A bicycle rack."""

    translation: Vector
    size: Vector
    rotation: tuple[float, float, float, float]


class BoxRow(RackRow, gc=False):
    """What predictions and annotations have in common."""

    velocity: tuple[Speed, Speed]
    detection_name: DetectionName
    attribute_name: AttributeName | Literal[""]


class PredictedRow(BoxRow, gc=False):
    """A prediction; some writers add the number of points, -1."""

    sample_token: str
    detection_score: float
    num_pts: Points | Literal[-1] = -1


class AnnotatedRow(BoxRow, gc=False):
    """An annotation."""

    num_pts: Points


class TruthRow(Struct):
    """An annotated sample."""

    ego_translation: Vector
    bikeracks: list[RackRow]
    boxes: list[AnnotatedRow]


class SubmissionFile(Struct):
    """A submission."""

    meta: dict[str, Any]
    results: dict[str, list[PredictedRow]]


def box_columns(rows: Sequence[PredictedRow] | Sequence[AnnotatedRow]) -> GlobalBoxes:
    """The boxes as arrays."""

    def numbers(field: str, width: int) -> np.ndarray:
        flat = chain.from_iterable(map(attrgetter(field), rows))
        return np.fromiter(flat, np.float64, width * len(rows)).reshape(-1, width)

    unknown = float("nan")
    speeds = [unknown if speed is None else speed for row in rows for speed in row.velocity]
    return GlobalBoxes(
        translation=numbers("translation", 3),
        size=numbers("size", 3),
        rotation=numbers("rotation", 4),
        velocity=np.array(speeds, dtype=np.float64).reshape(-1, 2),
        labels=np.array([_LABELS[row.detection_name] for row in rows], dtype=np.int64),
        attributes=np.array([_ATTRIBUTES[row.attribute_name] for row in rows], dtype=np.int64),
        scores=np.array([getattr(row, "detection_score", unknown) for row in rows], dtype=np.float64),
        num_pts=np.array([row.num_pts for row in rows], dtype=np.int64),
    )

"""nuScenes boxes as arrays: the classes and attributes of its detection task, boxes, and samples of boxes.

Frame: nuScenes' global one, x and y on the ground, z up, metres. A rotation is a quaternion (w, x, y, z) that turns the
box's own axes (x forward along the length, y left along the width, z up) into that frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from datamodules.geometry import Columns

DetectionName = Literal[
    "car", "truck", "bus", "trailer", "construction_vehicle",
    "pedestrian", "motorcycle", "bicycle", "traffic_cone", "barrier",
]  # fmt: skip
AttributeName = Literal[
    "pedestrian.moving", "pedestrian.sitting_lying_down", "pedestrian.standing", "cycle.with_rider",
    "cycle.without_rider", "vehicle.moving", "vehicle.parked", "vehicle.stopped",
]  # fmt: skip
DETECTION_NAMES: tuple[str, ...] = get_args(DetectionName)
ATTRIBUTE_NAMES: tuple[str, ...] = get_args(AttributeName)
CLASS_RANGES = {
    "car": 50.0, "truck": 50.0, "bus": 50.0, "trailer": 50.0, "construction_vehicle": 50.0,
    "pedestrian": 40.0, "motorcycle": 40.0, "bicycle": 40.0, "traffic_cone": 30.0, "barrier": 30.0,
}  # fmt: skip
# Per class the attributes it may have, the default first (mmdetection3d's NuScenesMetric.DefaultAttribute).
_VEHICLE, _CYCLE = ("vehicle.parked", "vehicle.moving", "vehicle.stopped"), ("cycle.without_rider", "cycle.with_rider")
ATTRIBUTES_OF = {
    "car": _VEHICLE, "truck": _VEHICLE, "trailer": _VEHICLE, "construction_vehicle": _VEHICLE,
    "bus": ("vehicle.moving", "vehicle.parked", "vehicle.stopped"), "bicycle": _CYCLE, "motorcycle": _CYCLE,
    "pedestrian": ("pedestrian.moving", "pedestrian.standing", "pedestrian.sitting_lying_down"),
}  # fmt: skip
MAX_BOXES = 500  # of one sample; the official evaluation refuses more
BOX_COLUMNS, RACK_COLUMNS = 16, 10


@dataclass(frozen=True)
class GlobalBoxes(Columns):
    """N boxes of one or more samples, as parallel arrays.

    Attributes:
        translation: (N, 3) float64 centre, m.
        size: (N, 3) float64 width, length, height, m.
        rotation: (N, 4) float64 quaternion w, x, y, z; need not have unit length.
        velocity: (N, 2) float64 along the global x and y, m/s; NaN where unknown.
        labels: (N,) int64 index into :data:`DETECTION_NAMES`.
        attributes: (N,) int64 index into :data:`ATTRIBUTE_NAMES`, -1 for none.
        scores: (N,) float64; NaN for ground truth.
        num_pts: (N,) int64 lidar and radar points inside; -1 for predictions.
    """

    translation: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    velocity: np.ndarray
    labels: np.ndarray
    attributes: np.ndarray
    scores: np.ndarray
    num_pts: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(N, 16) float64: the attributes side by side, in their order."""
        parts = (self.translation, self.size, self.rotation, self.velocity)
        return np.column_stack([*parts, self.labels, self.attributes, self.scores, self.num_pts]).astype(np.float64)

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> GlobalBoxes:
        """The inverse of :attr:`rows`."""
        labels, attributes, points = (rows[:, column].astype(np.int64) for column in (12, 13, 15))
        return cls(rows[:, 0:3], rows[:, 3:6], rows[:, 6:10], rows[:, 10:12], labels, attributes, rows[:, 14], points)

    @classmethod
    def empty(cls) -> GlobalBoxes:
        """No box."""
        return cls.from_rows(np.zeros((0, BOX_COLUMNS)))


@dataclass(frozen=True)
class SampleTruth:
    """What one annotated sample is evaluated against.

    Attributes:
        boxes: its annotations of the ten classes, unfiltered.
        ego_translation: (3,) float64 place of the car at the time of the lidar sweep, global frame, m.
        bikeracks: (B, 10) float64 translation (3), size w l h (3) and rotation w x y z (4) of its bicycle racks.
    """

    boxes: GlobalBoxes
    ego_translation: np.ndarray
    bikeracks: np.ndarray


@dataclass(frozen=True)
class SampleBoxes:
    """Boxes of S samples, one after another.

    Attributes:
        tokens: S sample tokens.
        offsets: (S + 1,) int64; sample i owns boxes offsets[i]:offsets[i + 1].
        boxes: all boxes.
    """

    tokens: tuple[str, ...]
    offsets: np.ndarray
    boxes: GlobalBoxes

    @classmethod
    def join(cls, samples: Mapping[str, GlobalBoxes]) -> SampleBoxes:
        """Pack samples in the mapping's order."""
        boxes = GlobalBoxes.concatenate([GlobalBoxes.empty(), *samples.values()])
        return cls(tuple(samples), offsets_of([len(mine) for mine in samples.values()]), boxes)

    def split(self) -> dict[str, GlobalBoxes]:
        """Boxes by sample token, views of the arrays."""
        bounds = self.offsets.tolist()
        return {token: self.boxes[slice(*ends)] for token, ends in zip(self.tokens, pairwise(bounds))}


@dataclass(frozen=True)
class GroundTruth:
    """Annotations of S samples.

    Attributes:
        samples: the annotated boxes, unfiltered.
        ego_translation: (S, 3) float64, see :class:`SampleTruth`.
        bikeracks: (B, 10) float64 racks of all samples.
        rack_offsets: (S + 1,) int64; sample i owns racks rack_offsets[i]:rack_offsets[i + 1].
    """

    samples: SampleBoxes
    ego_translation: np.ndarray
    bikeracks: np.ndarray
    rack_offsets: np.ndarray

    @classmethod
    def join(cls, samples: Mapping[str, SampleTruth]) -> GroundTruth:
        """Pack samples in the mapping's order."""
        truths = list(samples.values())
        racks = [np.asarray(truth.bikeracks, dtype=np.float64).reshape(-1, RACK_COLUMNS) for truth in truths]
        return cls(
            SampleBoxes.join({token: truth.boxes for token, truth in samples.items()}),
            np.array([truth.ego_translation for truth in truths], dtype=np.float64).reshape(-1, 3),
            np.concatenate([np.zeros((0, RACK_COLUMNS)), *racks]),
            offsets_of([len(rack) for rack in racks]),
        )

    def split(self) -> dict[str, SampleTruth]:
        """Truth by sample token, views of the arrays."""
        racks = self.rack_offsets
        return {
            token: SampleTruth(boxes, self.ego_translation[i], self.bikeracks[racks[i] : racks[i + 1]])
            for i, (token, boxes) in enumerate(self.samples.split().items())
        }


def offsets_of(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """(S + 1,) int64 offsets of S consecutive groups of the given sizes."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def take_groups(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the members of some groups, in the order given, and the new offsets."""
    counts = np.diff(offsets)[chosen]
    taken = offsets_of(counts)
    return np.repeat(offsets[:-1][chosen] - taken[:-1], counts) + np.arange(taken[-1]), taken

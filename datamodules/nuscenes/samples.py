"""Samples of a nuScenes folder: six cameras with their places in the world, and the annotated boxes around them.

The label frame of a camera is level: its origin is the camera, y points down along the axis the annotated boxes stand
on (global z in the official data), z along the camera's horizontal viewing direction. Boxes are upright in it, exactly,
and what tilt the camera has is part of the projection.

A :class:`Sample` holds one :class:`Shot` a camera, each in its own label frame at its own time of exposure, as training
and evaluation read pictures. Injection sees the same sample as a :class:`datamodules.surround.Moment`: all
cameras in the one frame of the car.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from datamodules.geometry import Boxes3D, Camera, rotation_y, wrap_angle
from datamodules.nuscenes.boxes import DETECTION_NAMES, GlobalBoxes, SampleTruth, take_groups
from datamodules.nuscenes.quaternions import matrix_quaternion, quaternion_matrix, rigid
from datamodules.nuscenes.table_columns import CAMERAS, LIDAR_INDEX
from datamodules.nuscenes.tables import Tables
from datamodules.surround import Moment, SurroundCamera

# Columns: nuScenes' box axes (x forward, y left, z up) in the canonical object frame (x forward, y down, z left).
BOX_AXES = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True)
class Shot:
    """One camera's picture of a sample.

    Attributes:
        channel: such as "CAM_FRONT".
        file: image path.
        camera: label frame to pixels, at the stored image size.
        world: (4, 4) label frame to global frame at the time of exposure.
    """

    channel: str
    file: Path
    camera: Camera
    world: np.ndarray

    def seen_from(self, ego: np.ndarray) -> Camera:
        """The camera from another level frame, such as the car's; ``ego`` (4, 4) leads from there to the global one."""
        pose = np.linalg.inv(self.world) @ ego
        return Camera(self.camera.projection @ pose, self.camera.width, self.camera.height)


@dataclass(frozen=True)
class Sample:
    """One annotated moment.

    Attributes:
        token: sample token.
        scene: scene name.
        seconds: time of the sample.
        ego: (4, 4) level frame of the car to global frame: origin on the ground under the car at the lidar's time, z
            forward, y down.
        shots: cameras, in the order of :data:`CAMERAS`.
        truth: annotations as they are evaluated.
    """

    token: str
    scene: str
    seconds: float
    ego: np.ndarray
    shots: tuple[Shot, ...]
    truth: SampleTruth


def common_up(boxes: GlobalBoxes) -> np.ndarray:
    """(3,) axis that all boxes stand on, in the global frame; its z where they have none in common."""
    if len(boxes):
        up = quaternion_matrix(boxes.rotation)[:, :, 2]
        mean = up.mean(0)
        if np.abs(up - mean).max() < 1e-6:
            return np.asarray(mean / np.linalg.norm(mean))
    return np.array([0.0, 0.0, 1.0])


def level_frame(origin: np.ndarray, forward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(4, 4) to the global frame from the one with y against ``up`` and z along the level part of ``forward``."""
    ahead = forward - (forward @ up) * up
    ahead /= np.linalg.norm(ahead)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([np.cross(-up, ahead), -up, ahead], -1)
    frame[:3, 3] = origin
    return frame


def to_level(boxes: GlobalBoxes, world: np.ndarray) -> Boxes3D:
    """Global boxes in a level frame.

    Args:
        boxes: N boxes.
        world: (4, 4) level frame to global frame.
    """
    inverse = np.linalg.inv(world)
    axes = inverse[:3, :3] @ quaternion_matrix(boxes.rotation)
    center = boxes.translation @ inverse[:3, :3].T + inverse[:3, 3]
    dims = boxes.size[:, [1, 2, 0]]
    yaw = wrap_angle(np.arctan2(-axes[:, 2, 0], axes[:, 0, 0]))
    return Boxes3D(center + np.array([0.0, 0.5, 0.0]) * dims[:, 1:2], dims, yaw)


def to_global(boxes: Boxes3D, world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Translation (N, 3), size w, l, h (N, 3) and rotation (N, 4) in the global frame of boxes in a level frame."""
    middle = boxes.center - np.array([0.0, 0.5, 0.0]) * boxes.dims[:, 1:2]
    rotation = world[:3, :3] @ rotation_y(boxes.yaw) @ BOX_AXES
    return middle @ world[:3, :3].T + world[:3, 3], boxes.dims[:, [2, 0, 1]], matrix_quaternion(rotation)


class LazySamples(Sequence[Sample]):
    """Samples of a version's tables, made where they are looked at.

    Args:
        tables: of the version.
        rows: (K,) int64 the samples, as rows of the sample table.
    """

    def __init__(self, tables: Tables, rows: np.ndarray) -> None:
        self.tables, self.rows = tables, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> LazySamples: ...
    def __getitem__(self, index: int | slice | np.ndarray) -> Sample | LazySamples:
        if isinstance(index, slice | np.ndarray):
            return LazySamples(self.tables, self.rows[index])
        truth = self.truth(index)
        up = common_up(truth.boxes)
        shots = tuple(self._shot(int(self.rows[index]), camera, up) for camera in range(len(CAMERAS)))
        seconds = int(self.tables.columns["sample_time"][self.rows[index]]) * 1e-6
        return Sample(self.token(index), self.scene(index), seconds, self._ego(index, up), shots, truth)

    def token(self, index: int) -> str:
        """Token of a sample."""
        return self.tables.sample_tokens[int(self.rows[index])]

    def scene(self, index: int) -> str:
        """Scene of a sample."""
        return self.tables.scene_names[int(self.tables.columns["sample_scene"][self.rows[index]])]

    def truth(self, index: int) -> SampleTruth:
        """Annotations of a sample."""
        return self.tables.sample_truth(int(self.rows[index]))

    def shot(self, index: int, camera: int) -> tuple[Shot, SampleTruth]:
        """One camera's picture of a sample, a place in :data:`CAMERAS`; and the sample's annotations."""
        truth = self.truth(index)
        return self._shot(int(self.rows[index]), camera, common_up(truth.boxes)), truth

    @property
    def scenes(self) -> np.ndarray:
        """(K,) the scene of each, a row of the scene table."""
        return np.asarray(self.tables.columns["sample_scene"][self.rows])

    @property
    def sizes(self) -> np.ndarray:
        """(K, 6, 2) width and height of the pictures."""
        return np.asarray(self.tables.columns["shot_size"][self.rows])

    def files(self) -> list[str]:
        """All pictures below the data root, six a sample."""
        return self.tables.shot_files.take((len(CAMERAS) * self.rows[:, None] + np.arange(len(CAMERAS))).ravel())

    def labels(self) -> np.ndarray:
        """(M,) classes of all annotated boxes."""
        chosen, _ = take_groups(self.tables.columns["box_offsets"], self.rows)
        return np.asarray(self.tables.columns["box_codes"][chosen, 0])

    def _ego(self, index: int, up: np.ndarray) -> np.ndarray:
        pose = _pose(self.tables.columns["shot_pose"][self.rows[index], LIDAR_INDEX])
        return level_frame(pose[:3, 3], pose[:3, 0], up)

    def _shot(self, row: int, camera: int, up: np.ndarray) -> Shot:
        of = self.tables.columns
        rig = of["rig"][of["shot_rig"][row, camera]]
        camera_to_global = _pose(of["shot_pose"][row, camera]) @ _pose(rig[:7])
        world = level_frame(camera_to_global[:3, 3], camera_to_global[:3, 2], up)
        tilt = camera_to_global[:3, :3].T @ world[:3, :3]  # label frame into the camera's own axes
        projection = np.column_stack([rig[7:].reshape(3, 3) @ tilt, np.zeros(3)])
        width, height = of["shot_size"][row, camera].tolist()
        file = self.tables.folder.parent / self.tables.shot_files[len(CAMERAS) * row + camera]
        return Shot(CAMERAS[camera], file, Camera(projection, width, height), world)


def read_samples(tables: Tables, split: str) -> LazySamples:
    """Samples of a split in the order of scenes and time.

    Args:
        tables: of the version.
        split: see :func:`datamodules.nuscenes.tables.read_truth`.

    Raises:
        InputError: an unknown split, a row that points nowhere, or a sample without one of the six cameras.
    """
    chosen = tables.samples_of(split)
    tables.problems.raise_first("shots", chosen)
    names = list(tables.scene_names)
    place = {name: number for number, name in enumerate(sorted(set(names)))}
    scene = np.array([place[name] for name in names])[tables.columns["sample_scene"][chosen]]
    return LazySamples(tables, chosen[np.lexsort((tables.columns["sample_time"][chosen], scene))])


class SceneMoments(Sequence[Moment]):
    """The moments of one scene, in time, each made when it is first looked at.

    Args:
        samples: of the scene, in time.
        masks: folder of the road masks, by camera.
    """

    def __init__(self, samples: Sequence[Sample], masks: Path) -> None:
        self.samples, self.masks = samples, masks
        self._made: dict[int, Moment] = {}

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Moment: ...
    @overload
    def __getitem__(self, index: slice) -> SceneMoments: ...
    def __getitem__(self, index: int | slice) -> Moment | SceneMoments:
        if isinstance(index, slice):
            return SceneMoments(self.samples[index], self.masks)
        if index not in self._made:
            self._made[index] = _moment(self.samples[index], self.masks)
        return self._made[index]


def _moment(sample: Sample, masks: Path) -> Moment:
    cameras = []
    for shot in sample.shots:
        mask = masks / shot.channel / f"{shot.file.stem}.png"
        cameras.append(SurroundCamera(shot.channel, shot.seen_from(sample.ego), mask if mask.is_file() else None))
    boxes = to_level(sample.truth.boxes, sample.ego)
    names = np.array(DETECTION_NAMES)[sample.truth.boxes.labels]
    return Moment(sample.token, sample.ego, boxes, names, tuple(cameras))


def _pose(values: np.ndarray) -> np.ndarray:
    """(4, 4) transform of a rotation and a translation, side by side."""
    return rigid(values[:4], values[4:7])

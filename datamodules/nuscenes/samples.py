"""Samples of a nuScenes folder: six cameras with their places in the world, and the annotated boxes around them.

The label frame of a camera is level: its origin is the camera, y points down along the axis the annotated boxes stand
on (global z in the official data), z along the camera's horizontal viewing direction. Boxes are upright in it, exactly,
and what tilt the camera has is part of the projection.

A :class:`Sample` holds one :class:`Shot` a camera, each in its own label frame at its own time of exposure, as training
and evaluation read pictures. Injection sees the same sample as a :class:`datamodules.surround.Moment`: all
cameras in the one frame of the car.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, rotation_y, wrap_angle
from datamodules.nuscenes.boxes import DETECTION_NAMES, GlobalBoxes, SampleTruth
from datamodules.nuscenes.quaternions import matrix_quaternion, quaternion_matrix, rigid
from datamodules.nuscenes.tables import Row, Tables
from datamodules.surround import Moment, SurroundCamera

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
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


def read_samples(tables: Tables, truths: Mapping[str, SampleTruth]) -> list[Sample]:
    """Samples in the order of scenes and time.

    Args:
        tables: of the version.
        truths: annotations by sample token; these samples are read.

    Raises:
        InputError: a row that points nowhere, or a sample without one of the six cameras.
    """
    channels = {
        token: tables.find("sensor", row["sensor_token"], "calibrated_sensor")["channel"]
        for token, row in tables.rows["calibrated_sensor"].items()
    }
    data: dict[str, dict[str, Row]] = {token: {} for token in truths}
    for row in tables.rows["sample_data"].values():
        if row["is_key_frame"] and row["sample_token"] in data:
            tables.find("calibrated_sensor", row["calibrated_sensor_token"], "sample_data")
            data[row["sample_token"]][channels[row["calibrated_sensor_token"]]] = row
    samples = []
    for token, truth in truths.items():
        row, mine = tables.rows["sample"][token], data[token]
        missing = [name for name in CAMERAS if name not in mine]
        if missing:
            place = tables.folder / "sample_data.json"
            raise InputError(
                f"{place}: sample {token} has no key frame of {missing[0]}; copy the tables of one release again"
            )
        up = common_up(truth.boxes)
        pose = _pose(tables.find("ego_pose", mine["LIDAR_TOP"]["ego_pose_token"], "sample_data"))
        samples.append(
            Sample(
                token,
                tables.find("scene", row["scene_token"], "sample")["name"],
                row["timestamp"] * 1e-6,
                level_frame(pose[:3, 3], pose[:3, 0], up),
                tuple(_shot(tables, name, mine[name], up) for name in CAMERAS),
                truth,
            )
        )
    return sorted(samples, key=lambda sample: (sample.scene, sample.seconds))


def scene_moments(samples: Sequence[Sample], masks: Path) -> tuple[Moment, ...]:
    """The moments of one scene, in time, with the road masks that lie under ``masks``, by camera."""
    return tuple(_moment(sample, masks) for sample in sorted(samples, key=lambda sample: sample.seconds))


def _moment(sample: Sample, masks: Path) -> Moment:
    cameras = []
    for shot in sample.shots:
        pose = np.linalg.inv(shot.world) @ sample.ego
        camera = Camera(shot.camera.projection @ pose, shot.camera.width, shot.camera.height)
        mask = masks / shot.channel / f"{shot.file.stem}.png"
        cameras.append(SurroundCamera(shot.channel, camera, mask if mask.is_file() else None))
    boxes = to_level(sample.truth.boxes, sample.ego)
    names = np.array(DETECTION_NAMES)[sample.truth.boxes.labels]
    return Moment(sample.token, sample.ego, boxes, names, tuple(cameras))


def _shot(tables: Tables, channel: str, row: Row, up: np.ndarray) -> Shot:
    sensor = tables.find("calibrated_sensor", row["calibrated_sensor_token"], "sample_data")
    ego = _pose(tables.find("ego_pose", row["ego_pose_token"], "sample_data"))
    camera_to_global = ego @ _pose(sensor)
    world = level_frame(camera_to_global[:3, 3], camera_to_global[:3, 2], up)
    tilt = camera_to_global[:3, :3].T @ world[:3, :3]  # label frame into the camera's own axes
    intrinsics = np.asarray(sensor["camera_intrinsic"], dtype=np.float64)
    if intrinsics.shape != (3, 3):
        place = tables.folder / "calibrated_sensor.json"
        raise InputError(f"{place}: {channel} has no 3 x 3 camera_intrinsic; copy the tables of one release again")
    projection = np.column_stack([intrinsics @ tilt, np.zeros(3)])
    return Shot(channel, tables.folder.parent / row["filename"], Camera(projection, row["width"], row["height"]), world)


def _pose(row: Row) -> np.ndarray:
    """(4, 4) transform of a row with ``rotation`` and ``translation``."""
    return rigid(row["rotation"], row["translation"])

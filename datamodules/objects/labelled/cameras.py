"""Camera labels of 25 numbers, as EG3D and what followed it store them.

Camera-to-world 4 x 4 row by row (OpenCV axes: x right, y down, z forward), then 3 x 3 intrinsics divided by the image
size, pixel centres at (i + 0.5) / size. The world has y up. The suite's object frame (x forward, y down, z left) is
turned half about x for it: x forward, y up, z to the right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.geometry import Camera

NUMBERS = 25
POSE_FORM = "camera-to-world 4 x 4 row by row, then 3 x 3 intrinsics divided by the image size"
ORTHONORMAL = 1e-3  # largest entry of R R^T - 1: labels are float32, some were rounded in text
DIAGONAL = 0.98  # of the box of one of the studio's objects, in world units
TO_WORLD = np.diag([1.0, -1.0, -1.0])  # object frame, y down, to the labels' world, y up


def camera_label(projection: np.ndarray, dims: np.ndarray, scale: float, size: int) -> np.ndarray:
    """The label (25,) float64 of a posed view.

    Args:
        projection: (3, 4) from the object's canonical cube to pixels, third row depth in metres.
        dims: (3,) length, height, width in metres.
        scale: world units a metre.
        size: pixels of the square picture.
    """
    metric = projection / np.append(np.asarray(dims) / 2, 1.0)
    intrinsics, rotation = Camera(metric, size, size).pinhole()
    sign = np.sign(np.diag(intrinsics))  # a view along an axis may come as a negative focal length
    intrinsics, rotation = intrinsics * sign, rotation * sign[:, None]
    intrinsics = intrinsics / intrinsics[2, 2]
    place = np.linalg.solve(metric[:, :3], -metric[:, 3])
    to_world = np.eye(4)
    to_world[:3, :3] = TO_WORLD @ rotation.T
    to_world[:3, 3] = TO_WORLD @ place * scale
    intrinsics = np.diag([1 / size, 1 / size, 1.0]) @ intrinsics
    intrinsics[:2, 2] += 0.5 / size
    return np.concatenate([to_world.ravel(), intrinsics.ravel()])


def turned_about_upright(cameras: Tensor, yaw: Sequence[float]) -> Tensor:
    """Camera labels (B, 25), each turned about the upright axis through the origin by an angle, radians."""
    pose = cameras[:, :16].view(-1, 4, 4)
    angle = torch.tensor(list(yaw), dtype=torch.float64)
    turn = torch.eye(4, dtype=torch.float64).repeat(len(angle), 1, 1)
    turn[:, 0, 0] = turn[:, 2, 2] = angle.cos()
    turn[:, 0, 2] = angle.sin()
    turn[:, 2, 0] = -turn[:, 0, 2]
    return torch.cat([(turn.to(pose) @ pose).flatten(1), cameras[:, 16:]], 1)


def check_cameras(labels: Sequence[Sequence[float]], names: Sequence[str], where: str) -> np.ndarray:
    """Labels (N, 25) float32.

    Args:
        labels: of N pictures.
        names: of the pictures, for messages.
        where: the file they stand in.

    Raises:
        InputError: one is not of 25 numbers, no rigid pose, or no intrinsics; or all cameras look away from the origin.
    """
    for name, label in zip(names, labels):
        if len(label) != NUMBERS:
            raise InputError(
                f"{where}: camera label of {name} has {len(label)} numbers, expected {NUMBERS} "
                f"({POSE_FORM}); write it again"
            )
    values = np.array(labels, np.float64).reshape(-1, NUMBERS)
    pose, intrinsics = values[:, :16].reshape(-1, 4, 4), values[:, 16:].reshape(-1, 3, 3)
    rotation = pose[:, :3, :3]
    error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    _refuse(error > ORTHONORMAL, error, names, where, "its rotation's rows are off unit length or right angles by",
            f"at most {ORTHONORMAL:g}; give {POSE_FORM}")  # fmt: skip
    handed = np.linalg.det(rotation)
    _refuse(handed < 0, handed, names, where, "its rotation has the determinant",
            "1 (a mirrored camera has -1); give a right-handed frame")  # fmt: skip
    last = np.abs(pose[:, 3] - [0, 0, 0, 1]).max(1)
    _refuse(last > ORTHONORMAL, last, names, where, "the pose's last row differs from 0 0 0 1 by",
            f"0; give {POSE_FORM}, not its transpose")  # fmt: skip
    focal = np.minimum(intrinsics[:, 0, 0], intrinsics[:, 1, 1])
    _refuse(focal <= 0, focal, names, where, "its focal length is", f"more than 0; give {POSE_FORM}")
    centre = np.abs(intrinsics[:, :2, 2] - 0.5).max(1) + 0.5
    _refuse(centre > 2, centre, names, where, "its principal point is",
            "about 0.5; divide the intrinsics by the image size")  # fmt: skip
    odd = np.abs(intrinsics[:, 2] - [0, 0, 1]).max(1) + np.abs(intrinsics[:, 1, 0])
    _refuse(odd > ORTHONORMAL, odd, names, where, "the intrinsics differ from an upper triangle with 1 at the end by",
            f"0; give {POSE_FORM}")  # fmt: skip
    towards = -(pose[:, :3, 3] * pose[:, :3, 2]).sum(1)
    if len(towards) and (towards < 0).all():
        raise InputError(
            f"{where}: all {len(towards)} cameras look away from the origin, expected OpenCV axes (z forward, y down); "
            "negate the second and third column of camera-to-world if they are OpenGL's"
        )
    return values.astype(np.float32)


def _refuse(wrong: np.ndarray, found: np.ndarray, names: Sequence[str], where: str, said: str, expected: str) -> None:
    """Refuse the first wrong label.

    Raises:
        InputError: see :func:`check_cameras`.
    """
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(f"{where}: camera label of {names[first]}: {said} {found[first]:.3g}, expected {expected}")

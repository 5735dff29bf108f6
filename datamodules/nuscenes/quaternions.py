"""Rotations as nuScenes stores them: quaternions w, x, y, z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation


def quaternion_matrix(quaternion: np.ndarray | Sequence[float]) -> np.ndarray:
    """(..., 3, 3) rotation matrices of quaternions (..., 4) w, x, y, z of any length."""
    q = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def matrix_quaternion(matrices: np.ndarray) -> np.ndarray:
    """(N, 4) unit quaternions w, x, y, z of rotation matrices (N, 3, 3)."""
    if not len(matrices):
        return np.zeros((0, 4))
    return np.roll(Rotation.from_matrix(matrices).as_quat(), 1, axis=1)


def angles_quaternion(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Unit quaternion (w, x, y, z), w >= 0, of yaw about z after pitch about y after roll about x, radians."""
    cy, sy, cp, sp, cr, sr = (f(a / 2) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    q = np.array(
        [
            cy * cp * cr + sy * sp * sr,
            cy * cp * sr - sy * sp * cr,
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
        ]
    )
    return q if q[0] >= 0 else -q


def rigid(rotation: np.ndarray | Sequence[float], translation: np.ndarray | Sequence[float]) -> np.ndarray:
    """(4, 4) transform of a quaternion and a translation."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = quaternion_matrix(rotation), translation
    return pose

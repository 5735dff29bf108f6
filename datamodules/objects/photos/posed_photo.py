"""From a posed picture to a photograph: its camera taken apart, and the object's box placed in the camera's cube."""

from __future__ import annotations

import numpy as np

from datamodules.errors import InputError


def split_projection(projection: np.ndarray, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intrinsics, rotation and translation of a canonical projection.

    Args:
        projection: (3, 4) from the canonical box to pixels, third row depth in metres.
        dims: (3,) length, height, width in metres.

    Returns:
        K (3, 3) upper triangular with 1 at its end, R (3, 3) and t (3,) of ``x_camera = R (dims / 2 x) + t``, metres.

    Raises:
        InputError: the projection is none of a camera in front of the object.
    """
    metric = projection[:, :3] / (np.asarray(dims) / 2)
    flip = np.eye(3)[::-1]
    q, r = np.linalg.qr((flip @ metric).T)
    upper, rotation = flip @ r.T @ flip, flip @ q.T
    signs = np.sign(np.diag(upper))
    upper, rotation = upper * signs, rotation * signs[:, None]
    if not np.isfinite(upper).all() or abs(upper[2, 2]) < 1e-9 or np.linalg.det(rotation) < 0:
        raise InputError("a projection is not that of a camera in front of its object; write the posed image set again")
    scale = upper[2, 2]
    intrinsics = upper / scale
    return intrinsics, rotation, np.linalg.solve(intrinsics, projection[:, 3] / scale)


def place_in_cube(projection: np.ndarray, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The scene cube of a posed picture: about the object's middle, along the camera's axes, just around its corners.

    Args:
        projection: see :func:`split_projection`, as are ``dims`` and what is raised.

    Returns:
        Projection (3, 4) from the cube to pixels, third row depth in half edges; frame (4, 4) from the canonical box to
        the cube; and the half edge in metres.
    """
    intrinsics, rotation, middle = split_projection(projection, dims)
    half = float(np.linalg.norm(dims)) / 2
    frame = np.eye(4)
    frame[:3, :3] = rotation * (np.asarray(dims) / 2) / half
    return intrinsics @ np.column_stack([np.eye(3), middle / half]), frame, half

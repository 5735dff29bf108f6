"""The photograph of an object that fills its picture: the side it is seen from, and where its box lies in the cube."""

from __future__ import annotations

import numpy as np

from datamodules.objects.photos.photo import CAMERA_ANGLE, CAMERA_RADIUS
from datamodules.objects.photos.posed_photo import split_projection
from datamodules.objects.studio import view_projection

FILL = 0.98  # of the picture's half, that the ball around an object takes


def half_edge(dims: np.ndarray) -> float:
    """Metres of half the scene cube's edge about an object (3,) of so many metres."""
    return float(np.linalg.norm(dims)) / 2 / (FILL * CAMERA_RADIUS * np.sin(CAMERA_ANGLE / 2))


def filling_projection(dims: np.ndarray, azimuth: float, elevation: float, size: int) -> np.ndarray:
    """(3, 4) from the object's canonical box to pixels of G3DR's camera, third row depth in metres.

    Args:
        dims: (3,) length, height, width in metres.
        azimuth, elevation: degrees of the side it is seen from; 0 looks at the front.
        size: pixels a side.
    """
    return view_projection(dims, azimuth, elevation, size, CAMERA_RADIUS * half_edge(dims), CAMERA_ANGLE)


def filling_frame(dims: np.ndarray, azimuth: float, elevation: float) -> np.ndarray:
    """(4, 4) from the canonical box to the scene cube of such a photograph; arguments as there."""
    _, rotation, _ = split_projection(filling_projection(dims, azimuth, elevation, 2), dims)
    frame = np.eye(4)
    frame[:3, :3] = rotation * (np.asarray(dims) / 2) / half_edge(dims)
    return frame

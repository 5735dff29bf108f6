"""The contact shadow of an injected object: a soft rounded rectangle on the ground, multiplied into the picture.

GeoSim looks a precomputed shadow up at the object's bottom, and Lift3D does so inside the object's mask. Here it is a
formula on the ground plane, never part of the mask: occlusion falls off with the distance to a rounded rectangle of the
object's length and width. With a sun, the rectangle is swept along the ground away from it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from datamodules.geometry import Boxes3D, Camera
from datamodules.injection.occlusion import Window

ROUNDNESS = 0.3  # corner radius over the shorter side
SOFTNESS = 0.3  # half the width of the falloff over the object's width
SWEEP_STEPS = 8


@njit(nogil=True, cache=True)
def _coverage(x: float, z: float, half_length: float, half_width: float, radius: float, soft: float) -> float:
    """Occlusion in [0, 1] at a point in the object's ground frame: one inside the rectangle, zero far away."""
    dx, dz = abs(x) - half_length + radius, abs(z) - half_width + radius
    outside = np.sqrt(max(dx, 0.0) ** 2 + max(dz, 0.0) ** 2)
    distance = outside + min(max(dx, dz), 0.0) - radius
    t = min(max(0.5 - 0.5 * distance / soft, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(nogil=True, cache=True)
def contact_coverage(along: float, across: float, length: float, width: float) -> float:
    """Share in [0, 1] of the sky that an object hides from the ground, at a point in its own axes (metres)."""
    return _coverage(along, across, length / 2, width / 2, ROUNDNESS * min(length, width), SOFTNESS * width)


@njit(nogil=True, cache=True)
def _darken(
    image: np.ndarray,
    left: int,
    top: int,
    limit: np.ndarray,
    inverse: np.ndarray,
    footprint: np.ndarray,
    sweep: np.ndarray,
    strength: float,
    sun_strength: float,
) -> None:
    """Multiply the shadow into ``image`` (H, W, 3) where ``limit`` (h, w), depth of real things, allows."""
    x0, z0, length, width, yaw = footprint
    cos, sin = np.cos(yaw), np.sin(yaw)
    radius, soft = ROUNDNESS * min(length, width), SOFTNESS * width
    for row in range(limit.shape[0]):
        for column in range(limit.shape[1]):
            u, v = left + column, top + row
            nearness = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]
            if nearness <= 1e-6 or 1.0 / nearness > limit[row, column]:
                continue
            dx = (inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]) / nearness - x0
            dz = (inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]) / nearness - z0
            along, across = cos * dx - sin * dz, sin * dx + cos * dz
            light = 1.0 - strength * contact_coverage(along, across, length, width)
            if sun_strength > 0.0:
                cast = 0.0
                for step in range(SWEEP_STEPS):
                    share = (step + 0.5) / SWEEP_STEPS
                    inset = 1.0 - 0.25 * share  # the roof is smaller than the body
                    cast = max(
                        cast,
                        _coverage(
                            along - share * sweep[0],
                            across - share * sweep[1],
                            inset * length / 2,
                            inset * width / 2,
                            inset * radius,
                            0.3 * soft,
                        ),
                    )
                light *= 1.0 - sun_strength * cast
            if light < 1.0:
                for channel in range(3):
                    image[v, u, channel] = np.uint8(image[v, u, channel] * light + 0.5)


@njit(nogil=True, cache=True)
def _bounds(
    projection: np.ndarray, y: float, footprint: np.ndarray, sweep: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where a shadow on the level ground at ``y`` falls.

    Returns:
        (3, 3) map from depth times (u, v, 1) to (x, z, 1) on that ground, and (4,) left, top, right, bottom of the
        pixels the shadow can reach: the whole image where it passes the camera.
    """
    homography = np.empty((3, 3))
    homography[:, 0], homography[:, 1] = projection[:, 0], projection[:, 2]
    homography[:, 2] = projection[:, 1] * y + projection[:, 3]
    inverse = np.linalg.inv(homography)
    x0, z0, half_length, half_width, yaw = footprint
    half_length, half_width = half_length / 2 + SOFTNESS * half_width, half_width / 2 + SOFTNESS * half_width
    cos, sin = np.cos(yaw), np.sin(yaw)
    bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
    for corner in range(8):
        along = (half_length if corner & 1 else -half_length) + (sweep[0] if corner & 4 else 0.0)
        across = (half_width if corner & 2 else -half_width) + (sweep[1] if corner & 4 else 0.0)
        x, z = x0 + cos * along + sin * across, z0 - sin * along + cos * across
        depth = homography[2, 0] * x + homography[2, 1] * z + homography[2, 2]
        if depth < 0.1:
            return inverse, np.array([0.0, 0.0, width - 1.0, height - 1.0])
        u = (homography[0, 0] * x + homography[0, 1] * z + homography[0, 2]) / depth
        v = (homography[1, 0] * x + homography[1, 1] * z + homography[1, 2]) / depth
        bounds[0], bounds[1] = min(bounds[0], u), min(bounds[1], v)
        bounds[2], bounds[3] = max(bounds[2], u), max(bounds[3], v)
    return inverse, bounds


def sun_sweep(box: Boxes3D, sun: np.ndarray | None) -> np.ndarray:
    """(2,) metres along and across the box by which the sun moves the shadow of its roof; zero without a sun.

    Args:
        box: one box.
        sun: (3,) direction to the sun in the camera frame, or None.
    """
    if sun is None or sun[1] >= -0.15:  # below or near the horizon: no shadow that stays near the object
        return np.zeros(2)
    x, z = np.array([sun[0], sun[2]]) * (box.dims[0, 1] / sun[1])
    cos, sin = np.cos(box.yaw[0]), np.sin(box.yaw[0])
    return np.array([cos * x - sin * z, sin * x + cos * z])


class Shadow:
    """The shadow of one box on the ground, which is taken level at its bottom.

    Attributes:
        window: the pixels it can reach.
        reach: the depth it can reach, metres.
    """

    def __init__(self, camera: Camera, box: Boxes3D, sun: np.ndarray | None = None) -> None:
        """Find its place.

        Args:
            camera: the image's camera.
            box: one box.
            sun: (3,) direction to the sun in the camera frame, or None.
        """
        self._footprint, self._sweep = box.bev[0], sun_sweep(box, sun)
        ground = float(box.center[0, 1])
        self._inverse, bounds = _bounds(
            camera.projection, ground, self._footprint, self._sweep, camera.width, camera.height
        )
        self.window = Window.around(bounds, camera)
        self.reach = float(box.center[0, 2] + box.dims[0].sum() + np.abs(self._sweep).sum())

    def darken(self, image: np.ndarray, limit: np.ndarray, strength: float, sun_strength: float = 0.0) -> None:
        """Multiply it into an image in place.

        Args:
            image: (H, W, 3) uint8.
            limit: (h, w) depth of the real things in :attr:`window`; ground behind them is left alone.
            strength: darkness of the contact shadow in [0, 1].
            sun_strength: darkness of the swept shadow in [0, 1], if there is a sun.
        """
        sun_strength = sun_strength if self._sweep.any() else 0.0
        left, top = self.window.left, self.window.top
        _darken(image, left, top, limit, self._inverse, self._footprint, self._sweep, strength, sun_strength)

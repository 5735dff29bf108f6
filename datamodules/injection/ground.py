"""The ground in front of a camera: the plane's prior, its fit to labelled boxes, and inverse perspective mapping.

A plane is (a, b, c, d) with a x + b y + c z + d = 0 in the camera frame and b < 0. Points on it are named by (x, z), so
a 3x3 homography connects them with pixels, with depth as its scale (Lift3D's way from road pixels to the bird's eye
view).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from datamodules.geometry import Boxes3D, Camera, plane_height

CAMERA_HEIGHT = 1.65  # metres above the road; KITTI's cameras
LABEL_NOISE = 0.10  # metres, standard deviation of a near labelled bottom about the road
LABEL_NOISE_GROWTH = 0.01  # metres more for each metre of distance
HEIGHT_SPREAD = 0.08  # metres, prior standard deviation of the camera's height
SLOPE_SPREAD = 0.02  # radians, prior standard deviation of pitch and roll


def prior_plane(height: float = CAMERA_HEIGHT) -> np.ndarray:
    """(4,) level plane ``height`` metres under a camera without pitch and roll."""
    return np.array([0.0, -1.0, 0.0, height])


def fit_plane(boxes: Boxes3D, height: float = CAMERA_HEIGHT, radial: bool = False) -> np.ndarray:
    """(4,) plane through the boxes' bottom-centres, drawn to the prior as far as they leave it open.

    The maximum a posteriori estimate of y = h + s x + t z under Gaussian label noise: weighted least squares with a
    ridge given by the prior's spreads. Without boxes it is the prior.

    Args:
        boxes: labelled boxes.
        height: of the camera above the prior, metres.
        radial: labels grow less certain with their true distance, else with z.
    """
    x, y, z = boxes.center.T
    distance = np.hypot(x, z) if radial else np.maximum(z, 0)
    weight = 1.0 / (LABEL_NOISE + LABEL_NOISE_GROWTH * distance) ** 2
    design = np.column_stack([np.ones(len(boxes)), x, z])
    ridge = np.diag(1.0 / np.array([HEIGHT_SPREAD, SLOPE_SPREAD, SLOPE_SPREAD]) ** 2)
    h, s, t = np.linalg.solve((design.T * weight) @ design + ridge, (design.T * weight) @ (y - height))
    return np.array([s, -1.0, t, height + h])


def ground_homography(camera: Camera, plane: np.ndarray) -> np.ndarray:
    """(3, 3) map from (x, z, 1) on the plane to depth times (u, v, 1)."""
    a, b, c, d = plane
    lift = np.array([[1.0, 0.0, 0.0], [-a / b, -c / b, -d / b], [0.0, 1.0, 0.0]])
    return camera.projection[:, :3] @ lift + camera.projection[:, 3:] * np.array([0.0, 0.0, 1.0])


def pixels_to_ground(camera: Camera, plane: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Inverse perspective mapping: (..., 3) points of the plane seen at pixels (..., 2); NaN above the horizon."""
    inverse = np.linalg.inv(ground_homography(camera, plane))
    homogeneous = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], -1) @ inverse.T
    nearness = homogeneous[..., 2:]  # one over depth
    xz = homogeneous[..., :2] / np.where(nearness > 1e-6, nearness, np.nan)
    return np.stack([xz[..., 0], plane_height(plane, xz[..., 0], xz[..., 1]), xz[..., 1]], -1)


def ground_to_pixels(camera: Camera, plane: np.ndarray, xz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (..., 2) and depth (...) of points (x, z) of the plane, (..., 2)."""
    points = np.stack([xz[..., 0], plane_height(plane, xz[..., 0], xz[..., 1]), xz[..., 1]], -1)
    return camera.project(points)


@njit(nogil=True, cache=True)
def road_cells(
    inverse: np.ndarray, scale: float, mask: np.ndarray, step: int, depth: tuple[float, float], x: tuple[float, float]
) -> np.ndarray:
    """Ground cells seen through every ``step``-th pixel of a mask.

    Args:
        inverse: (3, 3) inverse of :func:`ground_homography`.
        scale: absolute determinant of :func:`ground_homography`.
        mask: (H, W) bool pixels to take.
        step: pixels from one cell to the next, in both directions.
        depth: nearest and farthest z kept, metres.
        x: leftmost and rightmost x kept, metres.

    Returns:
        (N, 5) rows u, v, x, z, ground area in m^2 behind one pixel (depth^3 / scale, the homography's Jacobian).
    """
    height, width = mask.shape
    cells = np.empty(((height // step + 1) * (width // step + 1), 5))
    count = 0
    for v in range(step // 2, height, step):
        for u in range(step // 2, width, step):
            if not mask[v, u]:
                continue
            nearness = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]
            if nearness <= 1e-6:
                continue
            ground_x = (inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]) / nearness
            ground_z = (inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]) / nearness
            if depth[0] <= ground_z <= depth[1] and x[0] <= ground_x <= x[1]:
                cells[count, 0], cells[count, 1], cells[count, 2], cells[count, 3] = u, v, ground_x, ground_z
                cells[count, 4] = 1.0 / (nearness**3 * scale)
                count += 1
    return cells[:count].copy()

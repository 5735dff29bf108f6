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


def ground_lift(plane: np.ndarray) -> np.ndarray:
    """(4, 3) map from (x, z, 1) on the plane to (x, y, z, 1)."""
    a, b, c, d = plane
    return np.array([[1.0, 0.0, 0.0], [-a / b, -c / b, -d / b], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def ground_homography(camera: Camera, plane: np.ndarray) -> np.ndarray:
    """(3, 3) map from (x, z, 1) on the plane to depth times (u, v, 1)."""
    lift = ground_lift(plane)
    return camera.projection[:, :3] @ lift[:3] + camera.projection[:, 3:] * lift[3]


def pixels_to_ground(camera: Camera, plane: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Inverse perspective mapping: (..., 3) points of the plane seen at pixels (..., 2); NaN above the horizon."""
    inverse = np.linalg.inv(ground_homography(camera, plane))
    points = ground_points(inverse, plane, np.ascontiguousarray(pixels, np.float64).reshape(-1, 2))
    return np.asarray(points.reshape(*np.shape(pixels)[:-1], 3))


@njit(nogil=True, cache=True)
def ground_points(inverse: np.ndarray, plane: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(N, 3) points of the plane seen at pixels (N, 2); NaN above the horizon.

    Args:
        inverse: (3, 3) inverse of :func:`ground_homography`.
        plane: (4,).
        pixels: columns and rows.
    """
    points = np.empty((len(pixels), 3))
    for n in range(len(pixels)):
        u, v = pixels[n, 0], pixels[n, 1]
        nearness = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]  # one over depth
        if not nearness > 1e-6:
            points[n] = np.nan
            continue
        x = (inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]) / nearness
        z = (inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]) / nearness
        points[n, 0], points[n, 1], points[n, 2] = x, -(plane[0] * x + plane[2] * z + plane[3]) / plane[1], z
    return points


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


@njit(nogil=True, cache=True)
def drivable_share(
    projection: np.ndarray,
    plane: np.ndarray,
    corners: np.ndarray,
    inside: np.ndarray,
    mask: np.ndarray,
    rectangles: np.ndarray,
    far: np.ndarray,
) -> np.ndarray:
    """(N,) share of the corners (N, K, 2; x and z on the plane) that stand on drivable ground.

    Args:
        projection: (3, 4) of the camera.
        plane: (4,).
        corners: (N, K, 2).
        inside: (N, K) bool corners between the lateral bounds; others count as not drivable.
        mask: (H, W) bool drivable pixels; a corner that it does not show, or that is hidden, counts as drivable. With
            an empty one, all seen ground is, and no hidden one.
        rectangles: (M, 4) pixels of the labelled objects.
        far: (M,) their depth; what lies behind one is hidden.
    """
    height, width = mask.shape
    share = np.empty(len(corners))
    for n in range(len(corners)):
        good = 0
        for k in range(corners.shape[1]):
            if not inside[n, k]:
                continue
            x, z = corners[n, k, 0], corners[n, k, 1]
            y = -(plane[0] * x + plane[2] * z + plane[3]) / plane[1]
            u = projection[0, 0] * x + projection[0, 1] * y + projection[0, 2] * z + projection[0, 3]
            v = projection[1, 0] * x + projection[1, 1] * y + projection[1, 2] * z + projection[1, 3]
            depth = projection[2, 0] * x + projection[2, 1] * y + projection[2, 2] * z + projection[2, 3]
            safe = depth if abs(depth) >= 1e-9 else 1e-9
            u, v = u / safe, v / safe
            hidden = False
            for m in range(len(far)):
                within_u = rectangles[m, 0] <= u and u <= rectangles[m, 2]
                within_v = rectangles[m, 1] <= v and v <= rectangles[m, 3]
                if within_u and within_v and far[m] < depth:
                    hidden = True
                    break
            if mask.size == 0:
                good += not hidden
                continue
            column, row = np.rint(u), np.rint(v)
            seen = depth > 0 and 0 <= column < width and 0 <= row < height
            good += hidden or not seen or mask[int(row), int(column)]
        share[n] = good / corners.shape[1]
    return share

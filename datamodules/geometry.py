"""Cameras and upright 3D boxes: projection, corners, yaw and alpha, and 2D boxes of clipped 3D boxes.

Frames and conventions of the whole suite:

* Camera frame: x right, y down, z forward, metres. A 3x4 projection ``P`` maps it to pixels and is used in full; its
  fourth column is the offset of KITTI's colour camera from the rectified frame the labels live in.
* Pixels: the centre of the top-left pixel is (0, 0), as in OpenCV and in KITTI's calibration.
* Boxes: bottom-centre (x, y, z), dims (length, height, width), yaw about +y in [-pi, pi). At yaw 0 the length runs
  along +x and the object looks towards +x; at -pi/2 it looks along +z, away from the camera.
* Canonical object frame: the box scaled to [-1, 1]^3; x along the length (front at +1), y down (roof at -1), z along
  the width (at yaw 0 away from the camera, the object's left side at +1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numba import njit

C = TypeVar("C", bound="Columns")

NEAR = 0.1  # metres; geometry nearer than this to the image plane is clipped away

# Corner signs in the canonical frame: 0-3 the bottom face (y = +1), 4-7 the top face above them; 0 and 1 are the front.
CORNER_SIGNS = np.array(
    [[1, 1, 1], [1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, -1, 1], [1, -1, -1], [-1, -1, -1], [-1, -1, 1]],
    dtype=np.float64,
)
EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])


def wrap_angle(angle: np.ndarray) -> np.ndarray:
    """Wrap radians into [-pi, pi)."""
    return (np.asarray(angle, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def alpha_from_yaw(yaw: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Observation angle: yaw less the azimuth of the ray to the object, ``alpha = yaw - atan2(x, z)``, in [-pi, pi)."""
    return wrap_angle(yaw - np.arctan2(x, z))


def yaw_from_alpha(alpha: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Inverse of :func:`alpha_from_yaw`, in [-pi, pi)."""
    return wrap_angle(alpha + np.arctan2(x, z))


def rotation_y(yaw: np.ndarray | float) -> np.ndarray:
    """Rotation matrices about +y (down), (..., 3, 3): object axes at ``yaw`` into the camera frame (KITTI's R_y)."""
    yaw = np.asarray(yaw, dtype=np.float64)
    matrices = np.zeros((*yaw.shape, 3, 3))
    matrices[..., 0, 0] = matrices[..., 2, 2] = np.cos(yaw)
    matrices[..., 0, 2] = np.sin(yaw)
    matrices[..., 2, 0] = -matrices[..., 0, 2]
    matrices[..., 1, 1] = 1.0
    return matrices


def rotation_x(pitch: float) -> np.ndarray:
    """(3, 3) rotation about +x (right); a positive angle turns +y (down) towards +z (forward)."""
    c, s = np.cos(pitch), np.sin(pitch)
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def rotation_z(roll: float) -> np.ndarray:
    """(3, 3) rotation about +z (forward); a positive angle turns +x (right) towards +y (down)."""
    c, s = np.cos(roll), np.sin(roll)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def resizing(width: int, height: int, new_width: int, new_height: int) -> np.ndarray:
    """(3, 3) pixels of an image to those of it resized, with pixel centres where ``cv2.resize`` puts them."""
    sx, sy = new_width / width, new_height / height
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])


def plane_height(plane: np.ndarray, x: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """y (down, metres) at x and z of the plane a x + b y + c z + d = 0, given as (4,)."""
    return -(plane[0] * x + plane[2] * z + plane[3]) / plane[1]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with its image size.

    Attributes:
        projection: (3, 4) float64, camera frame in metres to homogeneous pixels; the third row yields depth in metres.
        width: image width in pixels.
        height: image height in pixels.
    """

    projection: np.ndarray
    width: int
    height: int

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) left block of the projection."""
        return self.projection[:, :3]

    @property
    def center(self) -> np.ndarray:
        """(3,) optical centre in the camera (label) frame; not the origin when the fourth column is not zero."""
        return -np.linalg.solve(self.projection[:, :3], self.projection[:, 3])

    def pinhole(self) -> tuple[np.ndarray, np.ndarray]:
        """Upper triangular intrinsics (3, 3) and tilt (3, 3), a rotation, whose product are :attr:`intrinsics`.

        KITTI's rectified cameras have no tilt. A camera whose label frame is level and that is not has one: of
        nuScenes, or turned by :meth:`turned`. Its focal lengths stand in the first factor alone.
        """
        matrix = self.projection[:, :3]
        if not (matrix[1, 0] or matrix[2, 0] or matrix[2, 1]):
            return matrix, np.eye(3)
        q, r = np.linalg.qr(matrix[::-1].T)
        upper, tilt = r.T[::-1, ::-1], q.T[::-1]
        sign = np.sign(np.diag(upper))
        return upper * sign, tilt * sign[:, None]

    @property
    def focal(self) -> float:
        """Vertical focal length, pixels; of the intrinsics without their tilt."""
        return float(self.pinhole()[0][1, 1])

    def turned(self, pitch: float, roll: float, yaw: float) -> tuple[Camera, np.ndarray]:
        """The camera turned about its own centre, and what that does to its pixels.

        With intrinsics K, tilt T and the yaw about the label frame's vertical, the picture moves by the homography
        H = K R K^-1, R = R_z(roll) R_x(pitch) T R_y(yaw) T^-1, which is exact for every depth. The label frame follows
        the yaw and stays level: boxes move by R_y(yaw) (:meth:`Boxes3D.turned`) and stay upright; pitch and roll become
        part of the projection, as a nuScenes camera's tilt is.

        Args:
            pitch: radians.
            roll: radians.
            yaw: radians.

        Returns:
            The camera, of the same image size, and H (3, 3) from its old to its new pixels.
        """
        upper, tilt = self.pinhole()
        tilted = rotation_z(roll) @ rotation_x(pitch) @ tilt
        homography = upper @ tilted @ rotation_y(yaw) @ tilt.T @ np.linalg.inv(upper)
        moved = np.column_stack([upper @ tilted, homography @ self.projection[:, 3]])
        return replace(self, projection=moved), homography

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project points (..., 3) to pixels (..., 2) and depth (...). Pixels of depth <= 0 mean nothing: check it."""
        homogeneous = points @ self.projection[:, :3].T + self.projection[:, 3]
        depth = homogeneous[..., 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        return homogeneous[..., :2] / safe[..., None], depth

    def unproject(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Points (..., 3) at pixels (..., 2) and depth (...) as :meth:`project` defines them."""
        depth = np.asarray(depth, dtype=np.float64)
        homogeneous = np.concatenate([pixels * depth[..., None], depth[..., None]], -1)
        return (homogeneous - self.projection[:, 3]) @ np.linalg.inv(self.projection[:, :3]).T

    def rays(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origin (3,) and directions (..., 3) of the rays through pixels (..., 2); one unit is one metre of depth."""
        ones = np.ones((*np.shape(pixels)[:-1], 1))
        return self.center, np.concatenate([pixels, ones], -1) @ np.linalg.inv(self.projection[:, :3]).T

    def flipped(self) -> Camera:
        """The camera of the horizontally flipped image of the mirrored scene (see :meth:`Boxes3D.flipped`)."""
        mirror = np.array([[-1.0, 0, self.width - 1], [0, 1, 0], [0, 0, 1]])
        return replace(self, projection=mirror @ self.projection @ np.diag([-1.0, 1, 1, 1]))

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the window whose top-left pixel is (left, top); the window may leave the image."""
        shift = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
        return Camera(shift @ self.projection, width, height)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the image resized to (width, height), with pixel centres where ``cv2.resize`` puts them."""
        return Camera(resizing(self.width, self.height, width, height) @ self.projection, width, height)


_COLUMN_NAMES: dict[Any, tuple[str, ...]] = {}  # by table class: asked for several times an object, and slow to list


def _column_names(table: Any) -> tuple[str, ...]:
    """Names of a table's columns."""
    if (names := _COLUMN_NAMES.get(table)) is None:
        names = _COLUMN_NAMES[table] = tuple(column.name for column in fields(table))
    return names


class Columns:
    """A table of N rows as a dataclass of parallel columns: arrays, further tables, or None for one that is unknown."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __len__(self) -> int:
        return len(getattr(self, _column_names(type(self))[0]))

    def __getitem__(self: C, index: slice | np.ndarray | list[int]) -> C:
        columns = [getattr(self, name) for name in _column_names(type(self))]
        return type(self)(*(None if column is None else column[index] for column in columns))

    @classmethod
    def concatenate(cls: type[C], parts: Sequence[C]) -> C:
        """Join tables; a column is kept only when every part has it."""

        def joined(columns: list[Any]) -> Any:
            if any(column is None for column in columns):
                return None
            kind = type(columns[0])
            return kind.concatenate(columns) if issubclass(kind, Columns) else np.concatenate(columns)

        return cls(*(joined([getattr(part, name) for part in parts]) for name in _column_names(cls)))


@dataclass(frozen=True)
class Boxes3D(Columns):
    """Upright boxes in the camera frame.

    Attributes:
        center: (N, 3) float64 bottom-centre x, y, z in metres.
        dims: (N, 3) float64 length, height, width in metres.
        yaw: (N,) float64 rotation about +y in [-pi, pi).
    """

    center: np.ndarray
    dims: np.ndarray
    yaw: np.ndarray

    @staticmethod
    def empty() -> Boxes3D:
        return Boxes3D(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))

    @staticmethod
    def single(center: np.ndarray | Sequence[float], dims: np.ndarray | Sequence[float], yaw: float) -> Boxes3D:
        """One box from (3,) centre, (3,) dims and a yaw."""
        return Boxes3D(
            np.asarray(center, np.float64)[None], np.asarray(dims, np.float64)[None], wrap_angle(np.array([yaw]))
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Boxes3D]) -> Boxes3D:
        return super().concatenate(parts or [cls.empty()])

    @property
    def alpha(self) -> np.ndarray:
        """(N,) observation angles, radians."""
        return alpha_from_yaw(self.yaw, self.center[:, 0], self.center[:, 2])

    @property
    def bev(self) -> np.ndarray:
        """(N, 5) ground rectangles x, z, length, width, yaw, as :mod:`datamodules.rotated_iou` takes them."""
        rows = np.empty((len(self.yaw), 5))
        rows[:, :2], rows[:, 2:4], rows[:, 4] = self.center[:, ::2], self.dims[:, ::2], self.yaw
        return rows

    @property
    def object_to_camera(self) -> np.ndarray:
        """(N, 3, 4) canonical cube [-1, 1]^3 into the camera frame (metres), scale included."""
        middle = self.center - np.array([0.0, 0.5, 0.0]) * self.dims[:, 1:2]
        return np.concatenate([rotation_y(self.yaw) * (self.dims / 2)[:, None, :], middle[:, :, None]], -1)

    @property
    def corners(self) -> np.ndarray:
        """(N, 8, 3) corners in the camera frame, ordered as :data:`CORNER_SIGNS`."""
        pose = self.object_to_camera
        return np.einsum("nij,kj->nki", pose[:, :, :3], CORNER_SIGNS) + pose[:, None, :, 3]

    def flipped(self) -> Boxes3D:
        """The boxes of the mirrored scene: x -> -x, yaw -> pi - yaw."""
        return Boxes3D(self.center * np.array([-1.0, 1, 1]), self.dims.copy(), wrap_angle(np.pi - self.yaw))

    def turned(self, yaw: float) -> Boxes3D:
        """The boxes in a frame in which everything stands turned by ``yaw`` radians about +y; alpha stays."""
        return Boxes3D(self.center @ rotation_y(yaw).T, self.dims.copy(), wrap_angle(self.yaw + yaw))


def canonical_projection(camera: Camera, boxes: Boxes3D) -> np.ndarray:
    """(N, 3, 4) projections from each box's canonical cube to pixels; the third row gives depth in metres.

    This is all a renderer needs to draw an object: with ``M = C[:, :3]`` the ray of pixel (u, v) starts at
    ``-M^-1 C[:, 3]`` and runs along ``M^-1 (u, v, 1)`` in the cube's own coordinates, one metre of depth a unit.
    """
    return _canonical_projections(np.ascontiguousarray(camera.projection, np.float64), *_compiled(boxes))


def footprints(boxes: Boxes3D) -> np.ndarray:
    """(N, 4, 2) x and z of the corners on the ground, the first four of :data:`CORNER_SIGNS`."""
    return _footprints(*_compiled(boxes))


def _compiled(boxes: Boxes3D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns as compiled code takes them: float64 in a row."""
    columns = (boxes.center, boxes.dims, boxes.yaw)
    center, dims, yaw = (np.ascontiguousarray(column, np.float64) for column in columns)
    return center, dims, yaw


@njit(nogil=True, cache=True)
def _canonical_projections(projection: np.ndarray, center: np.ndarray, dims: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """:func:`canonical_projection`: one box at a time, for which a dozen calls of NumPy would be most of the work."""
    out = np.empty((len(yaw), 3, 4))
    for n in range(len(yaw)):
        c, s = np.cos(yaw[n]), np.sin(yaw[n])
        length, height, width = dims[n, 0] / 2, dims[n, 1] / 2, dims[n, 2] / 2
        x, y, z = center[n, 0], center[n, 1] - height, center[n, 2]
        for i in range(3):
            px, py, pz = projection[i, 0], projection[i, 1], projection[i, 2]
            out[n, i, 0] = (px * c - pz * s) * length
            out[n, i, 1] = py * height
            out[n, i, 2] = (px * s + pz * c) * width
            out[n, i, 3] = px * x + py * y + pz * z + projection[i, 3]
    return out


@njit(nogil=True, cache=True)
def _footprints(center: np.ndarray, dims: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    out = np.empty((len(yaw), 4, 2))
    for n in range(len(yaw)):
        c, s = np.cos(yaw[n]), np.sin(yaw[n])
        for k in range(4):
            along, across = CORNER_SIGNS[k, 0] * dims[n, 0] / 2, CORNER_SIGNS[k, 2] * dims[n, 2] / 2
            out[n, k, 0] = center[n, 0] + c * along + s * across
            out[n, k, 1] = center[n, 2] - s * along + c * across
    return out


@njit(nogil=True, cache=True)
def outlines(cubes: np.ndarray) -> np.ndarray:
    """:func:`projected_bbox`, not clipped, of boxes whose projections (N, 3, 4) are known."""
    out = np.empty((len(cubes), 4))
    corners = np.empty((8, 3))
    for n in range(len(cubes)):
        for k in range(8):
            for i in range(3):
                corners[k, i] = cubes[n, i, 3]
                for axis in range(3):
                    corners[k, i] += cubes[n, i, axis] * CORNER_SIGNS[k, axis]
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for k in range(8 + len(EDGES)):
            if k < 8:
                x, y, depth = corners[k, 0], corners[k, 1], corners[k, 2]
                if not depth >= NEAR:
                    continue
            else:
                a, b = corners[EDGES[k - 8, 0]], corners[EDGES[k - 8, 1]]
                if (a[2] < NEAR) == (b[2] < NEAR):
                    continue
                t = (a[2] - NEAR) / (a[2] - b[2])
                x, y, depth = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])
            left, right = min(left, x / depth), max(right, x / depth)
            top, bottom = min(top, y / depth), max(bottom, y / depth)
        seen = left <= right
        out[n, 0], out[n, 1] = left if seen else np.nan, top if seen else np.nan
        out[n, 2], out[n, 3] = right if seen else np.nan, bottom if seen else np.nan
    return out


def projected_bbox(camera: Camera, boxes: Boxes3D, clip: bool = True) -> np.ndarray:
    """(N, 4) left, top, right, bottom of the projected boxes, pixels.

    Edges are cut at the near plane first, so a box reaching behind the camera gets the rectangle of its part in front.
    A box wholly behind the near plane gets NaN.

    Args:
        clip: also clip to the image, [0, width - 1] x [0, height - 1].
    """
    bbox = outlines(canonical_projection(camera, boxes))
    return clip_bbox(bbox, camera.width, camera.height) if clip else bbox


def clip_bbox(bbox: np.ndarray, width: int, height: int) -> np.ndarray:
    """Clip (N, 4) rectangles to the image's pixel centres."""
    limit = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float64)
    return np.clip(bbox, 0.0, limit)


def truncation(full: np.ndarray, clipped: np.ndarray) -> np.ndarray:
    """(N,) share of each full rectangle's area outside the image, in [0, 1] (KITTI's truncation)."""
    area = np.prod(full[:, 2:] - full[:, :2], 1)
    inside = np.prod(np.maximum(clipped[:, 2:] - clipped[:, :2], 0), 1)
    return np.clip(1.0 - inside / np.maximum(area, 1e-9), 0.0, 1.0)

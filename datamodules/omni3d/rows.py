"""Annotations of Omni3D as arrays, made of labelled objects and turned into such again.

Omni3D's box has a rotation of its own in the frame of the picture's pinhole camera; ours stands upright in the label
frame, which a projection of twelve numbers maps to pixels. With that projection ``P`` and the picture's ``K``, upper
triangular, ``K^-1 P = [T | t]`` leads from the label frame into the pinhole's: ``T`` is a camera's tilt (nuScenes),
``t`` the offset of KITTI's colour camera. The box's own axes are the same in both: x along the length, y down, z along
the width, so ``R_cam = T R_y(yaw)``. Released files state ``P`` of KITTI's pictures as ``p2``; so do ours where
``[T | t]`` is not the identity. Without it the label frame is the pinhole's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datamodules.geometry import Boxes3D, Camera, Columns, clip_bbox, projected_bbox, rotation_y, truncation, wrap_angle
from datamodules.occlusion_levels import LEVEL_SHARE, occlusion_level
from datamodules.omni3d.vocabulary import category_name
from datamodules.scene import Objects

Rectangles = Literal["trunc", "tight"]
UNSTATED = -1.0  # what the format writes where it knows nothing
NOWHERE, NO_SIZE, NO_ANGLE = -1000.0, -1.0, -10.0  # KITTI's values of an area without an object
_BEHIND = 0.2  # metres; a corner nearer than this counts as behind the camera (Cube R-CNN's projection)
# Corners in the box's own axes, in the order of the format's drawing: the side at z = -1, then the one at z = +1.
CORNERS = np.array(
    [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
    dtype=np.float64,
)


@dataclass(frozen=True)
class Omni3DRows(Columns):
    """N annotations, as the file states them; -1 stands for what is unknown.

    Attributes:
        category: (N,) str names of Omni3D.
        valid: (N,) bool, whether the 3D box means anything.
        tight: (N, 4) annotated rectangle, left, top, right, bottom in pixels.
        proj: (N, 4) rectangle of the projected box.
        trunc: (N, 4) the same inside the picture.
        center: (N, 3) middle of the box in the pinhole's frame, metres.
        dims: (N, 3) width, height, length, metres.
        rotation: (N, 3, 3) of the box's own axes into that frame.
        behind: (N,) bool, whether a corner lies behind the camera.
        visibility: (N,) in [0, 1].
        truncation: (N,) in [0, 1].
        segmentation_pts: (N,) pixels of the instance that are seen.
        lidar_pts: (N,) of its points that are seen.
        depth_error: (N,) metres between a depth map and the drawn box.
    """

    category: np.ndarray
    valid: np.ndarray
    tight: np.ndarray
    proj: np.ndarray
    trunc: np.ndarray
    center: np.ndarray
    dims: np.ndarray
    rotation: np.ndarray
    behind: np.ndarray
    visibility: np.ndarray
    truncation: np.ndarray
    segmentation_pts: np.ndarray
    lidar_pts: np.ndarray
    depth_error: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(N, 8, 3) corners in the pinhole's frame, in the order of :data:`CORNERS`; -1 where the box is not valid."""
        corners = corners_of_boxes(self.center, self.dims[:, ::-1], self.rotation)
        return np.where(self.valid[:, None, None], corners, UNSTATED)

    def rectangles(self, choice: Rectangles) -> np.ndarray:
        """(N, 4) each annotation's rectangle: of the chosen kind, else the next that is known; NaN without any.

        Args:
            choice: "trunc" takes the projected box inside the picture first, as Cube R-CNN's configurations do, then
                the whole projection, then the annotated one; "tight" the annotated one first.
        """
        order = (self.trunc, self.proj, self.tight) if choice == "trunc" else (self.tight, self.trunc, self.proj)
        found = np.full((len(self), 4), np.nan)
        for rectangle in reversed(order):
            found = np.where((rectangle != UNSTATED).any(1)[:, None], rectangle, found)
        return found


def corners_of_boxes(center: np.ndarray, dims: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(N, 8, 3) corners in the order of :data:`CORNERS`; ``dims`` (N, 3) are length, height, width."""
    return np.einsum("nij,nkj->nki", rotation, dims[:, None] / 2 * CORNERS) + center[:, None]


def pinhole_pose(intrinsics: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """(3, 4) label frame to the frame of the pinhole camera with these upper triangular intrinsics (3, 3)."""
    return np.linalg.solve(intrinsics, projection)


def rows_of(objects: Objects, camera: Camera) -> tuple[Omni3DRows, np.ndarray]:
    """Annotations of a picture's objects, and the intrinsics (3, 3) of its pinhole camera.

    Visibility follows from the occlusion level by :data:`datamodules.occlusion_levels.LEVEL_SHARE`, 0 for the level
    that stands for hidden beyond use; a truncation that is not known is computed.
    """
    intrinsics = camera.pinhole()[0]
    pose = pinhole_pose(intrinsics, camera.projection)
    boxes, count = objects.boxes, len(objects)
    valid: np.ndarray = np.asarray((boxes.dims > 0).all(1))
    middle = boxes.center - np.array([0.0, 0.5, 0.0]) * boxes.dims[:, 1:2]
    center = middle @ pose[:, :3].T + pose[:, 3]
    full, inside = np.full((count, 4), UNSTATED), np.full((count, 4), UNSTATED)
    full[valid] = np.nan_to_num(projected_bbox(camera, boxes[valid], clip=False), nan=UNSTATED)
    seen = (full != UNSTATED).any(1)
    inside[seen] = clip_bbox(full[seen], camera.width, camera.height)
    nearest = np.full(count, np.inf)
    nearest[valid] = camera.project(boxes[valid].corners)[1].min(1)
    cut = np.where((objects.truncation < 0) & seen, truncation(full, inside), objects.truncation)
    hidden = np.array([LEVEL_SHARE.get(int(level), 1.0) for level in objects.occlusion])
    unknown = np.full(count, UNSTATED)
    rows = Omni3DRows(
        category=np.array([category_name(str(name)) for name in objects.names], dtype=str),
        valid=valid,
        tight=np.asarray(objects.bbox, np.float64),
        proj=full,
        trunc=inside,
        center=np.where(valid[:, None], center, UNSTATED),
        dims=np.where(valid[:, None], boxes.dims[:, ::-1], UNSTATED),
        rotation=np.where(valid[:, None, None], pose[:, :3] @ rotation_y(boxes.yaw), UNSTATED),
        behind=nearest <= _BEHIND,
        visibility=np.where(objects.occlusion < 0, UNSTATED, 1.0 - hidden),
        truncation=cut,
        segmentation_pts=unknown,
        lidar_pts=unknown,
        depth_error=unknown,
    )
    return rows, intrinsics


def objects_of(
    rows: Omni3DRows,
    pose: np.ndarray,
    spelling: Callable[[str], str] = str,
    rectangles: Rectangles = "trunc",
    max_tilt: float = 5.0,
) -> Objects:
    """Annotations as the suite's objects, upright in the label frame.

    An annotation without a valid box, or whose box leans more than ``max_tilt``, keeps its name and rectangle and has
    KITTI's values for no place, size and angle; one that leans less is set upright. The format has no observation
    angle: it is the box's. The occlusion level is that of the hidden share.

    Args:
        rows: N annotations.
        pose: (3, 4) of :func:`pinhole_pose`.
        spelling: gives a category the name that detectors know.
        rectangles: which rectangles the objects get; see :meth:`Omni3DRows.rectangles`.
        max_tilt: degrees between a box's own y and the label frame's.
    """
    rotation = pose[:, :3].T @ rows.rotation
    dims = rows.dims[:, ::-1]
    upright = rotation[:, 1, 1] >= np.cos(np.deg2rad(max_tilt))
    known = rows.valid & (dims > 0).all(1) & upright
    yaw = wrap_angle(np.arctan2(-rotation[:, 2, 0], rotation[:, 0, 0]))
    center = (rows.center - pose[:, 3]) @ pose[:, :3] + np.array([0.0, 0.5, 0.0]) * dims[:, 1:2]
    boxes = Boxes3D(
        np.where(known[:, None], center, NOWHERE),
        np.where(known[:, None], dims, NO_SIZE),
        np.where(known, yaw, NO_ANGLE),
    )
    hidden = np.where(rows.visibility < 0, 0.0, 1.0 - rows.visibility)
    return Objects(
        boxes,
        np.array([spelling(str(name)) for name in rows.category], dtype=str),
        np.nan_to_num(rows.rectangles(rectangles), nan=UNSTATED),
        rows.truncation.copy(),
        np.where(rows.visibility < 0, -1, occlusion_level(hidden)),
        np.where(known, boxes.alpha, NO_ANGLE),
    )

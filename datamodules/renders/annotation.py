"""The annotation of one render: what 3D-DST's has, and what it lacks, the metric 3D box and where it is seen.

Frames: the camera frame is x right, y down, z forward, metres, pixel centres at integers, so the principal point of a
512 picture is 255.5, its middle (256 in tools that count from the pixel's corner). The object frame is the suite's:
x forward, y down, z to the left (:mod:`datamodules.geometry`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.files.typed_json import Finite, Identifier, Metres, Text, read_json
from datamodules.geometry import CORNER_SIGNS, Boxes3D, Camera
from datamodules.renders.cad_models import CadModel
from datamodules.renders.viewpoints import RENDER_FIELD_OF_VIEW, Viewpoint
from datamodules.shapes.meshes import CarMesh

SCHEMA = 1
KIND = "an annotation of a render (`python -m lit prepare dst-renders` writes it)"

Point3D = tuple[Finite, Finite, Finite]
Values4 = tuple[Finite, Finite, Finite, Finite]
Pixel = tuple[Finite, Finite]


class Annotation(msgspec.Struct, kw_only=True):
    """What is known of one render.

    Attributes:
        settings: digest of all that the render follows from.
        synset, model, view: which one it is.
        name: class in the data sets' spelling ("Car"); in the file ``class``.
        words: class in words, for prompts.
        size: pixels of the square picture.
        intrinsics: focal length and principal point, pixels.
        theta, phi: viewpoint as 3D-DST draws it, degrees.
        azimuth_offset, elevation_offset: of the CSV list, degrees; already in all that follows.
        azimuth: of the camera, degrees; 0 looks at the front, 90 at the left side.
        elevation: of the camera above the object's middle, degrees.
        roll: in the picture's plane, degrees; 0, the camera is upright.
        distance: to the object's middle, metres.
        distance_in_sides: the same in longest sides.
        sampling: viewpoint mode.
        strength: of the control.
        dims: length, height, width of the 3D box, metres.
        center_cam: middle of the 3D box in the camera frame.
        R_cam: rows of the rotation from the object frame to the camera frame.
        bbox3D_cam: the box's corners in the camera frame, in :data:`datamodules.geometry.CORNER_SIGNS`'s order.
        bbox3D_pixels: the same in pixels.
        bbox2D_proj: left, top, right, bottom of the projected 3D box, pixels, not clipped.
        bbox2D_amodal: of the whole object, also where it leaves the picture.
        bbox2D_tight: of its visible pixels; None where it has none.
        projection: rows (3, 4) from the canonical cube [-1, 1]^3 to pixels, third row metres.
        level_yaw: yaw of the box in the level frame at the camera, radians.
        level_center: its bottom-centre there, metres.
        level_projection: rows (3, 4) from that frame to pixels.
        depth_unit: metres a count of the 16-bit depth picture.
        watertight: whether the mesh is closed.
        files: digest of each picture by its folder's name.
    """

    schema: Annotated[int, Meta(ge=1, le=SCHEMA)]
    settings: Identifier
    synset: Identifier
    model: Identifier
    view: Annotated[int, Meta(ge=0)]
    name: Identifier = msgspec.field(name="class")
    words: Text
    size: Annotated[int, Meta(ge=8, le=1 << 13)]
    intrinsics: tuple[Finite, Finite, Finite]
    theta: Finite
    phi: Finite
    azimuth_offset: Finite
    elevation_offset: Finite
    azimuth: Finite
    elevation: Finite
    roll: Finite
    distance: Metres
    distance_in_sides: Finite
    sampling: int
    strength: Finite
    dims: tuple[Metres, Metres, Metres]
    center_cam: Point3D
    R_cam: tuple[Point3D, Point3D, Point3D]
    bbox3D_cam: list[Point3D]
    bbox3D_pixels: list[Pixel]
    bbox2D_proj: Values4
    bbox2D_amodal: Values4
    bbox2D_tight: Values4 | None
    projection: tuple[Values4, Values4, Values4]
    level_yaw: Finite
    level_center: Point3D
    level_projection: tuple[Values4, Values4, Values4]
    depth_unit: Annotated[float, Meta(gt=0, le=1)]
    watertight: bool
    files: dict[str, str]

    @property
    def level_camera(self) -> Camera:
        """The camera whose frame is level, as those of driving data are."""
        return Camera(np.array(self.level_projection), self.size, self.size)

    @property
    def level_box(self) -> Boxes3D:
        """The 3D box in that camera's frame."""
        return Boxes3D.single(self.level_center, self.dims, self.level_yaw)


def focal_length(size: int) -> float:
    """Pixels; 560 at 512."""
    return size / (2 * float(np.tan(RENDER_FIELD_OF_VIEW / 2)))


def annotate(
    model: CadModel,
    mesh: CarMesh,
    viewpoint: Viewpoint,
    view: int,
    sampling: int,
    projection: np.ndarray,
    alpha: np.ndarray,
    settings: str,
    depth_unit: float,
    watertight: bool,
    files: dict[str, str],
) -> Annotation:
    """Put an annotation together.

    Args:
        model: what was rendered, with its offsets.
        mesh: the same in the object frame.
        viewpoint: where from.
        view: its number.
        sampling: viewpoint mode.
        projection: (3, 4) from the canonical cube to pixels, as rendered.
        alpha: (S, S) uint8 opacity of the picture.
        settings, depth_unit, watertight, files: see :class:`Annotation`.
    """
    size, focal, middle = len(alpha), focal_length(len(alpha)), (len(alpha) - 1) / 2
    intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    pose = np.linalg.solve(intrinsics, projection)  # canonical cube to camera frame, metres
    rotation, center = pose[:, :3] / (mesh.dims / 2), pose[:, 3]
    corners = CORNER_SIGNS @ pose[:, :3].T + center
    pixels = _pixels(corners, intrinsics)
    seen = _pixels((mesh.mesh.triangles.reshape(-1, 3) / (mesh.dims / 2)) @ pose[:, :3].T + center, intrinsics)
    rise = np.deg2rad(viewpoint.elevation)
    tilt = np.array([[1, 0, 0], [0, np.cos(rise), -np.sin(rise)], [0, np.sin(rise), np.cos(rise)]])
    level = tilt.T @ center + [0, mesh.dims[1] / 2, 0]
    return Annotation(
        schema=SCHEMA,
        settings=settings,
        synset=model.synset,
        model=model.model,
        view=view,
        name=mesh.name,
        words=model.name,
        size=size,
        intrinsics=(focal, middle, middle),
        theta=viewpoint.theta,
        phi=viewpoint.phi,
        azimuth_offset=model.alignment.azimuth,
        elevation_offset=model.alignment.elevation,
        azimuth=viewpoint.azimuth,
        elevation=viewpoint.elevation,
        roll=0.0,
        distance=float(np.linalg.norm(center)),
        distance_in_sides=viewpoint.distance,
        sampling=sampling,
        strength=model.alignment.strength,
        dims=tuple(mesh.dims.tolist()),
        center_cam=tuple(center.tolist()),
        R_cam=_rows(rotation),
        bbox3D_cam=[tuple(corner) for corner in corners.tolist()],
        bbox3D_pixels=[tuple(pixel) for pixel in pixels.tolist()],
        bbox2D_proj=_rectangle(pixels),
        bbox2D_amodal=_rectangle(seen),
        bbox2D_tight=_rectangle(np.argwhere(alpha > 127)[:, ::-1]) if (alpha > 127).any() else None,
        projection=_rows(projection),
        level_yaw=viewpoint.yaw,
        level_center=tuple(level.tolist()),
        level_projection=_rows(np.column_stack([intrinsics @ tilt, np.zeros(3)])),
        depth_unit=depth_unit,
        watertight=watertight,
        files=files,
    )


def _pixels(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    seen = points @ intrinsics.T
    return np.asarray(seen[:, :2] / seen[:, 2:])


def _rows(matrix: np.ndarray) -> Any:  # tuples whose lengths are the matrix's
    return tuple(tuple(row) for row in matrix.tolist())


def _rectangle(pixels: np.ndarray) -> Values4:
    left, top = pixels.min(0).tolist()
    right, bottom = pixels.max(0).tolist()
    return float(left), float(top), float(right), float(bottom)


def annotation_text(annotation: Annotation) -> str:
    """The file's content."""
    return json.dumps(msgspec.to_builtins(annotation), indent=1) + "\n"


def read_annotation(path: Path) -> Annotation:
    """Read one.

    Raises:
        InputError: missing, damaged, or something else.
    """
    return read_json(path, Annotation, KIND)

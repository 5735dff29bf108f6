"""Omni3D's files and the results of its evaluation, which other people's code writes, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.omni3d.format import Omni3DPicture, write_omni3d
from datamodules.omni3d.rows import rows_of
from datamodules.omni3d.vocabulary import numbered
from datamodules.scene import Objects
from tests.faults import plausible
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused

FOCAL, WIDTH, HEIGHT = 200.0, 320, 96
NUMBER = numbered(["car"])["car"]
INTRINSICS = [[FOCAL, 0.0, 160.0], [0.0, FOCAL, 48.0], [0.0, 0.0, 1.0]]
Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Side = Annotated[int, Meta(ge=1, le=100_000)]
Point = tuple[Number, Number, Number]
Pixel = Annotated[float, Meta(ge=-1e9, le=1e9)]
Rectangle = tuple[Pixel, Pixel, Pixel, Pixel]
Corners = tuple[Point, Point, Point, Point, Point, Point, Point, Point]


class Picture(msgspec.Struct):
    """An image of a file."""

    id: Count
    width: Side
    height: Side
    file_path: Annotated[str, Meta(min_length=1)]
    K: tuple[Point, Point, Point]
    dataset_id: int

    def __post_init__(self) -> None:
        k = np.array(self.K)
        if min(k[0, 0], k[1, 1]) < 1 or np.abs([k[1, 0], k[2, 0], k[2, 1], k[2, 2] - 1]).max() > 1e-6:
            raise ValueError("no pinhole")


class Category(msgspec.Struct):
    """A class."""

    id: Count
    name: str


class Annotation(msgspec.Struct):
    """A box; a valid one is turned by a rotation. One without a size is ignored by the data set's own evaluation."""

    id: Count
    image_id: Count
    category_id: Count
    category_name: str
    valid3D: bool
    bbox2D_tight: Rectangle
    bbox2D_proj: Rectangle
    bbox2D_trunc: Rectangle
    bbox3D_cam: Corners
    center_cam: Point
    dimensions: Point
    R_cam: tuple[Point, Point, Point]
    behind_camera: bool
    visibility: Number
    truncation: Number
    segmentation_pts: Number
    lidar_pts: Number
    depth_error: Number

    def __post_init__(self) -> None:
        turn = np.array(self.R_cam)
        rotation = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-2 and np.linalg.det(turn) > 0
        if self.valid3D and not rotation:
            raise ValueError("no rotation")


class Content(msgspec.Struct):
    """A file."""

    info: Any
    images: list[Picture]
    categories: list[Category]
    annotations: list[Annotation]

    def __post_init__(self) -> None:
        for rows in (self.images, self.categories, self.annotations):
            if len({row.id for row in rows}) < len(rows):
                raise ValueError("a number twice")
        names = {row.id: row.name for row in self.categories}
        images = {row.id for row in self.images}
        if len(set(names.values())) < len(names) or not images:
            raise ValueError("a name twice, or nothing")
        for row in self.annotations:
            if row.image_id not in images or names.get(row.category_id) != row.category_name:
                raise ValueError("an annotation of nothing")


class Result(msgspec.Struct):
    """A prediction."""

    image_id: Annotated[int, Meta(ge=1, le=2)]
    category_id: Annotated[int, Meta(ge=NUMBER, le=NUMBER)]
    bbox: Rectangle
    score: Annotated[float, Meta(ge=0, le=1)]
    bbox3D: Corners


def make(folder: Path) -> None:
    """Two pictures of two cars each, and their boxes again as results."""
    camera = Camera(np.array(INTRINSICS) @ np.eye(3, 4), WIDTH, HEIGHT)
    pictures, rows = [], []
    for number in (1, 2):
        centre, dims = np.array([[-2.0, 1.5, 12.0 + number], [2.0, 1.5, 20.0]]), np.array([[3.9, 1.5, 1.6]] * 2)
        boxes = Boxes3D(centre, dims, np.array([0.3, -1.2]))
        pictures.append(Omni3DPicture(number, WIDTH, HEIGHT, f"training/image_2/{number:06d}.png", INTRINSICS))
        zeros = np.zeros(2)
        seen = projected_bbox(camera, boxes)
        objects = Objects(boxes, np.array(["Car", "Car"]), seen, zeros, zeros.astype(int), np.full(2, -10.0))
        rows.append(rows_of(objects, camera)[0])
    write_omni3d(folder / "val.json", pictures, rows, {"id": 0, "name": "drawn", "split": "val"})
    written = json.loads((folder / "val.json").read_bytes())
    results = []
    for row in written["annotations"]:
        left, top, right, bottom = row["bbox2D_proj"]
        box = [left, top, right - left, bottom - top]
        keys = {key: row[key] for key in ("image_id", "category_id")}
        results.append({**keys, "bbox": box, "score": 0.5 + 0.1 * row["id"], "bbox3D": row["bbox3D_cam"]})
    (folder / "results.json").write_text(json.dumps(results))


def evaluate(folder: Path) -> Any:
    """The figures of ``evaluate omni3d``."""
    out = folder.parent / "figures.json"
    words = ["--gt", str(folder / "val.json"), "--pred", str(folder / "results.json"), "--out", str(out)]
    main_or_refused(["evaluate", "omni3d", *words])
    return json.loads(out.read_text())


SURFACES = [
    Surface(
        "omni3d_file", make, evaluate, ("val.json",), ("json", "json", "bytes"), plausible.document(Content), share=30
    ),
    Surface(
        "omni3d_results", make, evaluate, ("results.json",), ("json", "json", "bytes"),
        plausible.document(list[Result]), share=20,
    ),
]  # fmt: skip

"""Constructed scenes for placement, compositing and injection: a flat grey road, solid cars and one real car."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from datamodules.assets.contract import AssetSource, Layer, Wanted
from datamodules.assets.cube_render import render_cube
from datamodules.assets.visibility import EVERYWHERE, Visibility
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox, truncation
from datamodules.scene import Frame, Objects

WIDTH, HEIGHT = 320, 96
PROJECTION = np.array([[186.0, 0.0, 157.0, 11.0], [0.0, 186.0, 44.0, 0.05], [0.0, 0.0, 1.0, 0.003]])
CAMERA = Camera(PROJECTION, WIDTH, HEIGHT)
DIMS = np.array([3.9, 1.5, 1.6])


@dataclass(frozen=True)
class SolidAsset:
    """A box of one colour that fills its canonical cube; the depth is that of its near surface."""

    id: str = "solid"
    colour: tuple[int, int, int] = (200, 30, 30)
    name: str = "Car"
    dims: np.ndarray = field(default_factory=DIMS.copy)
    pose: Boxes3D | None = None
    visibility: Visibility = EVERYWHERE

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        return render_cube(camera, box, self._window)

    def _window(
        self, projection: np.ndarray, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        depth = enter_cube(projection, left, top, width, height)
        inside = np.isfinite(depth)
        rgba = np.zeros((height, width, 4), np.uint8)
        rgba[inside] = [*self.colour, 255]
        return rgba, np.where(inside, depth, 0).astype(np.float32)


def enter_cube(projection: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """(h, w) depth at which pixel rays enter the canonical cube, infinite where they miss."""
    v, u = np.mgrid[top : top + height, left : left + width].astype(np.float64)
    inverse = np.linalg.inv(projection[:, :3])
    origin = -inverse @ projection[:, 3]
    direction = np.stack([u, v, np.ones_like(u)], -1) @ inverse.T
    t = (np.array([[-1.0], [1.0]])[:, None, None] - origin) / np.where(direction == 0, 1e-9, direction)
    enter, leave = t.min(0).max(-1), t.max(0).min(-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


class OneAsset(AssetSource):
    """A source that always gives the same asset."""

    def __init__(self, asset: SolidAsset | None = None) -> None:
        self.asset = asset or SolidAsset()

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.asset.name,)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> SolidAsset:
        return self.asset


def box_at(x: float, z: float, yaw: float = -np.pi / 2) -> Boxes3D:
    """A car's box on level ground 1.65 m under the camera."""
    return Boxes3D.single(np.array([x, 1.65, z]), DIMS, yaw)


def label_of(boxes: Boxes3D, camera: Camera = CAMERA) -> Objects:
    """Labels of fully visible cars."""
    clipped = projected_bbox(camera, boxes)
    cut = truncation(projected_bbox(camera, boxes, clip=False), clipped)
    n = len(boxes)
    return Objects(boxes, np.full(n, "Car"), clipped, cut, np.zeros(n, np.int64), boxes.alpha)


def road_frame(
    real: Boxes3D | None = None, grey: int = 120, road: bool = True, buffers: bool = False, half_width: float = 5.0
) -> Frame:
    """A level world: a straight road ahead, and real cars as blue boxes."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    origin, direction = CAMERA.rays(np.stack([u, v], -1))
    reach = np.where(direction[..., 1] > 1e-6, (1.65 - origin[1]) / np.maximum(direction[..., 1], 1e-6), np.inf)
    x = origin[0] + np.where(reach < 200, reach, 0) * direction[..., 0]
    image = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    depth = np.where(reach < 200, reach, 0).astype(np.float32)
    mask = (np.abs(x) < half_width) & (reach < 200)
    instances = np.zeros((HEIGHT, WIDTH), np.uint8)
    boxes = real if real is not None else Boxes3D.empty()
    for row in np.argsort(-boxes.center[:, 2]) if len(boxes) else []:
        enter = enter_cube(canonical_projection(CAMERA, boxes[[row]])[0], 0, 0, WIDTH, HEIGHT)
        hit = np.isfinite(enter)
        image[hit], depth[hit], mask[hit], instances[hit] = (20, 40, 220), enter[hit], False, row + 1
    return Frame(
        image.transpose(2, 0, 1),
        CAMERA,
        label_of(boxes) if len(boxes) else Objects.empty(),
        "000007",
        mask if road else None,
        np.array([0.0, -1.0, 0.0, 1.65]),
        depth if buffers else None,
        instances if buffers else None,
    )

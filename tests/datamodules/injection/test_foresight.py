"""Foresight: sketches spare drawings and change nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from datamodules.assets.contract import AssetSource, Layer, Sketched, Wanted
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects
from tests.datamodules.injection_scenes import DIMS, PROJECTION

SCALE = 4
CAMERA = Camera(np.diag([SCALE, SCALE, 1.0]) @ PROJECTION, 320 * SCALE, 96 * SCALE)


def baked() -> VoxelAsset:
    """A solid car of two boxes."""
    x, y, z = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in (64, 26, 28)), indexing="ij", sparse=True)
    solid = ((y > -0.2) | ((np.abs(x) < 0.6) & (np.abs(z) < 0.8))) & (np.abs(x) < 0.97) & (np.abs(z) < 0.95)
    grid = np.zeros((64, 26, 28, 4), np.uint8)
    grid[solid] = [150, 60, 50, 150]
    return VoxelAsset("baked", "Car", DIMS, grid)


@dataclass(frozen=True)
class Counted(VoxelAsset):
    """Counts what is drawn."""

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        DRAWN.append(1)
        return super().render(camera, box, frame)


@dataclass(frozen=True)
class Unforeseen(Counted):
    """Counted, and never sketched."""

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        return None


DRAWN: list[int] = []


class One(AssetSource):
    classes = ("Car",)

    def __init__(self, kind: type[VoxelAsset]) -> None:
        car = baked()
        self.asset = kind(car.id, car.name, car.dims, car.grid)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> VoxelAsset:
        return self.asset


def street(seed: int) -> Frame:
    """A grey picture whose labels are a crowd of cars, some of them partly hidden."""
    rng = np.random.default_rng(seed)
    count = 9
    center = np.column_stack([rng.uniform(-7, 7, count), np.full(count, 1.65), rng.uniform(9, 45, count)])
    boxes = Boxes3D(center, np.tile(DIMS, (count, 1)), rng.choice([-np.pi / 2, 0.3, 1.4], count))
    bbox = np.nan_to_num(projected_bbox(CAMERA, boxes))
    occlusion = rng.integers(0, 3, count)
    objects = Objects(boxes, np.full(count, "Car"), bbox, np.zeros(count), occlusion, boxes.alpha)
    image = np.full((CAMERA.height, CAMERA.width, 3), 110, np.uint8)
    return Frame(image.transpose(2, 0, 1), CAMERA, objects, f"{seed:06d}")


def inject(kind: type[VoxelAsset], frames: list[Frame]) -> tuple[list[Frame], int]:
    DRAWN.clear()
    placement = Placement(depth=(5.0, 45.0), corridor=(-8.0, 8.0), corridor_depth=45.0)
    injection = Injection(One(kind), placement, Compositor(occluders="boxes"), probability=1.0, count=(2, 3))
    return [injection(frame, derive(3, frame.sample_id)) for frame in frames], len(DRAWN)


def test_a_sketch_spares_drawings_and_changes_no_bit() -> None:
    frames = [street(seed) for seed in range(12)]
    plain, drawn = inject(Unforeseen, frames)
    quick, fewer = inject(Counted, frames)
    accepted = sum(len(frame.objects) for frame in quick) - 9 * len(frames)
    assert accepted > 12
    for one, other in zip(plain, quick):
        assert one.image.tobytes() == other.image.tobytes()
        np.testing.assert_array_equal(one.objects.bbox, other.objects.bbox)
        np.testing.assert_array_equal(one.objects.occlusion, other.objects.occlusion)
    assert drawn > 1.2 * accepted  # the crowd turns some down
    assert fewer - accepted < 0.6 * (drawn - accepted)


@pytest.mark.parametrize("distance", [8.0, 20.0])
def test_a_sketch_covers_what_the_drawing_does(distance: float) -> None:
    asset, box = baked(), Boxes3D.single([1.0, 1.65, distance], DIMS, 0.7)
    assert isinstance(asset, Sketched)
    layer, found = asset.render(CAMERA, box), asset.sketch(CAMERA, box)
    assert layer is not None
    assert found is not None
    rough, step = found
    assert (rough.left, rough.top, rough.depth.shape) == (layer.left, layer.top, layer.depth.shape)
    assert step >= 3
    assert (rough.mask != layer.mask).mean() < 0.12
    both = rough.mask & layer.mask
    assert np.median(np.abs(rough.depth - layer.depth)[both]) < 0.3


def test_far_objects_have_no_sketch() -> None:
    assert baked().sketch(CAMERA, Boxes3D.single([0.0, 1.65, 80.0], DIMS, 0.7)) is None
    assert baked().sketch(CAMERA, Boxes3D.single([0.0, 1.65, -8.0], DIMS, 0.7)) is None

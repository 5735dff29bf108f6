"""VoxelAsset: the coloured cube at eight yaws, levels of detail, clipping, sizes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from datamodules.assets.contract import Asset
from datamodules.assets.cube_render import scaled
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.assets.voxels.voxel_render import render_voxels
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox

CAMERA = Camera(np.array([[720.0, 0, 620, 45], [0, 720, 187, 0.2], [0, 0, 1, 0.003]]), 1242, 375)
FACES = {  # canonical axis and sign -> colour
    (0, 1): (255, 0, 0),
    (0, -1): (0, 255, 255),
    (1, 1): (0, 255, 0),
    (1, -1): (255, 0, 255),
    (2, 1): (0, 0, 255),
    (2, -1): (255, 255, 0),
}


def cube(shape: tuple[int, int, int] = (64, 26, 28)) -> VoxelAsset:
    """A solid box whose six faces differ in colour."""
    axes = [-1 + (2 * np.arange(n) + 1) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    nearest = np.abs(points).argmax(0)
    grid = np.full((*shape, 4), 255, dtype=np.uint8)
    for (axis, sign), colour in FACES.items():
        grid[(nearest == axis) & (np.sign(points[axis]) == sign), :3] = colour
    return VoxelAsset("cube", "Car", np.array([3.9, 1.5, 1.6]), grid)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1, 0).prod()
    return size / ((a[2:] - a[:2] + 1).prod() + (b[2:] - b[:2] + 1).prod() - size)


@pytest.mark.parametrize("yaw", np.arange(8) * np.pi / 4)
@pytest.mark.parametrize("position", [(-5.0, 1.65, 14.0), (4.0, 3.0, 18.0)])
def test_faces_land_where_the_box_says(yaw: float, position: tuple[float, float, float]) -> None:
    asset, box = cube(), Boxes3D.single(position, [3.9, 1.5, 1.6], yaw)
    layer = asset.render(CAMERA, box)
    assert layer is not None
    assert isinstance(asset, Asset)
    assert iou(layer.full_bbox, projected_bbox(CAMERA, box)[0]) > 0.93
    projection = canonical_projection(CAMERA, box)[0]
    eye = -np.linalg.solve(projection[:, :3], projection[:, 3])
    seen = 0
    for (axis, sign), colour in FACES.items():
        if sign * eye[axis] < 1.5:  # turned away, or too oblique to meet its middle
            continue
        point = np.zeros(3)
        point[axis] = sign
        u, v, w = projection[:, :3] @ point + projection[:, 3]
        row, column = round(v / w) - layer.top, round(u / w) - layer.left
        np.testing.assert_allclose(layer.rgba[row, column, :3], colour, atol=40)
        # a row of the roof spans 0.3 m of depth
        assert abs(layer.depth[row, column] - w) < (0.35 if axis == 1 else 0.15)
        seen += 1
    assert seen >= 1


def test_nearer_object_has_smaller_depth() -> None:
    near = cube().render(CAMERA, Boxes3D.single([0, 1.65, 12], [3.9, 1.5, 1.6], 0.5))
    far = cube().render(CAMERA, Boxes3D.single([0, 1.65, 17], [3.9, 1.5, 1.6], 0.5))
    assert near is not None
    assert far is not None
    assert near.depth[near.mask].max() < far.depth[far.mask].min()


def test_truncated_object_knows_its_whole_rectangle() -> None:
    box = Boxes3D.single([-8.0, 1.65, 9.5], [3.9, 1.5, 1.6], 0.6)
    full = projected_bbox(CAMERA, box, clip=False)[0]
    assert full[0] < -20  # the case under test: it leaves the image on the left
    layer = cube().render(CAMERA, box)
    assert layer is not None
    assert layer.left == 0
    assert iou(layer.full_bbox, full) > 0.9


def test_outside_and_behind_draw_nothing() -> None:
    for position in ([60.0, 1.65, 12.0], [0.0, 1.65, -12.0]):
        assert cube().render(CAMERA, Boxes3D.single(position, [3.9, 1.5, 1.6], 0.5)) is None


def test_camera_inside_the_box_stays_finite() -> None:
    layer = cube().render(CAMERA, Boxes3D.single([0.0, 0.7, 1.0], [3.9, 1.5, 1.6], 0.5))
    assert layer is not None
    assert layer.rgba.shape[0] <= CAMERA.height
    assert np.isfinite(layer.full_bbox).all()


@pytest.mark.parametrize("distance", [30.0, 60.0, 110.0])
def test_small_objects_keep_size_and_average_colour(distance: float) -> None:
    box = Boxes3D.single([0.0, 1.65, distance], [3.9, 1.5, 1.6], 0.0)
    layer = cube((128, 52, 56)).render(CAMERA, box)
    assert layer is not None
    expected = projected_bbox(CAMERA, box)[0]
    assert np.abs(layer.full_bbox - expected).max() < 1.01
    area = layer.rgba[..., 3].sum() / 255.0
    assert abs(area / (expected[2:] - expected[:2]).prod() - 1) < 0.2
    centre = layer.rgba[layer.rgba.shape[0] * 2 // 3, layer.rgba.shape[1] // 2]
    np.testing.assert_allclose(centre[:3], (255, 255, 0), atol=45)


@pytest.mark.parametrize("distance", [22.0, 45.0, 90.0])
def test_far_objects_look_like_a_supersampled_image(distance: float) -> None:
    """The rounded, foggy surface of a baked object neither grows nor thins out with distance."""
    shape = (128, 52, 56)
    axes = [-1 + (2 * np.arange(n) + 1) / n for n in shape]
    radius = np.sqrt(sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij")))
    grid = np.zeros((*shape, 4), dtype=np.uint8)
    grid[..., 3] = np.clip((0.95 - radius) * 2000, 0, 60)  # opaque only over several voxels, as fields are
    grid[..., :3] = np.where(np.sin(9 * axes[0])[:, None, None, None] > 0, (200, 40, 30), (30, 60, 190))
    asset, box = (
        VoxelAsset("ball", "Car", np.array([3.9, 1.5, 1.6]), grid),
        Boxes3D.single([0.0, 1.65, distance], [3.9, 1.5, 1.6], 0.6),
    )
    layer = asset.render(CAMERA, box)
    assert layer is not None
    height, width = layer.rgba.shape[:2]
    projection = scaled(canonical_projection(CAMERA, box)[0], 8.0)
    fine = render_voxels(grid, projection, 8 * layer.left, 8 * layer.top, 8 * width, 8 * height, 2.0)[0]
    expected = fine.reshape(height, 8, width, 8, 4).mean((1, 3))
    assert abs(layer.rgba[..., 3].sum() / expected[..., 3].sum() - 1) < 0.015
    assert np.square(layer.rgba - expected).mean() < 255**2 * 10**-3.0


def test_pickles_without_the_prepared_grid() -> None:
    asset = cube()
    box = Boxes3D.single([0.0, 1.65, 20.0], [3.9, 1.5, 1.6], 1.0)
    first = asset.render(CAMERA, box)
    copy = pickle.loads(pickle.dumps(asset))
    second = copy.render(CAMERA, box)
    assert first is not None
    assert second is not None
    assert first.rgba.tobytes() == second.rgba.tobytes()


def test_wrong_grid_is_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        VoxelAsset("x", "Car", np.ones(3), np.zeros((4, 4, 4, 4), dtype=np.float32))

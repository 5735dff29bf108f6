"""Crops of frames as labelled views: the virtual camera sees what the real one saw, and its label says where it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.objects.labelled.cameras import check_cameras
from datamodules.objects.labelled.crop_labels import labelled_crop, object_camera, write_labelled_crops
from datamodules.objects.labelled.datamodule import read_views
from datamodules.objects.labelled.pairs import LabelledPairs

DIMS = np.array([4.1, 1.5, 1.7])
KITTI = Camera(np.array([[720.0, 0, 600, 45], [0, 720, 180, 0.2], [0, 0, 1, 0.003]]), 1240, 370)
PLACES = [((-6.0, 1.6, 14.0), 0.4), ((2.0, 1.7, 30.0), -1.9), ((9.0, 1.5, 20.0), 2.8)]


def block() -> VoxelAsset:
    """Solid, its front half red and its rear half blue."""
    grid = np.zeros((24, 12, 12, 4), np.uint8)
    grid[..., 3] = 255
    grid[12:, ..., 0], grid[:12, ..., 2] = 220, 220
    return VoxelAsset("block", "Car", DIMS, grid)


def crop(place: tuple[float, ...], yaw: float, name: str = "crop-0") -> CropAsset:
    box = Boxes3D.single(place, DIMS, yaw)
    layer = block().render(KITTI, box)
    assert layer is not None
    opacity = np.maximum(layer.rgba[..., 3:].astype(float), 1) / 255
    straight = np.concatenate([(layer.rgba[..., :3] / opacity).clip(0, 255).astype(np.uint8), layer.rgba[..., 3:]], -1)
    return CropAsset(name, "Car", DIMS, box, straight, layer.left, layer.top, KITTI, box)


@pytest.mark.parametrize(("place", "yaw"), PLACES)
def test_the_picture_is_what_the_virtual_camera_sees(place: tuple[float, ...], yaw: float) -> None:
    cut = crop(place, yaw)
    made = labelled_crop(cut, 64)
    camera = object_camera(cut, 64)
    layer = block().render(camera, cut.box)
    assert layer is not None
    wanted = np.full((64, 64, 3), 255.0)
    rows, columns = layer.rgba.shape[:2]
    window = wanted[layer.top : layer.top + rows, layer.left : layer.left + columns]
    window *= 1 - layer.rgba[..., 3:] / 255
    window += layer.rgba[..., :3]
    assert np.abs(made.image - wanted).mean() < 6
    mask, seen = (made.image.min(-1) < 128), (wanted.min(-1) < 128)
    assert (mask & seen).sum() / (mask | seen).sum() > 0.93


@pytest.mark.parametrize(("place", "yaw"), PLACES)
def test_the_label_projects_the_box_onto_the_picture(place: tuple[float, ...], yaw: float) -> None:
    cut = crop(place, yaw)
    made = labelled_crop(cut, 64)
    check_cameras([made.camera.tolist()], ["crop"], "here")
    pose, intrinsics = made.camera[:16].reshape(4, 4), made.camera[16:].reshape(3, 3)
    assert intrinsics[0, 0] / np.linalg.norm(pose[:3, 3]) == pytest.approx(1.7074 / 1.7)
    np.testing.assert_allclose(intrinsics[:2, 2], 0.5, atol=1e-6)
    corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), -1).reshape(-1, 3) * DIMS * (0.98 / np.linalg.norm(DIMS))
    world = corners * [1, -1, -1]
    seen = (np.c_[world, np.ones(8)] @ np.linalg.inv(pose)[:3].T) @ intrinsics.T
    pixels = seen[:, :2] / seen[:, 2:] * 64 - 0.5
    shown = np.argwhere(made.image.min(-1) < 128)[:, ::-1]
    np.testing.assert_allclose(pixels.min(0), shown.min(0), atol=1.6)
    np.testing.assert_allclose(pixels.max(0), shown.max(0), atol=1.6)


def test_edges_are_the_outline_and_the_change_of_colour() -> None:
    made = labelled_crop(crop(*PLACES[0]), 64)
    assert set(np.unique(made.edge)) == {0, 255}
    assert made.edge.mean() > 127.5
    mask = made.image.min(-1) < 200
    outline = mask & ~(np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1))
    assert (made.edge[outline] == 0).mean() > 0.9
    inner = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    red = made.image[..., 0] > made.image[..., 2]
    assert (red & inner).any()
    assert (~red & inner).any()
    away = cv2.dilate((red & inner).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert (made.edge[inner & away & ~red] == 0).any()  # where red becomes blue
    assert (made.edge[inner & ~away] == 255).mean() > 0.9
    assert (made.edge[~mask & ~np.roll(mask, 2, 0) & ~np.roll(mask, -2, 0)] == 255).mean() > 0.9


def test_a_set_is_read_with_its_own_sizes_and_written_over(tmp_path: Path) -> None:
    crops = [crop(*place, name=f"crop-{number}") for number, place in enumerate(PLACES)]
    folder = write_labelled_crops(tmp_path / "crops", crops, 32, "a test")
    pairs = LabelledPairs(folder / "images", folder / "edge", "edge")
    assert pairs.keys == pairs.objects == ["crop-0", "crop-1", "crop-2"]
    np.testing.assert_allclose(pairs.index.objects["crop-1"].dims, DIMS)
    batch = read_views(pairs, [0, 2])
    assert batch.labels.shape == (2, 1, 32, 32)
    assert float(batch.labels.max()) == 1
    write_labelled_crops(folder, crops[:1], 32, "a test")
    assert len(LabelledPairs(folder / "images", folder / "edge", "edge")) == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        write_labelled_crops(tmp_path / "full", crops, 32, "a test")
    (folder / "crops.json").unlink()  # now it might be anybody's
    with pytest.raises(InputError, match=r"holds edge, images and no crops\.json"):
        write_labelled_crops(folder, crops, 32, "a test")
    assert len(list((folder / "images").glob("*.png"))) == 1
    (folder / ".begun").touch()  # but for what an interrupted write left
    write_labelled_crops(folder, crops, 32, "a test")
    assert not (folder / ".begun").exists()
    with pytest.raises(InputError, match="0 crops"):
        write_labelled_crops(folder, [], 32, "a test")

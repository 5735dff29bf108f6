from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank import AssetBankWriter
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.visibility import viewing_direction
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.geometry import canonical_projection, plane_height, projected_bbox, wrap_angle
from datamodules.injection.centre_paste import CentredCrop, CentrePaste, lightened, road_luminance
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.randomness import derive
from datamodules.scene import REAL
from tests.datamodules.injection_scenes import CAMERA, DIMS, box_at, road_frame
from tests.lit.posed_boxes import face_colours, orbit_projection, render

VIEWS = 12


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two box cars seen level from twelve sides, dark."""
    folder = tmp_path_factory.mktemp("views") / "bank"
    with AssetBankWriter(folder, generator="test") as writer:
        for number in range(2):
            colours = face_colours(np.random.default_rng(number)) * 0.6
            angles = np.arange(VIEWS) * 2 * np.pi / VIEWS
            projection = np.stack([orbit_projection(a, 0.05, DIMS, 48) for a in angles])
            rgba = np.stack([render(p, 48, colours) for p in projection])
            depth = np.where(rgba[..., 3] > 0, 8.0, 0.0).astype(np.float16)
            writer.write(ViewAsset(f"car{number}", "Car", DIMS, rgba, depth, projection))
    return folder


def crops(bank: Path, count: int = 30, **options: object) -> list[CentredCrop]:
    source, frame = CentrePaste(bank, plane="frame", **options), road_frame()  # type: ignore[arg-type]
    drawn = [source.sample(derive(0, number), frame) for number in range(count)]
    return [crop for crop in drawn if isinstance(crop, CentredCrop)]


def test_boxes_stand_on_the_ground_at_the_principal_column(bank: Path) -> None:
    for crop in crops(bank, depth=(6.0, 40.0)):
        assert crop.pose is not None
        pixel = CAMERA.project(crop.pose.center[0])[0]
        assert pixel[0] == pytest.approx(CAMERA.projection[0, 2], abs=1e-3)
        assert 6.0 <= crop.pose.center[0, 2] <= 40.0
        x, y, z = crop.pose.center[0]
        assert y == pytest.approx(float(plane_height(np.array([0, -1.0, 0, 1.65]), x, z)))
        assert abs(x) < 0.1  # the fourth column of P shifts it by centimetres
        assert np.allclose(crop.dims / crop.dims[1], np.array([3.88, 1.53, 1.63]) / 1.53)
        assert abs(crop.dims[1] - 1.53) <= 0.28 + 1e-9


def test_crop_has_the_height_of_the_object_at_its_depth(bank: Path) -> None:
    """Z = f_y H / h, to the letter with fit "middle"; the height of the projected box with "box"."""
    for fit in ("middle", "box"):
        for crop in crops(bank, fit=fit, depth=(10.0, 30.0)):
            assert crop.pose is not None
            layer = crop.render(CAMERA, crop.pose)
            assert layer is not None
            depth = CAMERA.project(crop.pose.center[0])[1]
            low, high = projected_bbox(CAMERA, crop.pose, clip=False)[0].reshape(2, 2)
            height = CAMERA.projection[1, 1] * crop.dims[1] / depth if fit == "middle" else high[1] - low[1]
            ground = CAMERA.project(crop.pose.center[0])[0][1] if fit == "middle" else high[1]
            assert layer.full_bbox[3] + 0.5 == pytest.approx(ground, abs=0.8)
            assert layer.full_bbox[3] - layer.full_bbox[1] + 1 == pytest.approx(height, abs=1.5)
            column = CAMERA.projection[0, 2] if fit == "middle" else (low[0] + high[0]) / 2
            assert (layer.full_bbox[0] + layer.full_bbox[2]) / 2 == pytest.approx(column, abs=1.0)


def test_yaw_is_the_one_the_view_shows(bank: Path) -> None:
    """Seen from its camera in the picture, the box shows the side that the view shows."""
    source, frame = CentrePaste(bank, plane="frame"), road_frame()
    asset = source.bank[0]
    assert isinstance(asset, ViewAsset)
    for view in range(VIEWS):
        box = source.pose(frame, DIMS, asset.angles[0][view], 15.0)
        assert float(wrap_angle(box.alpha - asset.angles[0][view])[0]) == pytest.approx(0, abs=1e-9)
        direction = viewing_direction(canonical_projection(CAMERA, box)[0], DIMS)
        wanted = viewing_direction(np.asarray(asset.projection[view]), DIMS)
        turn = np.arctan2(direction[2], direction[0]) - np.arctan2(wanted[2], wanted[0])
        assert abs(float(wrap_angle(np.array([turn]))[0])) < np.radians(1.0)
        assert asset.nearest_view(canonical_projection(CAMERA, box)[0], DIMS) == view


def test_picture_covers_the_box_of_the_same_car(bank: Path) -> None:
    """The dims being those of the car in the views, its mask fills the projected box's rectangle."""
    for crop in crops(bank, dims_mean=tuple(DIMS), height_std=0.0, depth=(12.0, 30.0)):
        assert crop.pose is not None
        layer = crop.render(CAMERA, crop.pose)
        assert layer is not None
        expected = projected_bbox(CAMERA, crop.pose, clip=False)[0]
        assert np.abs(layer.full_bbox - expected).max() < 0.12 * (expected[2] - expected[0]) + 1


def test_dark_crops_are_lightened_to_the_road_and_bright_ones_left(bank: Path) -> None:
    frame, crop = road_frame(grey=120), crops(bank, 1)[0]
    assert road_luminance(frame) == pytest.approx(120, abs=1)
    assert crop.pose is not None
    lit, plain = crop.render(CAMERA, crop.pose, frame), crop.render(CAMERA, crop.pose)
    assert lit is not None
    assert plain is not None
    grey = np.array([0.299, 0.587, 0.114])
    before, after = ((layer.rgba[layer.mask][:, :3] @ grey).mean() for layer in (plain, lit))
    assert before < 90
    assert after == pytest.approx(120, abs=12)
    assert np.array_equal(lit.rgba[..., 3], plain.rgba[..., 3])
    bright = np.full((4, 4, 4), 255, np.uint8)
    assert np.array_equal(lightened(bright, 120.0), bright)
    assert not lightened(np.zeros((4, 4, 4), np.uint8), 120.0).any()


def test_injection_keeps_the_rules_of_all_arms(bank: Path) -> None:
    source = CentrePaste(bank, plane="frame", depth=(8.0, 25.0))
    injection = Injection(source, Placement(plane="frame"), probability=1.0, count=(1, 1), min_pixels=1)
    free = injection(road_frame(), derive(0, "free"))
    added = free.objects[free.objects.provenance != REAL]
    assert len(added) == 1
    assert str(added.provenance[0]).startswith("car")
    assert added.alpha[0] == pytest.approx(float(added.boxes.alpha[0]))
    # A lorry that fills the lane ahead leaves no place.
    from datamodules.geometry import Boxes3D

    lorry = Boxes3D.single(np.array([0, 1.65, 17.0]), np.array([24.0, 3.0, 3.0]), -np.pi / 2)
    assert not (injection(road_frame(lorry), derive(0, "full")).objects.provenance != REAL).any()
    assert (injection(road_frame(box_at(-4.0, 17.0)), derive(0, "free")).objects.provenance != REAL).sum() == 1


def test_bad_input(bank: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="depth"):
        CentrePaste(bank, depth=(9.0, 3.0))
    with AssetBankWriter(tmp_path / "voxels", generator="test") as writer:
        writer.write(VoxelAsset("block", "Car", DIMS, np.full((4, 4, 4, 4), 255, np.uint8)))
    with pytest.raises(InputError, match="expected posed views"):
        CentrePaste(tmp_path / "voxels")

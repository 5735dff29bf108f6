"""A bank in place: files that come back as they were, replayed where they stand at any size, or refused in one line."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.contract import Layer
from datamodules.assets.in_place.frame_file import FrameObjects, read_frame, write_frame
from datamodules.assets.in_place.in_place_bank import FrameRow, InPlaceIndex, InPlaceSource, frame_path
from datamodules.assets.in_place.placed_asset import PlacedAsset
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame, Objects

CAMERA = Camera(np.array([[100.0, 0, 60, 0], [0, 100, 20, 0], [0, 0, 1, 0]]), 120, 48)
EDGES = np.zeros((3, 256, 2), np.int64)


def car(left: int = 30, top: int = 12, x: float = 0.0) -> PlacedAsset:
    """A grey block of 24 x 12 pixels with a soft edge."""
    rgba = np.zeros((12, 24, 4), np.uint8)
    rgba[1:-1, 1:-1] = (90, 120, 60, 255)
    rgba[0] = (10, 10, 10, 40)
    depth = np.where(rgba[..., 3] > 0, np.float32(9.5), np.float32(0))
    box = Boxes3D.single([x, 1.5, 10], [4, 1.5, 1.7], 0.3)
    full = np.array([left + 1, top + 1, left + 22, top + 10], np.float64)
    return PlacedAsset(
        f"car-{left}", "Car", np.array([4.0, 1.5, 1.7]), box, Layer(rgba, depth, left, top, full), CAMERA
    )


def frame(sample_id: str = "000001", camera: Camera = CAMERA) -> Frame:
    return Frame(np.zeros((3, camera.height, camera.width), np.uint8), camera, Objects.empty(), sample_id)


def write_bank(folder: Path, frames: dict[str, list[PlacedAsset]]) -> Path:
    rows = {}
    for name, assets in frames.items():
        rows[name] = FrameRow(
            write_frame(frame_path(folder, name), CAMERA, FrameObjects(assets, "x", EDGES)), len(assets)
        )
    index = InPlaceIndex(1, "x", "MeshSource", 0.5, ["Car"], rows)
    (folder / "in_place.json").write_text(index.text())
    return folder


def test_objects_come_back_as_they_were(tmp_path: Path) -> None:
    cars = [car(), car(60, 20, 1.0)]
    digest = write_frame(tmp_path / "a.npz", CAMERA, FrameObjects(cars, "made so", EDGES + 3))
    found = read_frame(tmp_path / "a.npz", digest)
    assert (found.settings, int(found.edges.min())) == ("made so", 3)
    for one, other in zip(found.assets, cars, strict=True):
        assert (one.id, one.name, one.layer.left, one.layer.top) == (
            other.id,
            other.name,
            other.layer.left,
            other.layer.top,
        )
        for name in ("rgba", "depth", "full_bbox"):
            np.testing.assert_array_equal(getattr(one.layer, name), getattr(other.layer, name))
        np.testing.assert_array_equal(one.pose.center, other.pose.center)
        np.testing.assert_array_equal(one.pose.yaw, other.pose.yaw)
        np.testing.assert_array_equal(one.camera.projection, CAMERA.projection)
    assert write_frame(tmp_path / "b.npz", CAMERA, FrameObjects(cars, "made so", EDGES + 3)) == digest
    write_frame(tmp_path / "none.npz", CAMERA, FrameObjects([], "x", EDGES))
    assert read_frame(tmp_path / "none.npz").assets == []


def test_a_frame_gets_its_own_objects_and_no_others(tmp_path: Path) -> None:
    write_bank(tmp_path, {"000001": [car(), car(60, 20)], "000002": []})
    source = pickle.loads(pickle.dumps(InPlaceSource(tmp_path)))
    assert (source.classes, source.pool) == (("Car",), 2)
    drawn = {source.sample(np.random.default_rng(seed), frame()).id for seed in range(12)}
    assert drawn == {"car-30", "car-60"}
    for name in ("000002", "000003"):
        nothing = source.sample(np.random.default_rng(0), frame(name))
        assert nothing.pose is not None
        assert len(nothing.pose) == 0


@pytest.mark.parametrize("size", [(60, 24), (40, 16), (53, 31), (240, 96)])
def test_it_stands_at_the_same_place_at_any_size(size: tuple[int, int]) -> None:
    asset, camera = car(), CAMERA.resized(*size)
    assert asset.render(CAMERA, asset.pose) is asset.layer
    layer = asset.render(camera, asset.pose)
    assert layer is not None
    scale = np.array(size) / [CAMERA.width, CAMERA.height]
    own = (asset.layer.full_bbox + np.array([0, 0, 1, 1])) * np.tile(scale, 2)  # outer edges, from the corner
    found = layer.full_bbox + np.array([0, 0, 1, 1])
    np.testing.assert_allclose(found, own, atol=1.0)
    weight = layer.rgba[..., 3] / layer.rgba[..., 3].sum()
    before = asset.layer.rgba[..., 3] / asset.layer.rgba[..., 3].sum()
    for axis, start, first in ((0, layer.top, asset.layer.top), (1, layer.left, asset.layer.left)):
        middle = (start + np.arange(layer.depth.shape[axis]) + 0.5) @ weight.sum(1 - axis)
        expected = (first + np.arange(asset.layer.depth.shape[axis]) + 0.5) @ before.sum(1 - axis)
        assert middle == pytest.approx(expected * scale[1 - axis], abs=0.1)
    assert ((layer.depth > 0) == (layer.rgba[..., 3] > 0)).all()


def test_an_object_cut_off_keeps_its_truncation() -> None:
    asset = car(left=0)
    beyond = replace(asset.layer, full_bbox=np.array([-20.0, 13, 22, 22]))
    layer = replace(asset, layer=beyond).render(CAMERA.resized(60, 24), asset.pose)
    assert layer is not None
    assert layer.full_bbox[0] == pytest.approx(-10.0, abs=0.3)
    assert layer.full_bbox[2] == pytest.approx(11, abs=1.0)


def test_another_place_or_camera_is_refused() -> None:
    asset = car()
    moved = Boxes3D(asset.pose.center + np.array([0.5, 0, 0]), asset.pose.dims, asset.pose.yaw)
    with pytest.raises(InputError, match=r"asked for at \[0.5, 1.5, 10.0\], expected at its own place"):
        asset.render(CAMERA, moved)
    other = Camera(CAMERA.projection * [[1.1], [1], [1]], 120, 48)
    with pytest.raises(InputError, match="the frame's camera is another one"):
        asset.render(other, asset.pose)


class Frames:
    """Training frames by their ids."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Frame:
        return frame(self.ids[index])


def test_a_bank_of_other_frames_is_refused(tmp_path: Path) -> None:
    source = InPlaceSource(write_bank(tmp_path, {"000001": [car()]}))
    with pytest.raises(InputError, match=r"holds none of the 2 training frames \(000008, ...\)"):
        source.bind(Frames("000008", "000009"))
    with pytest.warns(UserWarning, match="1 of 2 training frames are not in the bank"):
        source.bind(Frames("000001", "000009"))


def test_bad_banks_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in_place.json: not found; expected a bank of objects in place"):
        InPlaceSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no object in any of 1 frames"):
        InPlaceSource(write_bank(tmp_path / "empty", {"000001": []}))
    folder = write_bank(tmp_path / "bank", {"000001": [car()]})
    index = folder / "in_place.json"
    written = index.read_text()
    index.write_text(written.replace("0.5", "0.6"))
    with pytest.raises(InputError, match=r"in_place.json: differs from its seal"):
        InPlaceSource(folder)
    index.write_text(written)
    path = frame_path(folder, "000001")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="differs from what the bank's index says"):
        InPlaceSource(folder).sample(np.random.default_rng(0), frame())
    with pytest.raises(InputError, match=r"000001.npz: .*expected a frame's objects"):
        read_frame(path)
    path.unlink()
    with pytest.raises(InputError, match="does not exist; expected a frame's objects"):
        InPlaceSource(folder).sample(np.random.default_rng(0), frame())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"windows": np.array([[110, 12, 24, 12]])}, "windows do not fit"),
        ({"windows": np.array([[30, 12, 24, 11]])}, "windows do not fit"),
        ({"boxes": np.full((1, 7), np.nan)}, "not finite"),
        ({"depth": np.zeros(288, np.int32)}, "array depth is int32"),
        ({"ids": np.array(["a", "b"])}, "windows do not fit"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    from datamodules.files.npz_files import packed_arrays, read_arrays

    path = tmp_path / "a.npz"
    write_frame(path, CAMERA, FrameObjects([car()], "x", EDGES))
    arrays = read_arrays(path.read_bytes(), None, 1 << 20)
    path.write_bytes(packed_arrays(arrays | change))
    with pytest.raises(InputError, match=said):
        read_frame(path)

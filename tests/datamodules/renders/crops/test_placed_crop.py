"""Objects in place: what is drawn over them lands on them, and the outline stays theirs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.assets.mesh_assets import MeshSource
from datamodules.augment import resize
from datamodules.errors import InputError
from datamodules.injection import Injection
from datamodules.injection.compositing import PAD, Compositor, Placed
from datamodules.kitti.datamodule import KittiDataset
from datamodules.renders.crops.placed_crop import OneObject, PlacedCrop, carried, edge_table, place_draw, redrawn
from datamodules.renders.crops.prompted_crops import PromptedCrops
from datamodules.renders.crops.square_window import sized
from datamodules.scene import Frame

SIZE = 48


def meshes() -> Injection:
    return Injection(MeshSource(style="fixed", light="fixed", models=3), compositor=Compositor(), count=(1, 1))


@pytest.fixture(scope="module")
def frames(tiny_world: Path) -> list[Frame]:
    reader = KittiDataset(tiny_world, "train", extras=True)
    return [reader.read(index) for index in range(4)]


@pytest.fixture(scope="module")
def crops(frames: list[Frame]) -> list[PlacedCrop]:
    """One object in each frame, the larger ones."""
    drawer = OneObject(meshes(), SIZE, "picture")
    found = [drawer.draw(frame, frame, 0, number) for frame in frames for number in range(6)]
    kept = [crop for crop in found if crop is not None and crop.window.side >= 12]
    assert len(kept) >= 4
    return kept


def opaque(crop: PlacedCrop) -> np.ndarray:
    """(h, w) bool pixels so far inside the object that nothing is carried to them from elsewhere."""
    solid = (crop.asset.layer.rgba[..., 3] > 250).astype(np.uint8)
    reach = int(np.ceil(2 * crop.window.side / SIZE)) + 1
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.erode(solid, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def test_the_crop_shows_the_object_as_it_stands(crops: list[PlacedCrop], frames: list[Frame]) -> None:
    for crop in crops:
        assert crop.picture.shape == (SIZE, SIZE, 3)
        assert crop.edges.shape == crop.inside.shape == (SIZE, SIZE)
        assert 0.1 < (crop.inside > 0.5).mean() < 0.8
        assert (crop.edges > 0).any()
        near = cv2.dilate((crop.inside > 0.3).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert not (crop.edges > 0)[~near].any()  # of the object alone, not of the road


def test_what_is_drawn_lands_on_the_object(crops: list[PlacedCrop]) -> None:
    """A change that grows to the right in red and downwards in green does so on the object, to a third of a pixel,
    and half a grey level where that is more.
    """
    ramp = np.zeros((SIZE, SIZE, 3))
    ramp[..., 0], ramp[..., 1] = np.linspace(-60, 60, SIZE), np.linspace(-60, 60, SIZE)[:, None]
    looked = 0
    for crop in crops:
        shown = np.clip(crop.picture + ramp, 0, 255)
        exact = opaque(crop) & ((crop.asset.layer.rgba[..., :3] > 70) & (crop.asset.layer.rgba[..., :3] < 185)).all(-1)
        clipped = np.abs(shown - crop.picture - ramp).max(-1) > 0
        layer, window = crop.asset.layer, crop.window
        whole = window.part(sized(clipped.astype(np.float32), window.side), layer.depth.shape, layer.left, layer.top)
        exact &= whole == 0
        if exact.sum() < 10:
            continue
        looked += 1
        found = redrawn(crop, np.rint(shown).astype(np.uint8)).layer.rgba.astype(float) - layer.rgba
        step = 120 / (SIZE - 1) * SIZE / window.side  # of the ramp, a pixel of the frame
        for channel, first, start, axis in ((0, layer.left, window.left, 1), (1, layer.top, window.top, 0)):
            place = first - start + np.arange(layer.depth.shape[axis]) - (window.side - 1) / 2
            expected = np.broadcast_to(place[:, None] if axis == 0 else place[None], layer.depth.shape) * step
            assert np.abs(found[..., channel] - expected)[exact].mean() < max(step / 3, 0.5)
        assert np.abs(found[..., 2])[exact].max() <= 1
    assert looked >= 2


def test_only_colour_changes(crops: list[PlacedCrop]) -> None:
    rng = np.random.default_rng(0)
    for crop in crops:
        before, after = crop.asset, redrawn(crop, rng.integers(0, 256, crop.picture.shape).astype(np.uint8))
        np.testing.assert_array_equal(after.layer.rgba[..., 3], before.layer.rgba[..., 3])
        np.testing.assert_array_equal(after.layer.depth, before.layer.depth)
        assert (after.layer.rgba[..., :3] <= after.layer.rgba[..., 3:]).all()  # premultiplied
        assert (after.id, after.pose) == (before.id, before.pose)
        assert redrawn(crop, crop.picture).layer.rgba.tobytes() == before.layer.rgba.tobytes()


def test_a_background_drawn_over_the_rim_is_no_halo(crops: list[PlacedCrop]) -> None:
    for crop in crops:
        core = cv2.erode((crop.inside > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if not core.any():
            continue
        picture = np.where(core[..., None], crop.picture, np.array([255, 0, 255], np.uint8))
        np.testing.assert_array_equal(redrawn(crop, picture).layer.rgba, crop.asset.layer.rgba)


def test_a_change_is_carried_to_the_rim() -> None:
    change, inside = np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.float32)
    inside[2:7, 2:7] = 1
    change[3:6, 3:6] = 10
    change[2] = -90
    found = carried(change, inside)
    np.testing.assert_allclose(found[2:7, 2:7], 10, atol=1e-3)
    assert np.isfinite(carried(change, np.zeros((9, 9), np.float32))).all()


@pytest.mark.parametrize("size", [None, (160, 48)])
def test_the_draw_is_that_of_the_plain_injection(frames: list[Frame], size: tuple[int, int] | None) -> None:
    injection = meshes()
    injection.probability = 1.0
    drawer, seen = OneObject(meshes(), SIZE, "render"), 0
    for frame in frames:
        injected = frame if size is None else resize(frame, *size)
        crop, plain = drawer.draw(frame, injected, 5, 1), injection(injected, place_draw(5, 1, frame.sample_id))
        assert (crop is None) == (plain is injected)
        if crop is None:
            continue
        seen += 1
        np.testing.assert_array_equal(plain.objects.boxes.center[-1], crop.asset.pose.center[0])
        layer = crop.asset.render(injected.camera, crop.asset.pose)
        assert layer is not None
        np.testing.assert_allclose(layer.full_bbox, plain.objects.bbox[-1], atol=0 if size is None else 1.01)
    assert seen >= 2


def test_the_rim_is_all_that_a_replay_may_touch(crops: list[PlacedCrop], frames: list[Frame]) -> None:
    by_id, compositor = {frame.sample_id: frame for frame in frames}, Compositor()
    rng = np.random.default_rng(1)
    for crop in crops:
        frame = by_id[crop.asset.id.split("-in-")[1].rsplit("-", 1)[0]]
        images = []
        for asset in (crop.asset, redrawn(crop, rng.integers(0, 256, crop.picture.shape).astype(np.uint8))):
            backdrop = compositor.backdrop(frame)
            placed = Placed(asset.id, asset.name, asset.pose, asset.layer)
            arranged = compositor.arrange(backdrop, [placed])
            images.append(compositor.paint(backdrop, arranged.objects).image)
        layer, touched = crop.asset.layer, (images[0] != images[1]).any(0)
        mask = np.zeros(touched.shape, np.uint8)
        rows, columns = layer.depth.shape
        mask[layer.top : layer.top + rows, layer.left : layer.left + columns] = layer.rgba[..., 3] > 0
        rim = cv2.dilate(mask, np.ones((2 * PAD + 1, 2 * PAD + 1), np.uint8)) > 0
        assert touched.any()
        assert not touched[~rim].any()


def test_edges_are_counted_about_the_object() -> None:
    edges, inside = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.float32)
    inside[3:5, 3:5], edges[3, 3:5] = 1, 255
    table = edge_table([np.where(edges > 0, 9, 2).astype(np.uint8)], edges, inside, 1)
    assert table.shape == (1, 256, 2)
    assert table[0, 9].tolist() == [2, 0]
    assert table[0, 2].tolist() == [0, 14]


def test_training_crops_come_from_training_frames_alone(tiny_world: Path) -> None:
    data = PromptedCrops(str(tiny_world), size=32, min_height=8.0, batch_size=4, val_every=3, val_batches=1)
    data.setup()
    ids = set((tiny_world / "ImageSets" / "train.txt").read_text().split())
    keys = [[picture.key for picture in part] for part in (data.train_pictures, data.val_pictures)]
    train, val = ({key.split("-")[1] for key in part} for part in keys)
    assert train
    assert val
    assert not train & val
    assert train | val <= ids
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == batch.controls.shape == (4, 3, 32, 32)
    assert batch.controls.float().mean() > 1
    assert all("car" in prompt for prompt in batch.prompts)
    plain = {p.key: p for p in data.train_pictures}
    for key, picture in plain.items():
        if key.endswith("-mirrored"):
            other = plain[key.removesuffix("-mirrored")]
            np.testing.assert_array_equal(picture.rgba[:, ::-1], other.rgba)
            np.testing.assert_array_equal(picture.edges[:, ::-1], other.edges)
    few = PromptedCrops(str(tiny_world), frames=6, subset="seed", subset_seed=3, size=32, min_height=8.0, val_every=2)
    few.setup()
    drawn = KittiDataset(tiny_world, "train", 6, subset_seed=3)
    assert {p.key.split("-")[1] for p in [*few.train_pictures, *few.val_pictures]} <= set(drawn.ids)


def test_bad_crops_are_named(tiny_world: Path) -> None:
    with pytest.raises(InputError, match="size 20: expected a multiple of 8"):
        PromptedCrops(str(tiny_world), size=20)
    tall = PromptedCrops(str(tiny_world), min_height=900.0)
    with pytest.raises(InputError, match=r"0 of 12 frames of train hold a Car of height >= 900 px.*relax"):
        tall.setup()

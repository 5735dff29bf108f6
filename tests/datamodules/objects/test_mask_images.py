"""Masked images for segmenters: the road world's, the studio's, and their variation in training."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from datamodules.errors import DatasetNotFound, InputError
from datamodules.images import read_image
from datamodules.objects.mask_images import IGNORED, collate_masks, distort
from datamodules.objects.object_masks import ObjectMasks, StudioMasks, draw_backdrop
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.road_masks import KittiMasks, RoadMasks
from datamodules.randomness import derive
from datamodules.samplers import Position
from datamodules.world.road_world import write_world
from tests.lit.posed_boxes import write_posed_boxes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=3, views=4, size=24)


def stored(world: Path, folder: str, sample_id: str) -> np.ndarray:
    return read_image(world / "training" / folder / f"{sample_id}.png", cv2.IMREAD_UNCHANGED)


def test_semantic_map_agrees_with_the_other_maps(tiny_world: Path) -> None:
    kinds: set[int] = set()
    for path in sorted((tiny_world / "training" / "semantic_2").iterdir()):
        semantic, instances = (stored(tiny_world, name, path.stem) for name in ("semantic_2", "instance_2"))
        assert semantic.dtype == np.uint8
        assert (semantic[instances > 0] >= 2).all()
        assert ((semantic == 1) <= (stored(tiny_world, "road_2", path.stem) > 127)).all()
        kinds |= set(np.unique(semantic).tolist())
        label = (tiny_world / "training" / "label_2" / f"{path.stem}.txt").read_text().splitlines()
        for number, row in enumerate(label, 1):
            expected = {"Car": 2, "Van": 2, "Pedestrian": 3, "Cyclist": 3}.get(row.split()[0])
            if expected is not None:
                assert set(np.unique(semantic[instances == number])) <= {expected}
    assert kinds == {0, 1, 2, 3}


def test_worlds_of_older_versions_get_their_semantic_maps(tmp_path: Path) -> None:
    def written() -> dict[Path, bytes]:
        write_world(tmp_path, seed=1, train=2, val=1, width=64, height=32, workers=1, progress=False)
        return {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    whole, index = written(), (tmp_path / "world.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "training" / "semantic_2")
    assert written() == whole
    assert (tmp_path / "world.json").stat().st_mtime_ns == index


def test_kinds_of_road_masks(tiny_world: Path) -> None:
    rng = derive(0)
    image, semantic = KittiMasks(tiny_world, "train", "semantic").read(0, rng)
    _, foreground = KittiMasks(tiny_world, "train", "foreground").read(0, rng)
    _, road = KittiMasks(tiny_world, "train", "road").read(0, rng)
    assert image.shape == (96, 320, 3)
    assert np.array_equal(foreground, np.where(semantic >= 2, semantic - 1, 0))
    assert np.array_equal(road > 0, stored(tiny_world, "road_2", "000000") > 0)
    small, labels = KittiMasks(tiny_world, "train", "semantic", size=(48, 160)).read(0, rng)
    assert small.shape == (48, 160, 3)
    assert set(np.unique(labels)) <= set(np.unique(semantic))


def test_unknown_values_are_ignored_and_bad_masks_named(tiny_world: Path, tmp_path: Path) -> None:
    root = tmp_path / "world"
    shutil.copytree(tiny_world, root, ignore=shutil.ignore_patterns("checksums.json"))
    path = root / "training" / "semantic_2" / "000000.png"
    mask = stored(tiny_world, "semantic_2", "000000")
    mask[0, 0] = 77
    cv2.imwrite(str(path), mask)
    source = KittiMasks(root, "train", "semantic", frames=1)
    assert len(source) == 1
    assert source.read(0, derive(0))[1][0, 0] == IGNORED
    cv2.imwrite(str(path), mask[:10])
    with pytest.raises(InputError, match=r"000000.png: uint8 \(10, 320\), expected"):
        source.read(0, derive(0))
    shutil.rmtree(root / "training" / "semantic_2")
    with pytest.raises(DatasetNotFound, match="semantic_2 does not exist"):
        KittiMasks(root, "train", "semantic")
    with pytest.raises(InputError, match="99 frames"):
        KittiMasks(root, "train", "road", frames=99)


def test_distortion_moves_image_and_mask_as_one() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 5:25] = 1
    image = np.repeat(mask[..., None] * np.uint8(220), 3, 2)
    left = []
    for seed in range(20):
        moved, labels = distort(image, mask, derive(seed))
        bright = moved.mean(2) > 110
        assert (bright == (labels > 0)).mean() > 0.95
        left.append(np.nonzero(labels)[1].mean() < 30)
    assert 0 < sum(left) < 20  # some are mirrored, some are not


def test_batches_depend_on_seed_and_step_only(tiny_world: Path) -> None:
    def first(seed: int, workers: int = 0) -> torch.Tensor:
        data = RoadMasks(str(tiny_world), batch_size=4, workers=workers, seed=seed)
        data.setup()
        return next(iter(data.train_dataloader())).images

    assert torch.equal(first(0), first(0))
    assert torch.equal(first(0), first(0, workers=1))
    assert not torch.equal(first(0), first(1))


def test_studio_masks_hold_out_objects(boxes: Path) -> None:
    data = ObjectMasks(str(boxes), held_out=1, batch_size=3, create=False)
    data.setup()
    assert (len(data.train_source), len(data.val_source)) == (8, 4)
    batch = next(iter(data.val_dataloader()))
    assert batch.images.shape == (3, 3, 24, 24)
    alpha = PosedImageSet.load(boxes).rgba[2, :3, ..., 3]
    assert np.array_equal(batch.labels.numpy(), (alpha >= 128).astype(np.int64))
    again = next(iter(data.val_dataloader()))
    assert torch.equal(batch.images, again.images)
    with pytest.raises(InputError, match="held_out 3 of 3"):
        ObjectMasks(str(boxes), held_out=3, create=False).setup()


def test_every_held_out_image_is_scored_once_over_all_ranks(boxes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ObjectMasks(str(boxes), held_out=1, batch_size=2, create=False)
    data.setup()
    scored, counts = 0, []
    for rank in range(3):
        monkeypatch.setattr(data, "position", lambda rank=rank: Position(rank, 3))
        batches = list(data.val_dataloader())
        counts.append(sum(len(batch.images) for batch in batches))
        scored += sum(int((batch.labels != IGNORED).flatten(1).any(1).sum()) for batch in batches)
    assert counts == [2, 2, 2]
    assert scored == 4


def test_the_object_keeps_its_colours_and_backdrops_differ(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes)
    source = StudioMasks(posed)
    shown = [source.read(0, derive(seed))[0] for seed in range(4)]
    solid = posed.rgba[0, 0, ..., 3] == 255
    for image in shown:
        assert np.abs(image[solid].astype(int) - posed.rgba[0, 0, ..., :3][solid]).max() <= 1
    corners = [image[0, 0].tolist() for image in shown]
    assert len({tuple(corner) for corner in corners}) == 4
    for seed in range(10):
        backdrop = draw_backdrop(16, derive(seed))
        assert 0 <= backdrop.min() <= backdrop.max() <= 1


def test_sizes_must_agree() -> None:
    with pytest.raises(InputError, match="one size"):
        collate_masks([(np.zeros((n, 8, 3), np.uint8), np.zeros((n, 8), np.uint8)) for n in (8, 9)])

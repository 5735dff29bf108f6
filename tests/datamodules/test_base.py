"""Loaders: what is drawn depends on the seed and the position alone; validation sees no synthetic box."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.assets.contract import LabelledFrames
from datamodules.augment import Augment
from datamodules.base import EvaluationFrames, TrainingFrames, normalise
from datamodules.errors import InputError
from datamodules.injection import Injection
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset
from datamodules.samplers import EpochSampler, Position, ShardSampler
from datamodules.scene import Batch, Frame, Objects, collate
from datamodules.training_reader import TrainingReader
from tests.datamodules.injection_scenes import OneAsset
from tests.datamodules.kitti_scenes import random_frame, small_kitti

COLOUR = Augment(0.5, (0.9, 1.1), 0.05, 0.2, 0.2, 0.2, 0.02)


class Mark:
    """An injection that paints one random pixel column and adds a copy of the first box."""

    def __init__(self) -> None:
        self.probability = 1.0

    def bind(self, frames: LabelledFrames) -> None:
        """It needs none."""

    def key(self, frame: Frame) -> str:
        return frame.sample_id

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        image = frame.image.copy()
        image[:, :, rng.integers(image.shape[2])] = 255
        added = replace(frame.objects[[0]], provenance=np.array(["bank/1"]))
        return frame.with_(image=image, objects=Objects.concatenate([frame.objects, added]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_kitti(tmp_path_factory.mktemp("kitti"))


def module(root: Path, **options: object) -> KittiDataModule:
    made = KittiDataModule(str(root), **{"batch_size": 2, "seed": 5, **options})  # type: ignore[arg-type]
    made.setup("fit")
    return made


def batches(made: KittiDataModule, epochs: int = 2) -> list[Batch]:
    loader = made.train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found += list(loader)
    return found


def assert_same(a: list[Batch], b: list[Batch]) -> None:
    assert [x.sample_ids for x in a] == [x.sample_ids for x in b]
    for x, y in zip(a, b):
        assert torch.equal(x.images, y.images)
        assert torch.equal(x.projections, y.projections)
        for one, two in zip(x.objects, y.objects):
            np.testing.assert_array_equal(one.bbox, two.bbox)
            np.testing.assert_array_equal(one.provenance, two.provenance)


def test_workers_and_cache_change_nothing(root: Path) -> None:
    options = {"injection": Mark(), "augment": COLOUR, "size": (96, 320)}
    plain = batches(module(root, **options))
    assert plain[0].images.shape == (2, 3, 96, 320)
    assert plain[0].images.is_contiguous(memory_format=torch.channels_last)
    assert_same(plain, batches(module(root, workers=2, **options)))
    assert_same(plain, batches(module(root, cache=True, **options)))


def test_passes_differ_and_repeat_with_the_seed(root: Path) -> None:
    options = {"injection": Mark(), "samples_per_epoch": 14}
    first = batches(module(root, **options), 1)
    assert_same(first, batches(module(root, **options), 1))
    ids = [i for b in first for i in b.sample_ids]
    assert sorted(ids) == sorted(f"{i:06d}" for i in range(7) for _ in range(2))
    assert sorted(ids[:7]) == sorted(ids[7:]) == [f"{i:06d}" for i in range(7)]
    images = {i: [] for i in ids}  # type: dict[str, list[torch.Tensor]]
    for batch in first:
        for i, image in zip(batch.sample_ids, batch.images):
            images[i].append(image)
    assert any(not torch.equal(*pair) for pair in images.values())  # another pass, another injection


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_partition_the_stream(world: int) -> None:
    one = list(EpochSampler(11, 36, batch_size=6))
    shares = [list(EpochSampler(11, 36, 6 // world, partial(Position, r, world))) for r in range(world)]
    assert {len(s) for s in shares} == {36 // world}
    assert [item for turn in zip(*shares) for item in turn] == one
    assert sorted(i for p, i in one if p == 0) == list(range(11))


def test_epochs_leave_no_gap_and_resuming_continues() -> None:
    sampler = EpochSampler(5, 7, 3, partial(Position, seed=1))
    assert len(sampler) == 6
    stream = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        stream += list(sampler)
    passes = [sorted(i for p, i in stream if p == number) for number in range(6)]
    assert passes == [list(range(5))] * 6
    resumed = EpochSampler(5, 7, 3, partial(Position, seed=1, batches=3))
    assert list(resumed) == stream[9:15]


@pytest.mark.parametrize(("length", "world"), [(7, 2), (6, 2), (1, 2), (5, 3)])
def test_evaluation_shards_cover_the_set_in_equal_steps(length: int, world: int) -> None:
    shares = [list(ShardSampler(length, Position(rank, world))) for rank in range(world)]
    assert len({len(s) for s in shares}) == 1
    assert {i for s in shares for i in s} == set(range(length))
    assert sum(map(len, shares)) - length < world


def test_validation_is_never_injected_into(root: Path) -> None:
    made = module(root, injection=Mark(), augment=COLOUR, size=(96, 320))
    assert any((o.provenance != "real").any() for b in batches(made) for o in b.objects)
    for loader in (made.val_dataloader(), made.test_dataloader(), made.predict_dataloader()):
        found = list(loader)
        assert [i for b in found for i in b.sample_ids] == ["000100", "000101", "000102"]
        assert all((o.provenance == "real").all() for b in found for o in b.objects)
    raw = KittiDataset(root, "val").read(0)
    np.testing.assert_array_equal(EvaluationFrames(KittiDataset(root, "val"))[0].image, raw.image)


def test_probability_zero_is_no_injection(root: Path) -> None:
    class Nothing(Mark):
        def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
            rng.random()
            return frame

    assert_same(batches(module(root, augment=COLOUR, injection=Nothing())), batches(module(root, augment=COLOUR)))


def test_padding_keeps_stored_pixels(root: Path) -> None:
    made = module(root, size=(64, 192), fit="pad")
    frame = KittiDataset(root, "val").read(0)
    batch = next(iter(made.val_dataloader()))
    assert batch.images.shape == (2, 3, 64, 192)
    np.testing.assert_array_equal(batch.objects[0].bbox, frame.objects.bbox)
    np.testing.assert_array_equal(batch.images[0, :, :48, :160].numpy(), frame.image)


def test_normalise() -> None:
    batch = collate([random_frame(i, maps=False) for i in range(2)])
    images = normalise(batch)
    expected = (batch.images.double().permute(0, 2, 3, 1) - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
        [58.395, 57.12, 57.375]
    )
    torch.testing.assert_close(images, expected.permute(0, 3, 1, 2).float(), atol=1e-5, rtol=0)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.dtype == torch.uint8
    with torch.inference_mode():
        normalise(batch)
    (normalise(batch) * torch.ones(1, requires_grad=True)).sum().backward()


def break_sample(root: Path, sample_id: str) -> None:
    (root / "training" / "label_2" / f"{sample_id}.txt").write_text("Car 0 0 1\n")


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_samples_are_replaced_and_counted(tmp_path: Path, workers: int) -> None:
    root = small_kitti(tmp_path)
    break_sample(root, "000003")
    break_sample(root, "000006")
    made = module(root, on_error="skip", workers=workers, samples_per_epoch=14)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = [i for b in batches(made, 2) for i in b.sample_ids]
    counts = {i: found.count(i) for i in sorted(set(found))}
    assert counts == {"000000": 8, "000001": 4, "000002": 4, "000004": 8, "000005": 4}
    assert made.train_reader.broken == ["000003", "000006"]
    with pytest.warns(
        UserWarning, match="2 of 7 training samples are broken and were replaced .*: 000003, 000006;"
    ) as seen:
        made.teardown("fit")
    assert len(seen) == 1


def test_broken_samples_stop_by_default(tmp_path: Path) -> None:
    root = small_kitti(tmp_path)
    break_sample(root, "000003")
    with pytest.raises(InputError, match=r"000003\.txt:1: 4 columns"):
        batches(module(root))
    for i in range(7):
        break_sample(root, f"{i:06d}")
    reader = TrainingReader(KittiDataset(root, "train"), "skip")
    with (
        pytest.warns(UserWarning, match="replaced and counted"),
        pytest.raises(InputError, match="all 7 training samples"),
    ):
        reader.read(0)


def test_copy_paste_sources_are_bound_to_the_training_subset(root: Path) -> None:
    bound: list[list[str]] = []

    class Source(OneAsset):
        def bind(self, frames: TrainingReader) -> None:  # type: ignore[override]  # the test asks for its ids
            bound.append(list(frames.ids))

    module(root, injection=Injection(Source()), train_frames=3)
    assert bound == [["000000", "000001", "000002"]]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"batch_size": 0}, "batch_size 0"), ({"workers": -1}, "workers -1"), ({"size": (0, 9)}, "size")],
)
def test_refuses_impossible_options(root: Path, options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        module(root, **options)


def test_too_few_samples_for_a_batch(root: Path) -> None:
    with pytest.raises(InputError, match="7 training samples an epoch: expected at least batch_size x ranks = 8"):
        module(root, batch_size=8).train_dataloader()
    assert len(module(root, batch_size=8, samples_per_epoch=8).train_dataloader()) == 1


def test_foreign_samplers_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="use_distributed_sampler: false"):
        TrainingFrames(KittiDataset(root, "train"), 0)[3]  # type: ignore[index]


def test_cached_frames_stay_as_they_were(root: Path) -> None:
    reader = TrainingReader(KittiDataset(root, "train"), cache=True)
    before = reader.read(0).image.copy()
    frames = TrainingFrames(reader, 0, (96, 320), augment=COLOUR, injection=Mark())  # type: ignore[arg-type]
    for pass_ in range(5):
        frames[(pass_, 0)]
    assert reader.read(0) is reader.read(0)
    np.testing.assert_array_equal(reader.read(0).image, before)


class Look(Mark):
    """Keeps the frames that reach the injection."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Frame] = []

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        self.seen.append(frame)
        return frame


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_injection_at_the_training_size(root: Path, fit: str) -> None:
    reader, look = KittiDataset(root, "train", extras=True), Look()
    stored = reader.read(0)
    size = (60, 200) if fit == "resize" else (stored.camera.height + 8, stored.camera.width + 8)
    frames = TrainingFrames(reader, 0, size, fit, look, inject_at="training")  # type: ignore[arg-type]
    made, seen = frames[(0, 0)], look.seen[0]
    expected = size if fit == "resize" else (stored.camera.height, stored.camera.width)
    assert seen.image.shape[1:] == (seen.camera.height, seen.camera.width) == expected
    for name in ("road", "instances", "depth"):
        plane = getattr(seen, name)
        assert plane is None or plane.shape == expected
    pixels = stored.camera.resized(expected[1], expected[0]).project(seen.objects.boxes.center)[0]
    np.testing.assert_allclose(seen.camera.project(seen.objects.boxes.center)[0], pixels)
    assert made.image.shape[1:] == size
    plain = TrainingFrames(reader, 0, size, fit)[(0, 0)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.image, plain.image)
    np.testing.assert_allclose(made.objects.bbox, plain.objects.bbox)

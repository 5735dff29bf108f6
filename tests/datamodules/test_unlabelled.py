"""Training without human labels: nothing that people labelled reaches a training batch, by any way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.assets.bank import AssetBank
from datamodules.assets.copy_paste import CopyPasteSource
from datamodules.errors import InputError
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset
from datamodules.scene import REAL, Batch
from tests.datamodules.injection_scenes import OneAsset

LABEL_FOLDERS = ("label_2", "instance_2", "depth_2", "planes")


@pytest.fixture
def world(tiny_world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_world, tmp_path / "world"))


def injection(**placement: str) -> Injection:
    chosen = Placement(**{"plane": "prior", "depth": (5, 40), **placement})  # type: ignore[arg-type]
    return Injection(OneAsset(), chosen, Compositor(occluders="depth"), probability=1.0, count=(2, 4), min_pixels=1)


def batches(root: Path) -> list[Batch]:
    module = KittiDataModule(str(root), unlabelled=True, batch_size=4, injection=injection(), seed=0)
    module.setup("fit")
    return list(module.train_dataloader())


def test_no_human_label_reaches_a_batch_by_any_way(world: Path) -> None:
    whole = batches(world)
    names = [name for batch in whole for objects in batch.objects for name in objects.provenance]
    assert len(names) > 12
    assert REAL not in names
    # What holds labels is gone or nonsense for every training frame: occlusion, plane and labels cannot depend on it.
    for sample_id in KittiDataset(world, "train").ids:
        for folder in LABEL_FOLDERS:
            for path in (world / "training" / folder).glob(f"{sample_id}.*"):
                path.write_bytes(b"not a label")
    for one, other in zip(whole, batches(world), strict=True):
        assert torch.equal(one.images, other.images)
        for a, b in zip(one.objects, other.objects, strict=True):
            np.testing.assert_array_equal(a.boxes.center, b.boxes.center)
            np.testing.assert_array_equal(a.occlusion, b.occlusion)
            np.testing.assert_array_equal(a.bbox, b.bbox)


def test_a_frame_keeps_its_road_and_its_light_but_nothing_that_knows_objects(world: Path) -> None:
    frame = KittiDataset(world, "train", extras=True, labels=False).read(0)
    assert len(frame.objects) == 0
    assert frame.road is not None
    assert (frame.plane, frame.depth, frame.instances) == (None, None, None)
    assert frame.light is not None


def test_training_needs_no_label_folder_and_evaluation_keeps_its_labels(world: Path) -> None:
    module = KittiDataModule(str(world), unlabelled=True, injection=injection(), val_frames=6)
    module.setup("fit")
    assert sum(len(module.val_reader.read(i).objects) for i in range(6)) > 0
    assert module.human_labels is False
    assert KittiDataModule(str(world)).human_labels is True
    shutil.rmtree(world / "training" / "label_2")
    assert len(KittiDataset(world, "train", labels=False).read(0).objects) == 0


@pytest.mark.parametrize(
    ("injected", "expected"),
    [
        (None, "without injected objects"),
        (Injection(OneAsset(), probability=0.0), "without injected objects"),
        (Injection(CopyPasteSource()), "CopyPasteSource: it cuts its objects out of labelled frames"),
        (injection(plane="frame"), "placement.plane frame"),
    ],
)
def test_what_cannot_work_without_labels_is_refused(tmp_path: Path, injected: Injection | None, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        KittiDataModule(str(tmp_path), unlabelled=True, injection=injected)
    assert "\n" not in str(caught.value)
    assert not AssetBank.needs_labels

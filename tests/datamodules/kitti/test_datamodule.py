"""The KITTI reader, tree check and export, on small folders and on a few real frames when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.geometry import Camera, projected_bbox
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset, check_tree
from datamodules.scene import Frame
from tests.datamodules.kitti_scenes import random_frame, small_kitti, write_frames

REAL = Path(os.environ.get("LIFTBENCH_SHARED", "/nonexistent")) / "data" / "kitti_real"
real_frames = pytest.mark.skipif(not REAL.is_dir(), reason="LIFTBENCH_SHARED names no folder of real KITTI frames")


def same_frame(a: Frame, b: Frame) -> None:
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_allclose(a.camera.projection, b.camera.projection, rtol=1e-12)
    np.testing.assert_allclose(a.objects.bbox, b.objects.bbox, atol=5.1e-5)
    assert a.objects.names.tolist() == b.objects.names.tolist()
    for name in ("road", "instances", "depth", "plane"):
        one, two = getattr(a, name), getattr(b, name)
        if one is None or two is None:
            assert one is None
            assert two is None
        else:
            np.testing.assert_allclose(one, two, atol=1e-8, err_msg=name)


def test_written_frames_read_back(tmp_path: Path) -> None:
    frames = [random_frame(i) for i in range(3)]
    assert write_frames(tmp_path, "train", frames) == ["000000", "000001", "000002"]
    dataset = KittiDataset(tmp_path, "train", extras=True)
    assert dataset.ids == ["000000", "000001", "000002"]
    for i, frame in enumerate(frames):
        same_frame(dataset.read(i), frame)
    plain = KittiDataset(tmp_path, "train", frames=2)
    assert len(plain) == 2
    assert plain.read(1).road is None


def test_first_frames_are_nested(tmp_path: Path) -> None:
    root = small_kitti(tmp_path)
    assert KittiDataset(root, "train", 3).ids == KittiDataset(root, "train", 5).ids[:3]
    with pytest.raises(InputError, match="8 frames of split train: expected 1 to 7"):
        KittiDataset(root, "train", 8)


def test_a_seed_draws_frames_and_its_draws_are_nested(tmp_path: Path) -> None:
    root = small_kitti(tmp_path)
    every = KittiDataset(root, "train").ids

    def drawn(count: int, seed: int) -> list[str]:
        return KittiDataset(root, "train", count, subset_seed=seed).ids

    assert all(set(drawn(3, seed)) < set(drawn(5, seed)) for seed in range(5))
    assert len({tuple(drawn(3, seed)) for seed in range(8)}) > 4
    assert drawn(3, 1) == sorted(drawn(3, 1), key=every.index)
    assert drawn(len(every), 3) == every


def test_the_run_seed_chooses_the_subset_only_where_asked(tmp_path: Path) -> None:
    root = str(small_kitti(tmp_path))
    modules = [KittiDataModule(root, train_frames=3, subset=subset, seed=1) for subset in ("first", "seed")]
    for module in modules:
        module.setup("fit")
    assert modules[0].train_reader.ids == KittiDataset(root, "train", 3).ids
    assert modules[1].train_reader.ids == KittiDataset(root, "train", 3, subset_seed=1).ids


def test_a_fold_evaluates_drives_that_it_does_not_train_on(tmp_path: Path) -> None:
    root = small_kitti(tmp_path)
    every = [*KittiDataset(root, "train").ids, *KittiDataset(root, "val").ids]
    of = {one: f"drive_{number // 2}" for number, one in enumerate(every)}
    (root / "drives.txt").write_text("".join(f"{one} {drive}\n" for one, drive in of.items()))
    evaluated: list[str] = []
    for number in range(3):
        module = KittiDataModule(str(root), fold=(number, 3))
        module.setup("fit")
        train, val = module.train_reader.ids, module.val_reader.ids
        assert sorted([*train, *val]) == sorted(every)
        assert not {of[one] for one in train} & {of[one] for one in val}
        assert module.groups == {one: of[one] for one in val}
        module.val_reader.read(0)  # of whichever split
        fewer = KittiDataModule(str(root), fold=(number, 3), train_frames=3, subset="drives")
        fewer.setup("fit")
        assert set(fewer.train_reader.ids) < set(train)
        evaluated += val
    assert sorted(evaluated) == sorted(every)


@pytest.mark.parametrize("fold", [(2, 2), (-1, 2), (0, 1)])
def test_a_fold_that_is_none_is_refused(fold: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"data\.fold .*: expected \[k, n\] with n of 2 or more"):
        KittiDataModule("data/kitti", fold=fold)


def test_world_is_a_kitti_tree(tiny_world: Path) -> None:
    report = check_tree(tiny_world)
    assert report.complete, report
    assert report.splits["train"] == 12
    assert report.classes["Car"] > 0
    frame = KittiDataset(tiny_world, "train", extras=True).read(0)
    assert frame.road is not None
    assert frame.plane is not None
    assert frame.depth is not None
    assert frame.instances is not None
    assert frame.instances.max() <= len(frame.objects)
    assert frame.light is not None
    assert frame.light.sun.shape == (3,)


def test_tree_report_names_what_is_missing(tmp_path: Path) -> None:
    root = small_kitti(tmp_path)
    folder = root / "training"
    (folder / "calib" / "000001.txt").unlink()
    (folder / "label_2" / "000002.txt").write_text("Car 0 0\n")
    image = folder / "image_2" / "000003.png"
    image.write_bytes(image.read_bytes()[:-40])
    report = check_tree(root)
    assert not report.complete
    assert len(report.problems) == 3
    text = str(report)
    for named in ("calib/000001.txt is missing", "label_2/000002.txt:1: 3 columns", "000003.png", "3 problems"):
        assert named in text
    assert "ImageSets/train.txt: 7 ids" in text


@pytest.mark.parametrize("gone", ["", "ImageSets", "training/calib", "ImageSets/val.txt"])
def test_missing_folders_are_one_line(tmp_path: Path, gone: str) -> None:
    root = small_kitti(tmp_path / "kitti", 2, 1)
    (root / gone).rename(tmp_path / "away")
    with pytest.raises(DatasetNotFound) as caught:
        KittiDataset(root, "val")
    message = str(caught.value)
    assert message.startswith(f"{root / gone}")
    assert "expected ImageSets" in message
    assert "\n" not in message
    assert "label_2/000000.txt" in caught.value.tree


def test_split_files_are_checked(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 1)
    split = root / "ImageSets" / "train.txt"
    for text, said in (
        ("", "is empty"),
        ("000000\n000000\n", "train.txt:2: id 000000 again"),
        ("a b\n", "train.txt:1: "),
    ):
        split.write_text(text)
        with pytest.raises(InputError, match=said):
            KittiDataset(root, "train")


def test_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, "train", [random_frame(0)])
    other = random_frame(0, 80, 24)
    write_frames(tmp_path / "other", "train", [other])
    (tmp_path / "other/training/road_2/000000.png").replace(tmp_path / "training/road_2/000000.png")
    with pytest.raises(InputError, match=r"road_2/000000.png: \(24, 80\), expected one channel of 48 x 160"):
        KittiDataset(tmp_path, "train", extras=True).read(0)


def test_dataset_name_and_extras_only_for_injection(tmp_path: Path) -> None:
    module = KittiDataModule(str(small_kitti(tmp_path / "mykitti", maps=True)), train_frames=4)
    module.setup("fit")
    assert module.dataset == "mykitti"
    assert module.train_reader.read(0).road is None
    assert len(module.train_reader) == 4


@real_frames
def test_real_frames() -> None:
    """The projection of each labelled box, fourth column included, meets its annotated rectangle."""
    assert check_tree(REAL).complete
    overlaps = []
    for split in ("train", "val"):
        dataset = KittiDataset(REAL, split)
        for i in range(len(dataset)):
            frame = dataset.read(i)
            assert frame.image.shape == (3, frame.camera.height, frame.camera.width)
            assert abs(frame.camera.projection[0, 3]) > 10
            solid = (frame.objects.names != "DontCare") & (frame.objects.truncation < 0.1)
            a, b = frame.objects.bbox[solid], projected_bbox(frame.camera, frame.objects.boxes[solid])
            inter = np.prod(np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None), 1)
            area = [np.prod(r[:, 2:] - r[:, :2], 1) for r in (a, b)]
            overlaps += list(inter / (area[0] + area[1] - inter))
            np.testing.assert_allclose(frame.objects.alpha[solid], frame.objects.boxes.alpha[solid], atol=0.03)
    assert np.mean(overlaps) > 0.8


@real_frames
def test_real_labels_survive_a_round_trip(tmp_path: Path) -> None:
    dataset = KittiDataset(REAL, "train")
    frames = [dataset.read(i) for i in range(len(dataset))]
    write_frames(tmp_path, "train", frames)
    again = KittiDataset(tmp_path, "train")
    for i, frame in enumerate(frames):
        same_frame(again.read(i), frame)
        old = (REAL / "training/label_2" / f"{frame.sample_id}.txt").read_text().split()
        new = (tmp_path / "training/label_2" / f"{frame.sample_id}.txt").read_text().split()
        for a, b in zip(old, new):
            assert a == b or float(a) == float(b)
        assert isinstance(again.read(i).camera, Camera)

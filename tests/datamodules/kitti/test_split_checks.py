"""What a KITTI folder is looked at for before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.assets.contract import Asset, AssetSource, Wanted
from datamodules.errors import DatasetNotFound, InputError
from datamodules.injection.injection import Injection
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset
from datamodules.kitti.tree import check_tree, read_split
from datamodules.scene import Frame
from tests.datamodules.kitti_scenes import random_frame, small_kitti, write_frames


class Trams(AssetSource):
    """A source of one class, never asked for anything."""

    classes = ("Tram",)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        raise AssertionError


def module(root: Path, classes: tuple[str, ...] | None = None, **options: Any) -> KittiDataModule:
    """A data module, of a run with a detector of some classes."""
    made = KittiDataModule(str(root), **options)
    if classes is not None:
        detector = SimpleNamespace(classes=classes)
        module = SimpleNamespace(detector=detector)
        made.trainer = SimpleNamespace(lightning_module=module, is_global_zero=False)  # type: ignore[assignment]
    return made


def spell(root: Path, old: str, new: str) -> None:
    """Write a class by another name everywhere."""
    for path in (root / "training" / "label_2").iterdir():
        path.write_text(path.read_text().replace(f"{old} ", f"{new} "))


def test_split_lists_of_any_tool_are_read(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 3, 1)
    path, ids = root / "ImageSets" / "train.txt", ["000000", "000001", "000002"]
    for content in ("\n".join(ids).encode("utf-16"), "\r".join(ids).encode("utf-8-sig"), "\n".join(ids).encode()):
        path.write_bytes(content + b"")
        assert read_split(root, "train") == ids
    for row in ("", "\uff10\uff11", "../000001", "000001\u00a0"):
        path.write_text(f"000000\n{row}\n000002\n")
        with pytest.raises(InputError, match=r"train\.txt:2: .*, expected one id such as 000042"):
            read_split(root, "train")


def test_a_missing_file_stops_before_anything_runs(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 3, 1)
    (root / "training" / "calib" / "000002.txt").unlink()
    with pytest.raises(InputError, match=r"calib/000002\.txt does not exist; .*ImageSets"):
        module(root).setup("fit")
    module(root, on_error="skip").setup("fit")  # counted when it is met


def test_names_near_a_class_need_a_map(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 4, 2)
    spell(root, "Car", "car")
    with pytest.raises(InputError, match=r"class 'car' is near 'Car'.*data\.class_map to \{car: Car\}"):
        module(root).setup("fit")
    assert any("near 'Car'" in problem for problem in check_tree(root).problems)
    assert check_tree(root, {"car": "Car"}).complete
    made = module(root, class_map={"car": "Car"})
    made.setup("fit")
    assert "car" not in {name for i in range(4) for name in made.train_reader.read(i).objects.names}


def test_a_split_without_a_known_object_is_said(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 2)
    for old, new in (("Car", "Lorry"), ("Van", "Lorry"), ("Pedestrian", "Scooter")):
        spell(root, old, new)
    with pytest.warns(UserWarning, match=r"no Car or Cyclist is labelled.*\d+ Lorry"):
        module(root, ("Car", "Cyclist")).setup("fit")
    notes = check_tree(root).notes
    assert any(note.startswith("Lorry, Scooter: no class of KITTI") or "Lorry" in note for note in notes)
    assert any("ImageSets/train.txt: no object of a class of KITTI" in note for note in notes)


def test_objects_of_a_class_that_the_detector_lacks_are_refused(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 1)
    module(root, injection=Injection(Trams())).setup("fit")  # without a run nobody knows
    module(root, ("Car", "Tram"), injection=Injection(Trams())).setup("fit")
    with pytest.raises(InputError, match=r"data\.injection gives Tram, the detector knows Car, Van: .*background"):
        module(root, ("Car", "Van"), injection=Injection(Trams())).setup("fit")


def test_mixed_sizes_need_one(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 1)
    write_frames(root, "train", [random_frame(0), random_frame(1, 80, 24)])
    with pytest.raises(InputError, match=r"data\.size null with pictures of 2 sizes \(48 x 160 of 000000, 24 x 80"):
        module(root).setup("fit")
    module(root, size=(48, 160)).setup("fit")


def test_files_that_nothing_reads_are_said(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 1)
    (root / "training" / "image_2" / "000007.webp").write_bytes(b"")
    report = check_tree(root)
    assert report.complete
    assert report.files["image_2"] == 3
    assert any(
        "image_2: 1 not read, expected .png or .jpg or .jpeg files: 000007.webp" in note for note in report.notes
    )


def test_jpeg_pictures_are_read_and_two_for_a_frame_refused(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 2, 1)
    images = root / "training" / "image_2"
    for path in sorted(images.glob("*.png")):
        picture = cv2.imread(str(path))
        assert picture is not None
        cv2.imwrite(str(path.with_suffix(".jpg")), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    with pytest.raises(InputError, match=r"000000\.png and 000000\.jpg: expected one picture a frame"):
        KittiDataset(root, "train").check()
    assert len(check_tree(root).problems) == 3
    stored = KittiDataset(root, "val").ids[0]
    whole = cv2.imread(str(images / f"{stored}.png"))
    assert whole is not None
    for path in images.glob("*.png"):
        path.unlink()
    assert check_tree(root).complete
    assert check_tree(root).files["image_2"] == 3
    reader = KittiDataset(root, "val")
    reader.check()
    image = reader.read(0).image.transpose(1, 2, 0)[..., ::-1]
    assert image.shape == whole.shape
    assert np.abs(image.astype(int) - whole).mean() < 20  # noise pictures lose most
    assert len(reader.image_sizes()) == 1
    (images / f"{stored}.jpg").unlink()
    with pytest.raises(DatasetNotFound, match="restore it or drop its id"):
        reader.check()


def test_maps_of_another_depth_are_refused(tmp_path: Path) -> None:
    root = small_kitti(tmp_path, 1, 1, maps=True)
    shutil.copy(root / "training/road_2/000000.png", root / "training/depth_2/000000.png")
    with pytest.raises(InputError, match=r"depth_2/000000\.png: uint8 values, expected 16 bits"):
        KittiDataset(root, "train", extras=True).read(0)

"""What a file of Omni3D may not say, what is ignored, and what a picture without a known class or box becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.omni3d.datamodule import Omni3DDataModule, Omni3DDataset
from datamodules.omni3d.format import read_omni3d
from datamodules.omni3d.ignore import EVALUATION, TRAINING
from datamodules.omni3d.rows import Omni3DRows, objects_of, rows_of
from datamodules.omni3d.vocabulary import category_name, numbered, spelled
from datamodules.scene import Objects
from lit.cli import main
from tests.datamodules.kitti_scenes import random_frame, write_frames
from tests.datamodules.omni3d.test_round_trip import edited

Content = dict[str, Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A KITTI folder of three random frames with files of Omni3D."""
    write_frames(tmp_path, "train", [random_frame(seed) for seed in range(2)])
    write_frames(tmp_path, "val", [random_frame(seed) for seed in range(2, 5)])
    assert main(["prepare", "omni3d", "--root", str(tmp_path)]) == 0
    return tmp_path


def test_numbers_are_unique_over_splits_and_start_at_one(root: Path) -> None:
    contents = [json.loads((root / "omni3d" / f"{split}.json").read_text()) for split in ("train", "val")]
    images = [image["id"] for content in contents for image in content["images"]]
    annotations = [entry["id"] for content in contents for entry in content["annotations"]]
    assert images == list(range(5))
    assert annotations == list(range(1, len(annotations) + 1))
    assert {c["name"]: c["id"] for c in contents[0]["categories"]}["dontcare"] == 2
    assert all(image["p2"] for image in contents[0]["images"])


BROKEN: list[tuple[Callable[[Content], object], str]] = [
    (lambda c: c["images"][0].pop("K"), r"val\.json, \$\.images\[0\]: Object missing required field `K`; expected a"),
    (lambda c: c["images"][0].update(K=[[0, 0, 9], [0, 90, 9], [0, 0, 1]]), "K is no pinhole camera's, expected f s u"),
    (lambda c: c["images"][0].update(p2=[[90, 0, 9, 0], [0, 45, 9, 0], [0, 0, 1, 0]]), "p2 is not K times a rotation"),
    (
        lambda c: c["annotations"][0].update(category_id=77),
        "annotation 11: category 77 is not among the categories, exp",
    ),
    (lambda c: c["annotations"][0].update(category_name="cart"), "category_name 'cart' of category .*, expected '"),
    (lambda c: c["annotations"][1]["bbox3D_cam"].pop(), r"annotations\[1\]\.bbox3D_cam: .*length.* 8"),
    (lambda c: c["annotations"][0].update(image_id=99), "image 99 is not among the images, expected one of 3; add it"),
    (lambda c: c["annotations"][1].update(id=c["annotations"][0]["id"]), "annotation 11 stands twice, expected each"),
    (lambda c: c["images"].clear(), r"images: .*length >= 1"),
    (lambda c: c["annotations"][0].update(center_cam=[1, 2, float("nan")]), r"no valid JSON|center_cam"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_one_line(change: Callable[[Content], object], said: str, root: Path) -> None:
    edited(root / "omni3d" / "val.json", change)
    with pytest.raises(InputError, match=said) as caught:
        read_omni3d(root / "omni3d" / "val.json")
    assert "\n" not in str(caught.value)


def test_missing_pictures_and_files_are_one_line(root: Path, tmp_path: Path) -> None:
    (root / "training" / "image_2" / "000003.png").unlink()
    module = Omni3DDataModule(str(root), batch_size=1)
    with pytest.raises(
        InputError, match=r"000003\.png does not exist, one of 1 missing out of 3 pictures of .*val\.json"
    ):
        module.setup("validate")
    with pytest.raises(InputError, match=r"none\.json: not found; expected a file of Omni3D"):
        Omni3DDataModule(str(root), val_file="none.json").setup("validate")
    with pytest.raises(InputError, match=r"4 frames of .*: expected 1 to 3"):
        Omni3DDataset(root, "omni3d/val.json", frames=4)
    edited(root / "omni3d" / "val.json", lambda content: content["images"][0].update(width=161))
    with pytest.raises(InputError, match=r"48 x 160 pixels, expected 48 x 161 as .* says; copy the picture again"):
        Omni3DDataset(root, "omni3d/val.json").read(0)


def test_corners_of_another_convention_are_named(root: Path) -> None:
    def swapped(content: Content) -> None:
        for entry in content["annotations"]:
            entry["dimensions"] = entry["dimensions"][::-1]

    edited(root / "omni3d" / "val.json", swapped)
    with pytest.warns(UserWarning, match="boxes have other corners than center_cam, dimensions"):
        read_omni3d(root / "omni3d" / "val.json")


def test_skewed_and_mirrored_axes_are_named(root: Path) -> None:
    def skewed(content: Content) -> None:
        valid = [entry for entry in content["annotations"] if entry["valid3D"]]
        valid[0]["R_cam"] = (1.1 * np.array(valid[0]["R_cam"])).tolist()
        valid[1]["R_cam"][1] = [-value for value in valid[1]["R_cam"][1]]

    edited(root / "omni3d" / "val.json", skewed)
    with pytest.warns(UserWarning, match=r"R_cam of 2 of \d+ boxes is no rotation \(first annotation \d+\)"):
        read_omni3d(root / "omni3d" / "val.json")


def test_corners_beside_the_camera_project_anywhere(root: Path) -> None:
    far = [-4e6, -2e5, 7e8, 3e5]
    edited(root / "omni3d" / "val.json", lambda c: c["annotations"][0].update(bbox2D_proj=far, behind_camera=True))
    rows = read_omni3d(root / "omni3d" / "val.json").rows
    assert rows.proj[0].tolist() == far
    assert TRAINING.ignored(rows, 48)[0]


def test_a_renaming_of_nothing_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"data.class_map Car: no such category, .*; did you mean 'car'\?"):
        Omni3DDataModule(str(root), class_map={"Car": "Vehicle"}).setup()
    Omni3DDataModule(str(root), class_map={"car": "Vehicle"}).setup()


def test_names() -> None:
    for name in ("Car", "Van", "Person_sitting", "DontCare", "Misc"):
        assert spelled(category_name(name), "kitti") == name
    assert spelled(category_name("traffic_cone"), "nuscenes") == "traffic_cone"
    assert spelled("bookcase", "kitti") == "bookcase"
    assert numbered(["misc", "car", "animal"]) == {"car": 1, "animal": 1000, "misc": 1001}


def row(**changes: object) -> Omni3DRows:
    """A car 20 m ahead of a camera of 100 rows, plainly seen."""
    camera = Camera(np.array([[100.0, 0, 100, 0], [0, 100, 50, 0], [0, 0, 1, 0]]), 200, 100)
    boxes = Boxes3D.single((0.0, 1.5, 20.0), (4.0, 1.6, 1.7), 0.3)
    objects = Objects(
        boxes, np.array(["Car"]), np.array([[90.0, 45, 110, 60]]), np.zeros(1), np.zeros(1, np.int64), boxes.alpha
    )
    rows = rows_of(objects, camera)[0]
    return replace(rows, **{name: np.array([value]) for name, value in changes.items()})


@pytest.mark.parametrize(
    ("change", "trained", "evaluated"),
    [
        ({}, True, True),
        ({"valid": False}, False, False),
        ({"behind": True}, False, False),
        ({"lidar_pts": 0.0}, False, False),
        ({"segmentation_pts": 0.0}, False, False),
        ({"depth_error": 0.6}, False, False),
        ({"depth_error": 0.4, "lidar_pts": 3.0}, True, True),
        ({"truncation": 0.5}, True, False),
        ({"truncation": 0.75}, False, False),
        ({"visibility": 0.3}, True, False),
        ({"visibility": 0.25}, False, False),
        ({"visibility": -1.0, "truncation": -1.0}, True, True),
        ({"trunc": [90.0, 40, 110, 46]}, True, False),
        ({"trunc": [90.0, 40, 110, 45]}, False, False),
        ({"trunc": [90.0, -80, 110, 70]}, False, False),
        ({"trunc": [-1.0, -1, -1, -1], "proj": [-1.0, -1, -1, -1], "tight": [90.0, 10, 99, 30]}, True, True),
        ({"category": "dontcare"}, False, False),
    ],
)
def test_what_is_ignored(change: dict[str, object], trained: bool, evaluated: bool) -> None:
    """Cube R-CNN's thresholds: 0.75, 0.25 and 0.05 while it learns, 1/3, 1/3 and 0.0625 when it is tested."""
    assert TRAINING.ignored(row(**change), 100).tolist() == [not trained]
    assert EVALUATION.ignored(row(**change), 100).tolist() == [not evaluated]


def test_boxes_that_lean_too_far_have_no_place() -> None:
    lean = np.deg2rad(8)
    turn = np.array([[1.0, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    rows = row()
    leaning = replace(rows, rotation=turn @ rows.rotation)
    found = objects_of(leaning, np.eye(3, 4), str.title)
    assert (found.names.tolist(), found.boxes.dims[0, 0], found.alpha[0]) == (["Car"], -1.0, -10.0)
    upright = objects_of(leaning, np.eye(3, 4), str.title, max_tilt=10.0)
    assert upright.boxes.yaw[0] == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(upright.boxes.dims, [[4.0, 1.6, 1.7]])


def test_what_training_ignores_is_taught_to_nobody(root: Path) -> None:
    plain = Omni3DDataset(root, "omni3d/val.json")
    marked = Omni3DDataset(root, "omni3d/val.json", ignore=True)
    assert len(plain) == 3
    hard = 0
    for index, sample_id in enumerate(plain.ids):
        rows, height = plain.rows(sample_id), 48
        ignored = TRAINING.ignored(rows, height) & (rows.category != "dontcare")
        own, found = plain.read(index).objects, marked.read(index).objects
        assert found.occlusion[ignored].tolist() == [3] * int(ignored.sum())
        np.testing.assert_array_equal(found.occlusion[~ignored], own.occlusion[~ignored])
        hard += int(ignored.sum())
    assert hard > 0

"""The road world: a true KITTI folder whose labels agree with what was drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from datamodules.geometry import Boxes3D, plane_height, projected_bbox
from datamodules.images import read_image
from datamodules.kitti.datamodule import KittiDataset
from datamodules.kitti.format import read_calibration, read_label, read_plane
from datamodules.randomness import derive
from datamodules.shapes.meshes import car
from datamodules.shapes.primitives import box
from datamodules.world.road_layout import RoadScene, draw_camera, draw_scene
from datamodules.world.road_render import render
from datamodules.world.road_world import make_frame, make_labels, write_world


def constructed(boxes: list[tuple[float, float, float]]) -> RoadScene:
    """A bare street with cars of one model at (x, z, yaw), seen by KITTI's camera."""
    scene = draw_scene(derive(0, "scene", "constructed"), "train", 0, 320, 96)
    thing = car("train", 0, 0, "hatchback")
    pose = np.array(boxes)
    y = plane_height(scene.plane, pose[:, 0], pose[:, 1])
    placed = Boxes3D(np.column_stack([pose[:, 0], y, pose[:, 1]]), np.tile(thing.dims, (len(pose), 1)), pose[:, 2])
    nothing = box((0.01, 0.01, 0.01), (0, 0, -20), (0, 0, 0))
    return replace(scene, objects=(thing,) * len(pose), boxes=placed, static=nothing)


def test_occlusion_is_derived_from_what_is_seen() -> None:
    # In line with the camera: the nearer car hides most of the farther one; the third stands free.
    scene = constructed([(0.0, 9.0, -np.pi / 2), (0.9, 15.0, -np.pi / 2), (8.0, 20.0, -np.pi / 2)])
    drawn = render(scene, derive(0, "noise"))
    objects, rows = make_labels(scene, drawn)
    assert rows.tolist() == [0, 1, 2]
    assert objects.occlusion[0] == 0
    assert objects.occlusion[1] in (1, 2)
    assert objects.occlusion[2] == 0
    assert drawn.visible[0] > 0.999
    hidden = constructed([(0.0, 9.0, -np.pi / 2), (0.0, 18.0, -np.pi / 2)])
    names = make_labels(hidden, render(hidden, derive(0, "noise")))[0].names.tolist()
    assert names in (["Car"], ["Car", "DontCare"])


def test_a_car_at_the_border_is_truncated_and_its_box_stays_inside() -> None:
    scene = constructed([(-6.5, 8.0, -np.pi / 2)])
    objects, _ = make_labels(scene, render(scene, derive(0, "noise")))
    assert 0.05 < objects.truncation[0] < 0.85
    assert objects.bbox[0, 0] == 0
    assert objects.occlusion[0] == 0


def test_boxes_agree_with_instance_masks() -> None:
    checked = 0
    for i in range(6):
        scene, drawn, objects, instances = make_frame(0, f"{i:06d}", "train", 320, 96)
        assert drawn.image.shape == (96, 320, 3)
        for row in np.nonzero((objects.names == "Car") & (objects.occlusion == 0))[0]:
            v, u = np.nonzero(instances == row + 1)
            if len(u) < 60 or drawn.visible.max() < 0.99:
                continue
            mask = np.array([u.min(), v.min(), u.max(), v.max()], float)
            assert iou(objects.bbox[row], mask) > 0.7, (i, row)
            projected = projected_bbox(scene.camera, objects.boxes[[int(row)]])[0]
            assert iou(objects.bbox[row], projected) > 0.6, (i, row)
            depth = drawn.depth[v, u]
            half = np.hypot(*objects.boxes.dims[row, [0, 2]]) / 2
            assert abs(np.median(depth) - objects.boxes.center[row, 2]) < half + 0.1
            checked += 1
    assert checked >= 5


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inter = np.prod(np.maximum(high - low, 0))
    return float(inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter))


def test_road_pixels_lie_on_the_plane() -> None:
    scene, drawn, _, instances = make_frame(0, "000002", "train", 320, 96)
    v, u = np.nonzero(drawn.road & (drawn.depth > 4) & (drawn.depth < 25))
    assert len(u) > 1000
    points = scene.camera.unproject(np.stack([u, v], -1).astype(float), drawn.depth[v, u])
    assert np.median(np.abs(points @ scene.plane[:3] + scene.plane[3])) < 0.03
    assert not (drawn.road & (instances > 0)).all()
    assert 1.4 < scene.plane[3] < 1.9


def test_world_is_a_kitti_folder(tiny_world: Path) -> None:
    ids = (tiny_world / "ImageSets" / "trainval.txt").read_text().split()
    assert len(ids) == 18
    assert ids[:12] == (tiny_world / "ImageSets" / "train.txt").read_text().split()
    index = json.loads((tiny_world / "world.json").read_text())
    projections, cars = set(), 0
    for sample in ids:
        training = tiny_world / "training"
        objects = read_label(training / "label_2" / f"{sample}.txt")
        cars += int((objects.names == "Car").sum())
        projection = read_calibration(training / "calib" / f"{sample}.txt")
        assert projection[0, 3] > 1  # KITTI's fourth column, scaled
        projections.add(projection[0, 0])
        assert read_image(training / "image_2" / f"{sample}.png").shape == (3, 96, 320)
        assert read_plane(training / "planes" / f"{sample}.txt")[1] < 0
        instances = cv2.imread(str(training / "instance_2" / f"{sample}.png"), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(training / "depth_2" / f"{sample}.png"), cv2.IMREAD_UNCHANGED)
        road = cv2.imread(str(training / "road_2" / f"{sample}.png"), 0)
        assert instances is not None
        assert depth is not None
        assert road is not None
        assert instances.max(initial=0) <= (objects.names != "DontCare").sum()
        assert depth.dtype == np.uint16
        assert set(np.unique(road)) <= {0, 255}
        assert np.linalg.norm(index["frames"][sample]["sun"]) == pytest.approx(1, abs=1e-5)
    assert len(projections) == 18  # every frame has its own calibration
    assert cars > 18


def test_populations_of_the_splits_are_disjoint(tiny_world: Path) -> None:
    frames = json.loads((tiny_world / "world.json").read_text())["frames"]
    used = {
        p: {o for f in frames.values() if f["population"] == p for o in f["objects"] if "-" in o}
        for p in ("train", "val")
    }
    assert used["train"]
    assert used["val"]
    assert not used["train"] & used["val"]


def test_same_bytes_for_any_number_of_workers_and_after_an_interruption(tmp_path: Path) -> None:
    one = write_world(tmp_path / "one", train=3, val=1, width=64, height=32, workers=1, progress=False)
    broken = tmp_path / "two" / "training" / "image_2"
    broken.mkdir(parents=True)
    (broken / "000000.png").write_bytes(b"half")  # what a killed writer of another kind might leave
    two = write_world(tmp_path / "two", train=3, val=1, width=64, height=32, workers=2, progress=False)
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    stamp = (one / "world.json").stat().st_mtime_ns
    write_world(one, train=3, val=1, width=64, height=32, workers=1, progress=False)
    assert (one / "world.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings"):
        write_world(one, train=4, val=1, width=64, height=32, workers=1, progress=False)


def test_a_true_kitti_folder_is_not_written_over(tmp_path: Path) -> None:
    for name in ("image_2", "label_2"):
        (tmp_path / "training" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds training and no world\.json"):
        write_world(tmp_path, train=1, val=1, width=64, height=32, workers=1, progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: holds the bytes of a file"):
        write_world(tmp_path / "file")


@pytest.mark.parametrize(("width", "height"), [(320, 96), (1242, 375)])
def test_calibration_keeps_kittis_field_of_view(width: int, height: int) -> None:
    for i in range(20):
        camera = draw_camera(derive(0, "camera", i), width, height)
        assert camera.projection[0, 0] == pytest.approx(721.5 * width / 1242, rel=0.045)
        assert abs(camera.center[0] + 0.06) < 0.01


def test_bad_arguments_are_one_line(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"train": 0}, "train=0"),
        ({"workers": 0}, "workers=0"),
        ({"width": 5}, "5x96"),
        ({"seed": -1}, "seed=-1"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            write_world(tmp_path / "world", **arguments)
    for text, message in (
        ("{", "no valid JSON"),
        ("", "no valid JSON"),
        ("[1]", "got `array`"),
        ('{"schema": "1"}', r"\$\.schema: .*got `str`"),
    ):
        (tmp_path / "world.json").write_text(text)
        with pytest.raises(InputError, match=rf"world\.json.*{message}"):
            write_world(tmp_path)
    (tmp_path / "world.json").rename(tmp_path / "notes.json")
    with pytest.raises(InputError, match=r"holds notes\.json and no world\.json.*choose another"):
        write_world(tmp_path)


def test_a_changed_file_of_a_world_is_found_when_it_is_read(tmp_path: Path) -> None:
    root = write_world(tmp_path, train=2, val=1, width=64, height=32, workers=1, progress=False)
    label, image = (root / "training" / name for name in ("label_2/000001.txt", "image_2/000000.png"))
    reader = KittiDataset(root, "train", extras=True)
    reader.read(0), reader.read(1)
    whole = label.read_text()
    label.write_text(whole + "Car 0.00 0 0.10 1 1 9 9 1.5 1.6 4.0 0 1.7 20 0.1\n")
    with pytest.raises(InputError, match=r"label_2/000001\.txt: differs from its checksum"):
        reader.read(1)
    image.write_bytes((root / "training/image_2/000001.png").read_bytes())
    with pytest.raises(InputError, match=r"image_2/000000\.png: differs from its checksum"):
        reader.read(0)
    for name in ("ImageSets/train.txt", "world.json"):
        text = (root / name).read_text()
        (root / name).write_text(text.replace("000001", "000009", 1))
        with pytest.raises(InputError, match=f"{name}: differs from its checksum"):
            KittiDataset(root, "train")
        (root / name).write_text(text)
    (root / "checksums.json").unlink()
    with pytest.raises(InputError, match=r"checksums\.json: missing or without world\.json"):
        KittiDataset(root, "train")


def test_an_older_world_is_read_and_written_anew(tmp_path: Path) -> None:
    sizes = {"train": 2, "val": 1, "width": 64, "height": 32, "workers": 1, "progress": False}
    root = write_world(tmp_path, **sizes)  # type: ignore[arg-type]
    index = json.loads((root / "world.json").read_text())
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "checksums.json").unlink()
    (root / "world.json").write_text(json.dumps({**index, "schema": 1}))
    assert len(KittiDataset(root, "train")) == 2
    write_world(tmp_path, **sizes)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == whole


def test_one_process_writes_a_world(tmp_path: Path) -> None:
    with folder_lock(tmp_path, "a road world"), pytest.raises(InputError, match="writes there, expected a road world"):
        write_world(tmp_path, train=1, val=1, width=64, height=32, workers=1, progress=False)

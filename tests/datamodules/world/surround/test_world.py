"""The surround world: a nuScenes folder whose tables, boxes, masks and velocities agree with what was drawn."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import DETECTION_NAMES
from datamodules.nuscenes.quaternions import quaternion_matrix, rigid
from datamodules.world.surround.rig import MOUNTS
from datamodules.world.surround.tables import CATEGORY_OF, visibility_token
from datamodules.world.surround.world import write_surround_world

VERSION = "v1.0-world"
WIDTH, HEIGHT = 160, 90
CHANNELS = [mount.channel for mount in MOUNTS]  # clockwise from the front, so that neighbours overlap

# Seen from an end a handlebar, or a machine's arm, is all that reaches the sides of the box.
SPINDLY = ("vehicle.bicycle", "vehicle.motorcycle", "vehicle.construction", "movable_object.barrier")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of two samples."""
    root = tmp_path_factory.mktemp("surround")
    sizes: dict[str, Any]
    sizes = {"train_scenes": 1, "val_scenes": 1, "samples_per_scene": 2, "width": WIDTH, "height": HEIGHT}
    return write_surround_world(root, seed=0, workers=1, progress=False, **sizes)


@pytest.fixture(scope="module")
def tables(world: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Tables by name, rows by token, in the order of the files."""
    return {
        path.stem: {row["token"]: row for row in json.loads(path.read_text())}
        for path in (world / VERSION).glob("*.json")
        if path.stem != "splits"
    }


@pytest.fixture(scope="module")
def devkit(world: Path) -> Any:
    """The folder as the official reader sees it."""
    return pytest.importorskip("nuscenes.nuscenes").NuScenes(VERSION, str(world), verbose=False)


def records(world: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((world / "frames").glob("*.json"))]


def beside(world: Path, kind: str, data: dict[str, Any]) -> np.ndarray:
    """The mask or depth that belongs to an image."""
    channel, name = data["filename"].split("/")[1:]
    image = cv2.imread(str(world / kind / channel / f"{Path(name).stem}.png"), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == (HEIGHT, WIDTH)
    return image


def images_of(tables: dict[str, Any], sample: str) -> list[dict[str, Any]]:
    return [
        row for row in tables["sample_data"].values() if row["sample_token"] == sample and row["fileformat"] == "jpg"
    ]


def labels_of(tables: dict[str, Any], sample: str) -> list[dict[str, Any]]:
    return [row for row in tables["sample_annotation"].values() if row["sample_token"] == sample]


def test_all_tokens_resolve_and_all_links_are_chains(world: Path, tables: dict[str, Any]) -> None:
    assert len(tables) == 13
    assert len(tables["sample"]) == 4
    assert len(tables["sample_data"]) == 4 * 7
    for name, rows in tables.items():
        for row in rows.values():
            for key, value in row.items():
                target = key.removeprefix("first_").removeprefix("last_").removesuffix("_token").removesuffix("_tokens")
                target = "sample_annotation" if target == "annotation" else target
                if key.endswith(("_token", "_tokens")):
                    for token in value if isinstance(value, list) else [value]:
                        assert token in tables[target], (name, key)
                if key in ("prev", "next") and value:
                    assert rows[value][{"prev": "next", "next": "prev"}[key]] == row["token"]
    for row in tables["sample_data"].values():
        assert (world / row["filename"]).is_file()
        assert row["timestamp"] == tables["ego_pose"][row["ego_pose_token"]]["timestamp"]
        assert abs(row["timestamp"] - tables["sample"][row["sample_token"]]["timestamp"]) < 50_000
    for row in tables["instance"].values():
        track = [a for a in tables["sample_annotation"].values() if a["instance_token"] == row["token"]]
        assert row["nbr_annotations"] == len(track)
        assert track[0]["token"] == row["first_annotation_token"]
        assert track[-1]["token"] == row["last_annotation_token"]
    assert (world / "ImageSets" / "train.txt").read_text() == "world-train-0000\n"
    assert (world / "ImageSets" / "val.txt").read_text() == "world-val-0000\n"


def test_every_class_is_there_and_the_cars_of_the_splits_differ(world: Path, tables: dict[str, Any]) -> None:
    cars: dict[str, set[str]] = {"train": set(), "val": set()}
    for split in cars:
        found = [thing for record in records(world) if record["population"] == split for thing in record["objects"]]
        assert {thing["class"] for thing in found if thing["points"]} == set(DETECTION_NAMES)
        cars[split] = {thing["id"] for thing in found if "-" in thing["id"]}
        assert cars[split]
        assert all(name.startswith(split) for name in cars[split])
    assert not cars["train"] & cars["val"]
    assert {row["name"] for row in tables["category"].values()} == set(CATEGORY_OF.values())


def test_visibility_and_points_follow_the_masks(world: Path, tables: dict[str, Any]) -> None:
    bins = set()
    for sample in tables["sample"]:
        masks = [beside(world, "instances", data) for data in images_of(tables, sample)]
        shown = set(np.unique(masks)) - {0}
        for row, label in enumerate(labels_of(tables, sample), 1):
            bins.add(label["visibility_token"])
            if row in shown:
                assert label["num_lidar_pts"] > 0
            if label["num_lidar_pts"] == 0:
                assert label["visibility_token"] == "1"
    assert bins == {"1", "2", "3", "4"}
    assert [visibility_token(share) for share in (0.0, 0.4, 0.41, 0.6, 0.7, 0.81, 1.0)] == list("1122344")


def test_masks_lie_inside_their_boxes(world: Path, tables: dict[str, Any]) -> None:
    """Depth and mask, taken to the global frame by the tables, fall into the annotated boxes."""
    checked = 0
    for data in (row for row in tables["sample_data"].values() if row["fileformat"] == "jpg"):
        sensor = tables["calibrated_sensor"][data["calibrated_sensor_token"]]
        ego = tables["ego_pose"][data["ego_pose_token"]]
        pose = rigid(ego["rotation"], ego["translation"]) @ rigid(sensor["rotation"], sensor["translation"])
        mask, depth = beside(world, "instances", data), beside(world, "depth", data) / 256.0
        for row, label in enumerate(labels_of(tables, data["sample_token"]), 1):
            v, u = np.nonzero((mask == row) & (depth > 0))
            if len(u) < 30:
                continue
            rays = np.stack([u, v, np.ones(len(u))], -1) @ np.linalg.inv(sensor["camera_intrinsic"]).T
            points = rays * depth[v, u, None] @ pose[:3, :3].T + pose[:3, 3]
            local = (points - label["translation"]) @ quaternion_matrix(label["rotation"])
            width, length, height = label["size"]
            inside = np.abs(local) < np.array([length, width, height]) / 2 + 0.15
            assert inside.all(1).mean() > 0.9, (data["filename"], label)
            checked += 1
    assert checked > 30


def test_the_road_is_flat_ground(world: Path, tables: dict[str, Any]) -> None:
    for data in (row for row in tables["sample_data"].values() if "CAM_FRONT__" in row["filename"]):
        sensor = tables["calibrated_sensor"][data["calibrated_sensor_token"]]
        ego = tables["ego_pose"][data["ego_pose_token"]]
        pose = rigid(ego["rotation"], ego["translation"]) @ rigid(sensor["rotation"], sensor["translation"])
        depth = beside(world, "depth", data) / 256.0
        v, u = np.nonzero((beside(world, "road", data) > 0) & (depth > 3) & (depth < 20))
        assert len(u) > 500
        rays = np.stack([u, v, np.ones(len(u))], -1) @ np.linalg.inv(sensor["camera_intrinsic"]).T
        height = (rays * depth[v, u, None] @ pose[:3, :3].T + pose[:3, 3])[:, 2]
        assert np.median(np.abs(height)) < 0.03


def test_neighbouring_cameras_share_objects(world: Path, tables: dict[str, Any]) -> None:
    shared = 0
    for sample in tables["sample"]:
        where: dict[int, list[int]] = {}
        for data in images_of(tables, sample):
            camera = CHANNELS.index(data["filename"].split("/")[1])
            for row in set(np.unique(beside(world, "instances", data)).tolist()) - {0}:
                where.setdefault(row, []).append(camera)
        for cameras in where.values():
            ring = sorted(cameras)
            gaps = [(b - a) % 6 for a, b in zip(ring, ring[1:] + ring[:1])]
            assert len(ring) == 1 or sorted(gaps)[:-1] == [1] * (len(ring) - 1)  # a run of neighbours
            shared += len(ring) > 1
    assert shared >= 3


def test_devkit_boxes_cover_the_masks(world: Path, tables: dict[str, Any], devkit: Any) -> None:
    geometry = import_module("nuscenes.utils.geometry_utils")
    visible = {(r["timestamp"], t["actor"]): t["visible"] for r in records(world) for t in r["objects"]}
    checked: set[str] = set()
    for data in (row for row in tables["sample_data"].values() if row["fileformat"] == "jpg"):
        mask = beside(world, "instances", data)
        _, boxes, intrinsic = devkit.get_sample_data(data["token"], box_vis_level=geometry.BoxVisibility.ANY)
        sample = devkit.get("sample", data["sample_token"])
        record = next(r for r in records(world) if r["timestamp"] == sample["timestamp"])
        for box in boxes:
            row = sample["anns"].index(box.token)
            if visible[record["timestamp"], record["objects"][row]["actor"]] < 0.97:
                continue
            v, u = np.nonzero(mask == row + 1)
            if len(u) < 40 or u.min() == 0 or v.min() == 0 or u.max() == WIDTH - 1 or v.max() == HEIGHT - 1:
                continue
            corners = geometry.view_points(box.corners(), intrinsic, normalize=True)[:2]
            seen = np.array([u.min() - 0.5, v.min() - 0.5, u.max() + 0.5, v.max() + 0.5])
            rectangle = np.concatenate([corners.min(1), corners.max(1)])
            assert iou(rectangle, seen) > (0.4 if box.name in SPINDLY else 0.6), (data["filename"], box)
            assert (seen[:2] > rectangle[:2] - 1.5).all()
            assert (seen[2:] < rectangle[2:] + 1.5).all()
            checked.add(box.name)
    assert len(checked) >= 5


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inter = np.prod(np.maximum(high - low, 0))
    return float(inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter))


def test_devkit_velocity_is_the_true_one(world: Path, devkit: Any) -> None:
    moving = 0
    for record in records(world):
        sample = next(s for s in devkit.sample if s["timestamp"] == record["timestamp"])
        for token, thing in zip(sample["anns"], record["objects"]):
            if devkit.get("instance", devkit.get("sample_annotation", token)["instance_token"])["nbr_annotations"] < 2:
                continue
            np.testing.assert_allclose(devkit.box_velocity(token)[:2], thing["velocity"], atol=0.05)
            speed = float(np.hypot(*thing["velocity"]))
            assert ("moving" in thing["attribute"] or thing["attribute"] == "cycle.with_rider") == (speed > 0.1)
            moving += speed > 0.1
    assert moving > 20


def test_devkit_finds_the_custom_splits(world: Path, devkit: Any) -> None:
    splits = pytest.importorskip("nuscenes.utils.splits")
    assert splits.get_scenes_of_split("world_val", devkit) == ["world-val-0000"]
    assert not splits.is_predefined_split("world_train")


def test_same_bytes_for_any_number_of_workers_and_after_an_interruption(tmp_path: Path) -> None:
    sizes: dict[str, Any]
    sizes = {"train_scenes": 1, "val_scenes": 1, "samples_per_scene": 2, "width": 64, "height": 36, "progress": False}
    one = write_surround_world(tmp_path / "one", workers=1, **sizes)
    two = write_surround_world(tmp_path / "two", workers=2, **sizes)
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    before = {name: (one / name).read_bytes() for name in files}
    for name in files:
        assert (two / name).read_bytes() == before[name], name
    # What a killed run leaves: no index, some samples complete, others not.
    (one / "world.json").unlink()
    (one / "frames" / "world-train-0000_01.json").unlink()
    (one / "frames" / "world-val-0000_00.json").write_text('{"settings": "of another world", "sensors": []}')
    kept = {p: p.stat().st_mtime_ns for p in (one / "samples").rglob("world-val-0000__CAM*") if p.is_file()}
    write_surround_world(one, workers=1, **sizes)
    assert {name: (one / name).read_bytes() for name in files} == before
    redrawn = {p for p, stamp in kept.items() if p.stat().st_mtime_ns != stamp}
    assert len(redrawn) == 6  # the sample whose record was another world's, not the complete one
    stamp = (one / "world.json").stat().st_mtime_ns
    write_surround_world(one, workers=1, **sizes)
    assert (one / "world.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings"):
        write_surround_world(one, seed=1, workers=1, **sizes)


def test_bad_arguments_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        ({"train_scenes": 0}, "train_scenes=0"),
        ({"samples_per_scene": 41}, "samples_per_scene=41"),
        ({"width": 5}, "width=5"),
        ({"seed": -1}, "seed=-1"),
        ({"version": "a/b"}, "version='a/b'"),
    ):
        with pytest.raises(InputError, match=message):
            write_surround_world(tmp_path / "world", **arguments)
    for text, message in (
        ("{", "no valid JSON"),
        ("", "no valid JSON"),
        ("[1]", "got `array`"),
        ('{"schema": "1"}', r"\$\.schema: .*got `str`"),
    ):
        (tmp_path / "world.json").write_text(text)
        with pytest.raises(InputError, match=rf"world\.json.*{message}"):
            write_surround_world(tmp_path)
    (tmp_path / "world.json").rename(tmp_path / "notes.json")
    with pytest.raises(InputError, match=r"holds notes\.json and no world\.json.*choose another"):
        write_surround_world(tmp_path)

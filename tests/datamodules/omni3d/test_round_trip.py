"""Files of Omni3D written from a KITTI folder, the road world and a nuScenes folder: they say the same as those."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.geometry import CORNER_SIGNS, wrap_angle
from datamodules.kitti.datamodule import KittiDataset
from datamodules.kitti.tree import read_split
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.tables import Tables
from datamodules.omni3d.camera_boxes import boxes_of_corners
from datamodules.omni3d.datamodule import Omni3DDataset
from datamodules.omni3d.rows import CORNERS
from datamodules.scene import Frame
from lit.commands.prepare.command import main
from tests.datamodules.kitti_scenes import random_frame, write_frames

REAL = Path(os.environ.get("LIFTBENCH_SHARED", "/nonexistent")) / "data" / "kitti_frames"


@pytest.fixture(params=["kitti", "world", "real"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, tiny_world: Path) -> tuple[Path, str]:
    """A KITTI folder and a split of it: of random frames with an offset camera, the road world, real frames."""
    if request.param == "world":
        return tiny_world, "val"
    if request.param == "real":
        if not REAL.is_dir():
            pytest.skip("LIFTBENCH_SHARED names no folder of real KITTI frames")
        return REAL, "val"
    write_frames(tmp_path / "kitti", "val", [random_frame(seed) for seed in range(5)])
    return tmp_path / "kitti", "val"


def same_objects(own: Frame, other: Frame, alpha: float | None) -> None:
    """Boxes, names, levels and camera; ``alpha`` bounds how far stated angles are off, None asks not."""
    one, two = own.objects, other.objects
    assert one.names.tolist() == two.names.tolist()
    known = one.boxes.dims[:, 0] > 0
    np.testing.assert_allclose(two.boxes.center, one.boxes.center, atol=1e-9)
    np.testing.assert_allclose(two.boxes.dims, one.boxes.dims, atol=1e-12)
    np.testing.assert_allclose(wrap_angle(two.boxes.yaw - one.boxes.yaw)[known], 0, atol=1e-9)
    np.testing.assert_array_equal(two.boxes.yaw[~known], one.boxes.yaw[~known])
    np.testing.assert_allclose(wrap_angle(two.alpha - one.boxes.alpha)[known], 0, atol=1e-9)
    if alpha is not None:
        np.testing.assert_allclose(wrap_angle(two.alpha - one.alpha)[known], 0, atol=alpha)
    np.testing.assert_array_equal(two.occlusion, one.occlusion)
    np.testing.assert_array_equal(own.image, other.image)
    np.testing.assert_allclose(other.camera.projection, own.camera.projection, rtol=1e-12)


def test_kitti_reads_back_equal(folder: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, split = folder
    before = sorted(path for path in root.rglob("*") if path.suffix in (".png", ".jpg"))
    words = ["omni3d", "--root", str(root), "--splits", split, "--out", str(tmp_path / "files"), "--name", "KITTI"]
    assert main(words) == 0
    file = tmp_path / "files" / f"KITTI_{split}.json"
    assert capsys.readouterr().out.startswith(f"wrote {file}: {len(read_split(root, split))} images")
    assert sorted(path for path in root.rglob("*") if path.suffix in (".png", ".jpg")) == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # pictures are named, not copied
    own, other = KittiDataset(root, split), Omni3DDataset(root, file, rectangles="tight")
    assert list(own.ids) == list(other.ids)
    seen = 0
    for index in range(min(len(own), 40)):
        a, b = own.read(index), other.read(index)
        # The format has no alpha. KITTI's own labels state one that is up to 0.06 off the box's, of near objects.
        same_objects(a, b, alpha=None if root == REAL else 1e-3)
        np.testing.assert_array_equal(b.objects.bbox, a.objects.bbox)
        np.testing.assert_array_equal(b.objects.truncation, a.objects.truncation)
        seen += len(b.objects)
        projects_as_ours(a, other)
    assert seen > 10
    assert any((other.rows(one).category == "dontcare").any() for one in other.ids) or root != tmp_path / "kitti"


def projects_as_ours(frame: Frame, dataset: Omni3DDataset) -> None:
    """Corners through K alone fall where ours fall through the whole projection, and say centre, size and rotation."""
    rows = dataset.rows(frame.sample_id)
    picture = dataset.file.pictures[dataset.place[frame.sample_id]]
    known = rows.valid
    assert known.tolist() == (frame.objects.boxes.dims[:, 0] > 0).tolist()
    same = [int(np.flatnonzero((corner == CORNER_SIGNS).all(1))[0]) for corner in CORNERS]
    pixels, depth = frame.camera.project(frame.objects.boxes[known].corners[:, same])
    projected = rows[known].corners @ picture.intrinsics.T
    front = depth > 0.1
    np.testing.assert_allclose(projected[..., 2], depth, atol=1e-9)
    np.testing.assert_allclose((projected[..., :2] / projected[..., 2:])[front], pixels[front], rtol=1e-9, atol=1e-6)
    center, dims, rotation = boxes_of_corners(rows[known].corners)
    np.testing.assert_allclose(center, rows.center[known], atol=1e-9)
    np.testing.assert_allclose(dims, rows.dims[known, ::-1], atol=1e-9)
    np.testing.assert_allclose(rotation, rows.rotation[known], atol=1e-9)


def test_the_drawing_of_corners() -> None:
    """v0 top left near, v1 top right near, v2 bottom right near, v4 behind v0: as the format draws a box at yaw 0."""
    assert CORNERS[[0, 1, 2, 3, 4]].tolist() == [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1]]
    np.testing.assert_array_equal(CORNERS[4:], CORNERS[:4] * [1, 1, -1])


@pytest.mark.parametrize("level", [False, True], ids=["with p2", "without"])
def test_nuscenes_reads_back_equal(level: bool, tiny_surround: Path, tmp_path: Path) -> None:
    """The camera's tilt is part of p2; without it boxes lean in the picture's frame and are set upright."""
    split = str(tiny_surround / "ImageSets" / "val.txt")
    words = ["omni3d", "--root", str(tiny_surround), "--version", "v1.0-world", "--splits", split]
    assert main([*words, "--cameras", "CAM_FRONT", "CAM_BACK", "--out", str(tmp_path)]) == 0
    file = tmp_path / "val.json"
    if level:
        edited(file, lambda content: [image.pop("p2", None) for image in content["images"]])
    own = NuscenesDataset(read_samples(Tables(tiny_surround / "v1.0-world"), split), tiny_surround)
    other = Omni3DDataset(tiny_surround, file, spelling="nuscenes")
    frames = [own.read(index) for index in range(len(own))]
    wanted = [one for one in frames if one.capture and one.capture.channel in ("CAM_FRONT", "CAM_BACK")]
    assert len(wanted) == len(other) == 4
    counted = 0
    for index, frame in enumerate(wanted):
        found = other.read(index)
        counted += len(found.objects)
        if level:
            assert found.objects.names.tolist() == frame.objects.names.tolist()
            tilt = np.degrees(np.arccos(np.clip(frame.camera.pinhole()[1][1, 1], -1, 1)))
            assert 0 < tilt < 5
            np.testing.assert_allclose(np.sort(found.objects.boxes.dims, 0), np.sort(frame.objects.boxes.dims, 0))
            assert np.abs(wrap_angle(found.objects.boxes.yaw - frame.objects.boxes.yaw)).max(initial=0) < np.deg2rad(5)
        else:
            same_objects(frame, found, alpha=1e-9)
            np.testing.assert_allclose(found.objects.bbox, frame.objects.bbox, atol=1e-9)
    assert counted > 3


def edited(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))

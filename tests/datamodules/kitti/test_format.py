"""KITTI's files: round trips, and one line for each way they can be broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import DatasetNotFound, InputError
from datamodules.images import read_image, write_image
from datamodules.kitti.format import (
    read_calibration,
    read_label,
    read_plane,
    write_calibration,
    write_label,
    write_plane,
)
from datamodules.scene import Objects
from tests.datamodules.kitti_scenes import random_frame, random_objects

ROW = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
DONT_CARE = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"


def equal(a: Objects, b: Objects, atol: float) -> None:
    for one, two in (
        (a.bbox, b.bbox),
        (a.alpha, b.alpha),
        (a.boxes.center, b.boxes.center),
        (a.boxes.dims, b.boxes.dims),
    ):
        np.testing.assert_allclose(one, two, atol=atol)
    np.testing.assert_allclose(a.boxes.yaw, b.boxes.yaw, atol=atol)
    np.testing.assert_allclose(a.truncation, b.truncation, atol=0.005)
    np.testing.assert_array_equal(a.occlusion, b.occlusion)
    assert a.names.tolist() == b.names.tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6))
def test_label_and_result_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int) -> None:
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(seed)
    objects = random_objects(rng, random_frame().camera, count)
    write_label(folder / "a.txt", objects)
    again = read_label(folder / "a.txt")
    equal(again, objects, 5.1e-5)
    assert again.score is None
    write_label(folder / "b.txt", again)
    assert (folder / "a.txt").read_bytes() == (folder / "b.txt").read_bytes()
    scored = replace(
        objects,
        score=rng.random(len(objects)),
    )
    write_label(folder / "results" / "000007.txt", scored)
    result = read_label(folder / "results" / "000007.txt")
    equal(result, scored, 5.1e-5)
    assert result.score is not None
    assert scored.score is not None
    np.testing.assert_allclose(result.score, scored.score, atol=1e-6)


def test_original_rows_survive_two_digits(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(ROW + "\n" + DONT_CARE + "\n")
    objects = read_label(tmp_path / "a.txt")
    assert objects.boxes.dims[0].tolist() == [3.64, 1.65, 1.67]
    assert objects.boxes.center[0].tolist() == [-0.65, 1.71, 46.70]
    assert objects.occlusion.tolist() == [0, -1]
    write_label(tmp_path / "b.txt", objects, digits=2)
    assert (tmp_path / "b.txt").read_text().splitlines()[0] == ROW


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW.rsplit(" ", 1)[0], "14 columns, expected 15 (label) or 16 (result)"),
        (ROW + " 0.5 1", "17 columns"),
        (ROW.replace("46.70", "nan"), "'nan' is not a finite number"),
        (ROW.replace("46.70", "-inf"), "'-inf' is not a finite number"),
        (ROW.replace("46.70", "far"), "'far' is not a finite number"),
        (ROW.replace("46.70", "-46.70"), "Car at z = -46.7 m lies behind the camera"),
    ],
)
def test_broken_rows_name_file_line_and_cure(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "000003.txt"
    path.write_text(f"{ROW}\n\n{row}\n")
    with pytest.raises(InputError) as caught:
        read_label(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: ")
    assert said in message
    assert "repair or delete the row" in message
    assert "\n" not in message


def test_box_reaching_behind_the_camera_is_fine(tmp_path: Path) -> None:
    """KITTI labels vehicles beside the camera whose centre is at negative depth."""
    (tmp_path / "a.txt").write_text(ROW.replace("46.70", "-0.50"))
    assert len(read_label(tmp_path / "a.txt")) == 1
    (tmp_path / "b.txt").write_text(ROW.replace("46.70", "-1000") + " 0.9")
    assert len(read_label(tmp_path / "b.txt")) == 1  # a result of a detector that sees in 2D alone


def test_mixed_missing_and_binary_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{ROW}\n{ROW} 0.5\n")
    with pytest.raises(InputError, match="rows of 15 and of 16"):
        read_label(tmp_path / "a.txt")
    with pytest.raises(DatasetNotFound, match="does not exist"):
        read_label(tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"cannot be read .*; expected a KITTI label file"):
        read_label(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-16; expected a KITTI label file"):
        read_label(tmp_path / "b.txt")
    (tmp_path / "c.txt").write_text("")
    assert len(read_label(tmp_path / "c.txt")) == 0


def test_calibration(tmp_path: Path) -> None:
    projection = np.random.default_rng(0).uniform(1, 700, size=(3, 4))
    projection[2, :3] = 0, 0, 1
    projection[0, 1] = projection[1, 0] = 0
    path = tmp_path / "000000.txt"
    write_calibration(path, projection)
    np.testing.assert_allclose(read_calibration(path), projection, rtol=1e-12)
    keys = [line.split(":")[0] for line in path.read_text().splitlines() if line]
    assert keys == ["P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo"]
    text = path.read_text()
    skewed = projection.copy()
    skewed[1, 0] = 1
    write_calibration(path, skewed)
    with pytest.raises(InputError, match=r"000000.txt:3: P2 is no rectified camera's"):
        read_calibration(path)
    path.write_text(text.replace("P2:", "Q2:"))
    with pytest.raises(InputError, match=r"no row 'P2:'"):
        read_calibration(path)
    path.write_text("P1: 1\nP2: 1 2 3\n")
    with pytest.raises(InputError, match=r"000000.txt:2: P2 is not twelve finite numbers"):
        read_calibration(path)


def test_images(tmp_path: Path) -> None:
    frame = random_frame()
    path = tmp_path / "a.png"
    write_image(path, frame.image)
    image = read_image(path)
    np.testing.assert_array_equal(image, frame.image)
    assert image.transpose(1, 2, 0).flags.c_contiguous
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"a\.png: \d+ bytes .*copy it again"):
            read_image(path)
    path.write_bytes(whole + b"\0" * 16)
    np.testing.assert_array_equal(read_image(path), frame.image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_keep_their_depth(tmp_path: Path, dtype: type) -> None:
    stored: np.ndarray = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30)).astype(dtype)
    write_image(tmp_path / "a.png", stored)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", cv2.IMREAD_UNCHANGED), stored)


def test_plane(tmp_path: Path) -> None:
    plane = np.array([0.02, -0.999, 0.01, 1.65])
    path = tmp_path / "a.txt"
    write_plane(path, -2 * plane)
    again = read_plane(path)
    np.testing.assert_allclose(again, plane / np.linalg.norm(plane[:3]), atol=1e-9)
    for bad in ("# Plane\n", "a\nb\nc\n1 2 3\n", "a\nb\nc\n0 0 0 1\n", "a\nb\nc\n1 2 nan 1\n"):
        path.write_text(bad)
        with pytest.raises(InputError, match=":4: not four finite plane coefficients"):
            read_plane(path)

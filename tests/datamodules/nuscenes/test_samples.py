from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.geometry import Boxes3D, projected_bbox
from datamodules.nuscenes.boxes import DETECTION_NAMES, GlobalBoxes
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.quaternions import matrix_quaternion, quaternion_matrix
from datamodules.nuscenes.samples import (
    CAMERAS,
    level_frame,
    read_samples,
    to_global,
    to_level,
)
from datamodules.nuscenes.tables import Tables

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "nuscenes_real"
has_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real nuScenes frames beside the repository")


def scene_file(folder: Path) -> str:
    (folder / "scenes.txt").write_text("scene-0061\n")
    return str(folder / "scenes.txt")


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_and_matrices_are_inverse(quaternion: list[float]) -> None:
    matrix = quaternion_matrix(quaternion)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(quaternion_matrix(matrix_quaternion(matrix[None])[0]), matrix, atol=1e-9)


@given(st.floats(-np.pi, np.pi - 1e-9), st.floats(-np.pi, np.pi), st.floats(-0.2, 0.2))
def test_level_boxes_and_global_boxes_are_inverse(yaw: float, heading: float, tilt: float) -> None:
    up = np.array([np.sin(tilt), 0, np.cos(tilt)])
    world = level_frame(np.array([3.0, -2, 1.5]), np.array([np.cos(heading), np.sin(heading), 0.3]), up)
    boxes = Boxes3D.single(np.array([4.0, 1.2, 20.0]), np.array([4.2, 1.5, 1.8]), yaw)
    translation, size, rotation = to_global(boxes, world)
    assert size.tolist() == [[1.8, 4.2, 1.5]]
    np.testing.assert_allclose(quaternion_matrix(rotation)[0, :, 2], up, atol=1e-9)
    zero = np.zeros((1, 2))
    none = np.zeros(1, np.int64)
    back = to_level(GlobalBoxes(translation, size, rotation, zero, none, none, np.ones(1), none), world)
    np.testing.assert_allclose(back.center, boxes.center, atol=1e-9)
    np.testing.assert_allclose(back.dims, boxes.dims, atol=1e-12)
    np.testing.assert_allclose(np.exp(1j * back.yaw), np.exp(1j * boxes.yaw), atol=1e-9)


@has_real
def test_projected_boxes_agree_with_the_devkit(tmp_path: Path) -> None:
    nuscenes = pytest.importorskip("nuscenes")
    utils = pytest.importorskip("nuscenes.utils.geometry_utils")
    devkit = nuscenes.NuScenes("v1.0-mini", str(REAL), verbose=False)
    tables = Tables(REAL / "v1.0-mini")
    (sample,) = read_samples(tables, scene_file(tmp_path))
    assert [shot.channel for shot in sample.shots] == list(CAMERAS)
    compared = 0
    for shot in sample.shots:
        token = devkit.get("sample", sample.token)["data"][shot.channel]
        _, boxes, intrinsic = devkit.get_sample_data(token, box_vis_level=utils.BoxVisibility.NONE)
        centres = np.array([box.center for box in boxes])
        own = to_level(sample.truth.boxes, shot.world)
        middle = own.center - np.array([0, 0.5, 0]) * own.dims[:, 1:2]
        pixels, depth = shot.camera.project(middle)
        corners = np.array([shot.camera.project(box)[0] for box in own.corners])
        for pixel, near, outline in zip(pixels, depth, corners):
            if near < 0.5:
                continue
            theirs = centres @ intrinsic.T
            other = np.linalg.norm(theirs[:, :2] / theirs[:, 2:] - pixel, axis=1) + 1e3 * (centres[:, 2] < 0.5)
            box = boxes[int(other.argmin())]
            assert other.min() < 0.01
            points = utils.view_points(box.corners(), intrinsic, normalize=True)[:2].T
            if (box.corners()[2] > 0.5).all():
                gap = np.linalg.norm(points[:, None] - outline[None], axis=-1).min(1)
                assert gap.max() < 0.01
                compared += 1
    assert compared > 50


@has_real
def test_real_frames_are_read(tmp_path: Path) -> None:
    tables = Tables(REAL / "v1.0-mini")
    samples = read_samples(tables, scene_file(tmp_path))
    frames = NuscenesDataset(samples, REAL)
    assert len(frames) == 6
    for index in range(6):
        frame = frames.read(index)
        assert frame.image.shape == (3, 900, 1600)
        assert frame.capture is not None
        assert frame.capture.channel == CAMERAS[index]
        assert set(frame.objects.names) <= set(DETECTION_NAMES)
        np.testing.assert_allclose(projected_bbox(frame.camera, frame.objects.boxes), frame.objects.bbox, atol=1e-6)
        assert (frame.objects.boxes.center[:, 2] > 0).all()
    assert sum(len(frames.read(i).objects) for i in range(6)) > 30

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.geometry import Boxes3D
from datamodules.nuscenes.datamodule import NuscenesDataModule, choose_scenes, global_boxes, merged
from datamodules.nuscenes.samples import level_frame
from datamodules.scene import Objects

WORLD = level_frame(np.array([10.0, 20, 1.5]), np.array([0.6, 0.8, 0.1]), np.array([0.0, 0, 1]))


def found(x: list[float], names: list[str], scores: list[float]) -> Objects:
    n = len(x)
    boxes = Boxes3D(
        np.column_stack([x, np.full(n, 1.5), np.full(n, 15.0)]), np.tile([4.0, 1.5, 1.8], (n, 1)), np.zeros(n)
    )
    zeros = np.zeros(n)
    return Objects(
        boxes, np.array(names), np.zeros((n, 4)), zeros, np.zeros(n, np.int64), zeros, np.array(scores),
        velocity=np.tile([0.0, 3.0], (n, 1)),
    )  # fmt: skip


def test_a_tenth_of_700_scenes_are_70_and_their_choice_is_seeded() -> None:
    names = [f"scene-{i:04d}" for i in range(700)]
    chosen = choose_scenes(names, 0.1, seed=3)
    assert len(chosen) == 70
    assert list(chosen) == sorted(chosen)
    assert chosen == choose_scenes(names, 0.1, seed=3) != choose_scenes(names, 0.1, seed=4)
    assert choose_scenes(names, 1.0, seed=0) == tuple(names)
    assert len(choose_scenes(names[:3], 0.1, seed=0)) == 1
    with pytest.raises(InputError, match="scene_share 0: expected above 0"):
        choose_scenes(names, 0, seed=0)


def test_predictions_go_to_the_global_frame() -> None:
    boxes = global_boxes(found([0.0], ["car"], [0.5]), WORLD)
    np.testing.assert_allclose(boxes.translation[0], [10 + 0.6 * 15, 20 + 0.8 * 15, 1.5 - 0.75], atol=1e-9)
    np.testing.assert_allclose(boxes.size[0], [1.8, 4.0, 1.5])
    np.testing.assert_allclose(boxes.velocity[0], [1.8, 2.4], atol=1e-9)  # away from the camera
    assert boxes.attributes[0] >= 0  # the class's default


def test_an_object_found_by_two_cameras_is_submitted_once() -> None:
    one = global_boxes(found([0.0, 8.0], ["car", "car"], [0.5, 0.4]), WORLD)
    two = global_boxes(found([0.1, 0.2], ["car", "truck"], [0.9, 0.3]), WORLD)
    both = merged([one, two])
    assert both.scores.tolist() == [0.9, 0.4, 0.3]  # the worse copy is gone, another class at its place stays


def test_missing_folders_and_versions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match=r"correct data\.root"):
        NuscenesDataModule(str(tmp_path / "nowhere")).setup("fit")
    (tmp_path / "v1.0-mini").mkdir()
    with pytest.raises(DatasetNotFound, match=r"v1\.0-trainval does not exist; .*found v1\.0-mini"):
        NuscenesDataModule(str(tmp_path)).setup("fit")
    with pytest.raises(DatasetNotFound, match=r"\.json: cannot be read"):
        NuscenesDataModule(str(tmp_path), "v1.0-mini", "mini_train").setup("fit")

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.geometry import Boxes3D
from datamodules.kitti.datamodule import KittiDataset
from datamodules.objects.road_coverage import LEAST_COVERAGE, coverage, covered_vehicles
from tests.datamodules.injection_scenes import CAMERA, box_at, label_of, road_frame


def test_vehicles_on_the_road_are_covered_and_those_beside_it_are_not() -> None:
    real = Boxes3D.concatenate([box_at(0.0, 12.0), box_at(9.0, 20.0)])
    frame = road_frame(real, half_width=5.0)
    assert frame.road is not None
    assert covered_vehicles(frame.road, CAMERA, frame.objects).tolist() == [True, False]
    assert covered_vehicles(np.zeros_like(frame.road), CAMERA, frame.objects).tolist() == [False, False]
    assert covered_vehicles(np.ones_like(frame.road), CAMERA, frame.objects).tolist() == [True, True]


def test_at_the_kerb_a_part_is_enough() -> None:
    frame = road_frame(box_at(4.1, 14.0), half_width=5.0)  # its right side is at 4.9 m
    assert frame.road is not None
    assert covered_vehicles(frame.road, CAMERA, frame.objects).tolist() == [True]


def test_only_vehicles_in_reach_whose_ground_is_seen_are_judged() -> None:
    everywhere = np.ones((CAMERA.height, CAMERA.width), dtype=np.bool_)
    assert len(covered_vehicles(everywhere, CAMERA, label_of(box_at(0, 60)))) == 0
    assert len(covered_vehicles(everywhere, CAMERA, label_of(Boxes3D.empty()))) == 0
    behind = label_of(Boxes3D.concatenate([box_at(0, 8, 0.0), box_at(0, 30)]))
    assert len(covered_vehicles(everywhere, CAMERA, behind)) == 1
    assert coverage([])[1] == 0
    assert np.isnan(coverage([])[0])


def test_the_world_s_own_masks_pass(tiny_world: Path) -> None:
    reader = KittiDataset(tiny_world, "train", extras=True)
    frames = [reader.read(index) for index in range(len(reader))]
    found, count = coverage([(f.road, f.camera, f.objects) for f in frames if f.road is not None])
    assert count > 10
    assert found >= LEAST_COVERAGE
    flipped, _ = coverage([(f.road[::-1], f.camera, f.objects) for f in frames if f.road is not None])
    assert flipped < LEAST_COVERAGE / 2

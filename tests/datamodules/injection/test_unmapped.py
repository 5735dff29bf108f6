"""Placement where no road mask is known: it learns from the training set's labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.assets.contract import FrameLabels
from datamodules.assets.visibility import in_image
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, plane_height, wrap_angle
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.injection.reach import effective_range
from datamodules.injection.site import standing
from datamodules.injection.surround_injection import SurroundInjection
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.tables import Tables
from datamodules.randomness import derive
from datamodules.rotated_iou import rotated_intersection
from datamodules.scene import REAL, Frame
from datamodules.surround import moved
from datamodules.training_reader import TrainingReader
from tests.datamodules.injection_scenes import OneAsset, SolidAsset, box_at, road_frame


class Frames:
    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> Frame:
        return self.frames[index]


def street(number: int, road: bool = False) -> Frame:
    """Parked cars 7 m to the right, oncoming ones 3.5 m to the left."""
    z = 8.0 + number
    real = [box_at(7.0, z), box_at(7.0, z + 7), box_at(-3.5, z + 12, np.pi / 2), box_at(-3.5, z + 20, np.pi / 2)]
    return road_frame(Boxes3D.concatenate(real), road=road)


TRAINING = Frames([street(number) for number in range(10)])


def placed(placement: Placement, frame: Frame, count: int = 30) -> Boxes3D:
    site, rng = placement.survey(frame), derive(4)
    boxes = [placement.place(site, SolidAsset(), standing(frame), rng) for _ in range(count)]
    return Boxes3D.concatenate([box for box in boxes if box is not None])


def bound(**options: Any) -> Placement:
    placement = Placement(**options)
    placement.bind(TRAINING, {"Car": "Car"})
    return placement


def test_open_ground_widens_the_corridor_to_where_vehicles_stand() -> None:
    frame = street(3)
    before = placed(bound(unmapped="corridor", depth=(5, 40)), frame)
    after = placed(bound(depth=(5, 40)), frame)
    assert before.center[:, 0].max() < 2.5
    assert before.center[:, 2].max() < 20.5
    assert after.center[:, 0].max() > 5.0
    assert after.center[:, 2].max() > 24
    assert after.center[:, 0].max() < 10.5
    assert rotated_intersection(after.bev, standing(frame).bev).max() < 1e-9
    site = bound(depth=(5, 40)).survey(frame)
    assert site.holds(after).min() == 1.0  # no corner in the shadow of a labelled car


def test_where_there_is_a_road_mask_nothing_changes() -> None:
    frame = street(3, road=True)
    plain, knowing = Placement(depth=(5, 40)), bound(depth=(5, 40))
    np.testing.assert_array_equal(placed(plain, frame).center, placed(knowing, frame).center)


def test_unbound_or_without_a_labelled_vehicle_it_is_the_corridor() -> None:
    frame = road_frame(road=False)
    empty = Placement(depth=(5, 40))
    empty.bind(Frames([road_frame(road=False)]), {"Car": "Car"})
    for placement in (Placement(depth=(5, 40)), empty):
        boxes = placed(placement, frame)
        assert len(boxes) > 20
        assert boxes.center[:, 2].max() < 20.5


def test_the_ground_goes_through_all_labelled_boxes_or_is_the_frame_s_own() -> None:
    lifted = street(0)
    boxes = Boxes3D(lifted.objects.boxes.center - [0, 0.3, 0], lifted.objects.boxes.dims, lifted.objects.boxes.yaw)
    objects = replace(lifted.objects, boxes=boxes, names=np.full(4, "Pedestrian"))
    people = lifted.with_(objects=objects, plane=None)
    plane = bound().ground_plane(people, unmapped=True)
    assert plane_height(plane, 0.0, 15.0) < 1.5
    assert plane_height(bound().ground_plane(people), 0.0, 15.0) == 1.65  # no vehicle: the prior, as with a mask
    own = np.array([0.0, -1.0, 0.0, 1.2])
    np.testing.assert_array_equal(bound().ground_plane(people.with_(plane=own), unmapped=True), own)


def test_draws_from_labels_stand_as_labelled_cars_do() -> None:
    placement = bound(position="labels", depth=(5, 45), bandwidth=(0.3, 1.0, 0.02))
    for frame in (street(2), road_frame(road=False)):  # with labels, and without any
        boxes = placed(placement, frame, 60)
        right = boxes.center[:, 0] > 2
        assert 0.15 < right.mean() < 0.85
        assert np.abs(boxes.center[right, 0] - 7).max() < 1.6
        assert np.abs(boxes.center[~right, 0] + 3.5).max() < 1.6
        expected = np.where(right, -np.pi / 2, np.pi / 2)
        assert np.abs(wrap_angle(boxes.yaw - expected)).max() < 0.1
        if len(frame.objects):
            assert rotated_intersection(boxes.bev, standing(frame).bev).max() < 1e-9


def test_draws_from_labels_need_labels_of_the_class() -> None:
    with pytest.raises(InputError, match="0 Van labelled in 10 training frames"):
        Injection(OneAsset(SolidAsset(name="Van")), Placement(position="labels")).bind(TRAINING)
    with pytest.raises(InputError, match="expected to be bound to training frames first"):
        placed(Placement(position="labels"), street(0))
    with pytest.raises(InputError, match="bandwidth"):
        Placement(bandwidth=(-1, 1, 1))


def test_the_effective_range_is_one_line() -> None:
    injection = Injection(OneAsset(), Placement(depth=(5, 40)), probability=1.0)
    injection.bind(TRAINING)
    reach = effective_range(injection, TRAINING)
    assert reach is not None
    assert str(reach).startswith("placement: x ")
    assert "10 of them without a road mask" in str(reach)
    assert "\n" not in str(reach)
    assert -7 < reach.x[0] < 0 < 5 < reach.x[1] < 10
    assert 5 <= reach.z[0] < 15 < 20 < reach.z[1] <= 40
    assert effective_range(injection, Frames([])) is None


@pytest.fixture(scope="module")
def maskless(tiny_surround: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingReader:
    tables = Tables(tiny_surround / "v1.0-world")
    samples = read_samples(tables, str(tiny_surround / "ImageSets" / "train.txt"))
    return TrainingReader(NuscenesDataset(samples, tmp_path_factory.mktemp("nothing"), extras=True))


class Avenue:
    """Labels around a car: traffic in two lanes on either side."""

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> Frame:
        raise AssertionError("a picture was decoded for its labels")

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        assert around
        cars = Boxes3D.concatenate([box_at(x, float(z)) for x in (-8, -4, 4, 8) for z in range(-40, 41, 3)])
        yield cars, np.full(len(cars), "car")


@pytest.mark.parametrize("position", ["uniform_bev", "uniform_depth", "labels"])
def test_all_six_cameras_receive_objects_without_masks(maskless: TrainingReader, position: Any) -> None:
    """The tiny world's own traffic leaves 2 m to the right of the car, with road masks as without."""
    injection = SurroundInjection(OneAsset(), Placement(depth=(4, 30), position=position), probability=1.0)
    injection.placement.bind(Avenue(), {"Car": "car"}, around=True)
    seen: dict[str, int] = {}
    for index in range(0, len(maskless), 6):
        frame = maskless.read(index)
        assert frame.surround is not None
        sites, occupied = injection.ground(frame)
        for draw in range(12):
            free = injection.placement.free_boxes(sites, occupied, derive(0, draw, index))
            assert rotated_intersection(free.bev, occupied.bev).max(initial=0) < 1e-9
            for camera in frame.surround.moment.cameras:
                seen[camera.channel] = seen.get(camera.channel, 0) + int(in_image(camera.camera, free).sum())
    assert len(seen) == 6
    assert min(seen.values()) > 0, seen


def test_what_is_planned_without_masks_is_drawn(maskless: TrainingReader) -> None:
    injection = SurroundInjection(OneAsset(), Placement(depth=(4, 40)), probability=1.0, count=(4, 4), min_pixels=4)
    injection.bind(maskless)
    frame = maskless.read(0)
    out = injection(frame, derive(0, 0, injection.key(frame), "injection"))
    assert (out.objects.provenance != REAL).any()


def test_labels_around_the_car_are_those_of_the_moments(maskless: TrainingReader) -> None:
    read = list(maskless.read_labels(around=True))
    assert len(read) == len(maskless) // 6
    surround = maskless.read(0).surround
    assert surround is not None
    np.testing.assert_allclose(read[0][0].center, moved(surround.moment.boxes, np.eye(4)).center)
    assert len(list(maskless.read_labels())) == len(maskless)

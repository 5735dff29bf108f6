from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.contract import FrameLabels
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, wrap_angle
from datamodules.injection.learnt.density import LabelDensity, lines_of, nearest_lines
from datamodules.injection.learnt.labels import TrainingLabels
from datamodules.randomness import derive
from datamodules.scene import Frame
from tests.datamodules.injection_scenes import box_at, road_frame

NONE = (0.0, 0.0, 0.0)


class Labelled:
    """Frames that are asked for their labels alone."""

    def __init__(self, *frames: tuple[Boxes3D, list[str]]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, index: int) -> Frame:
        raise AssertionError("a picture was decoded for its labels")

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        for boxes, names in self.frames:
            yield boxes, np.array(names, dtype=str)


def cars(*rows: tuple[float, float, float]) -> tuple[Boxes3D, list[str]]:
    return Boxes3D.concatenate([box_at(*row) for row in rows]), ["Car"] * len(rows)


def learn(*frames: tuple[Boxes3D, list[str]], bandwidth: tuple[float, float, float] = NONE) -> LabelDensity:
    return LabelDensity.learn(TrainingLabels.read(Labelled(*frames)), "Car", (5.0, 60.0), bandwidth)


def test_labels_are_read_without_pictures_where_the_data_set_can() -> None:
    labels = TrainingLabels.read(Labelled(cars((0, 10, 0)), cars((1, 20, 0), (2, 30, 0))))
    assert labels.frame.tolist() == [0, 1, 1]
    assert labels.names.tolist() == ["Car"] * 3
    assert labels.frames == 2


def test_frames_that_cannot_are_decoded_and_broken_ones_left_out() -> None:
    class Plain:
        def __len__(self) -> int:
            return 2

        def read(self, index: int) -> Frame:
            if index:
                raise InputError("broken")
            return road_frame(box_at(0, 10))

    assert len(TrainingLabels.read(Plain()).boxes) == 1


def test_without_noise_every_draw_is_a_labelled_box_of_the_class_within_the_depths() -> None:
    density = learn((Boxes3D.concatenate([box_at(0, 10), box_at(3, 30, 1.0), box_at(1, 80)]), ["Car", "Van", "Car"]))
    place, yaw = density.draw(derive(0), 20, Boxes3D.empty())
    np.testing.assert_array_equal(place, np.tile([0.0, 10.0], (20, 1)))
    np.testing.assert_allclose(yaw, -np.pi / 2)


def test_side_and_direction_are_drawn_together() -> None:
    lanes = [cars((2.0 + 0.1 * i, 10 + 5 * i, -np.pi / 2), (-2.0, 12 + 5 * i, np.pi / 2)) for i in range(6)]
    place, yaw = learn(*lanes, bandwidth=(0.3, 1.0, 0.05)).draw(derive(1), 400, Boxes3D.empty())
    assert 0.4 < (place[:, 0] > 0).mean() < 0.6
    assert ((yaw < 0) == (place[:, 0] > 0)).mean() > 0.99
    assert place[:, 0][place[:, 0] > 0].std() > 0.25


@settings(max_examples=30, deadline=None)
@given(bend=st.floats(-0.7, 0.7), oncoming=st.sampled_from([0.0, np.pi / 2, np.pi, -np.pi / 2]))
def test_yaw_follows_the_nearest_labelled_vehicle_round_a_bend(bend: float, oncoming: float) -> None:
    density = learn(cars((0, 10, -np.pi / 2), (3, 12, np.pi / 2)))
    there = box_at(1.0, 14.0, float(-np.pi / 2 + bend + oncoming))
    place, yaw = density.draw(derive(2), 30, there)
    expected = np.where(place[:, 0] > 2, np.pi / 2, -np.pi / 2) + bend
    assert np.abs(wrap_angle(yaw - expected)).max() < 1e-9
    far_away = box_at(1.0, 59.0, float(-np.pi / 2 + bend))
    alone = density.draw(derive(2), 30, far_away)[1]
    assert set(np.round(np.abs(alone), 6)) == {round(np.pi / 2, 6)}


@given(st.floats(-10, 10))
def test_lines_are_the_same_in_all_four_directions(yaw: float) -> None:
    lines = lines_of(np.array([yaw, yaw + np.pi / 2, yaw + np.pi, yaw - np.pi / 2]) + 1e-3)
    assert np.abs(lines).max() <= np.pi / 4 + 1e-9
    assert np.abs(lines_of(lines - np.pi / 2 - lines[0])).max() < 1e-6  # equal, but for the turn at the end


def test_no_object_is_its_own_neighbour() -> None:
    two = Boxes3D.concatenate([box_at(0, 10, 0.1), box_at(0, 20, 0.3)])
    found = nearest_lines(two.center[:, [0, 2]], two, np.eye(2, dtype=np.bool_))
    np.testing.assert_allclose(found, [0.3, 0.1])
    assert np.isnan(nearest_lines(np.zeros((1, 2)), Boxes3D.empty())).all()


@settings(max_examples=20, deadline=None)
@given(near=st.floats(5, 9), around=st.booleans())
def test_noise_leaves_no_draw_outside_the_depths(near: float, around: bool) -> None:
    labels = TrainingLabels.read(Labelled(cars((0, 9.5, 0), (-3, 55, 0))))
    density = LabelDensity.learn(labels, "Car", (near, 56.0), (1.0, 3.0, 0.1), around)
    place = density.draw(derive(3), 300, Boxes3D.empty())[0]
    depth = np.linalg.norm(place, axis=1) if around else place[:, 1]
    assert depth.min() >= near - 1e-9
    assert depth.max() <= 56.0 + 1e-9


def test_a_class_that_is_not_labelled_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"0 Truck labelled in 1 training frames, none.*uniform_bev"):
        LabelDensity.learn(TrainingLabels.read(Labelled(cars((0, 10, 0)))), "Truck", (5.0, 60.0), NONE)
    with pytest.raises(InputError, match="1 Car labelled in 1 training frames, none between 5 and 60 m"):
        learn(cars((0, 70, 0)))

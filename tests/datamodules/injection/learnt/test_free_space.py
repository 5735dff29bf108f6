from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.geometry import Boxes3D
from datamodules.injection.learnt.free_space import CELL, EVERYWHERE_OPEN, FreeSpace, shaded
from datamodules.injection.learnt.labels import TrainingLabels
from tests.datamodules.injection.learnt.test_density import Labelled, cars
from tests.datamodules.injection_scenes import DIMS, box_at


def learn(*rows: tuple[float, float, float], around: bool = False) -> FreeSpace:
    found = FreeSpace.learn(TrainingLabels.read(Labelled(cars(*rows))), around)
    assert found is not None
    return found


def test_open_ground_is_where_vehicles_stand() -> None:
    space = learn(*[(x, float(z), -np.pi / 2) for z in range(8, 50, 4) for x in (-3.0, 3.0, 10.0)])
    xz = np.array([[-3, 20], [3.4, 33], [10, 40], [-12, 20], [0, 70], [3, -10], [200, 20], [np.nan, 4]])
    assert space.open(xz).tolist() == [True, True, True, False, False, False, False, False]
    footprint = box_at(3.0, 21.0).corners[:, :4][..., [0, 2]]
    assert space.open(footprint).all()


def test_it_holds_most_of_the_labelled_footprints() -> None:
    rng = np.random.default_rng(0)
    rows = [(float(x), float(z), float(yaw)) for x, z, yaw in rng.normal([0, 25, 0], [6, 9, 2], (300, 3))]
    space = learn(*rows)
    assert space.grid is not None
    inside = space.open(cars(*rows)[0].center[:, [0, 2]]).mean()
    assert 0.85 < inside < 1.0
    assert space.grid.sum() * CELL**2 < 2500  # square metres, of 40,000


def test_the_own_path_is_open_as_well() -> None:
    space = learn((10.0, 30.0, 0.0))
    assert not space.open(np.array([0.0, 10.0]))
    joined = space.joined((-3.5, 2.5), (0.0, 20.0))
    assert joined.open(np.array([[0, 10], [-3.4, 0.1], [2.4, 19.9], [10, 30]])).all()
    assert not joined.open(np.array([[0, 22], [-4.1, 10], [3.1, 10]])).any()
    assert EVERYWHERE_OPEN.joined((0, 1), (0, 1)).open(np.array([[500.0, -3.0]])).all()


def test_no_vehicle_no_knowledge() -> None:
    boxes = Boxes3D.single(np.array([0.0, 1.6, 10.0]), DIMS, 0.0)
    assert FreeSpace.learn(TrainingLabels.read(Labelled((boxes, ["Pedestrian"])))) is None


@settings(max_examples=60, deadline=None)
@given(
    azimuth=st.floats(-np.pi, np.pi), distance=st.floats(6, 40), yaw=st.floats(-np.pi, np.pi), turn=st.floats(-0.6, 0.6)
)
def test_the_shadow_lies_behind_the_box(azimuth: float, distance: float, yaw: float, turn: float) -> None:
    center = np.array([distance * np.sin(azimuth), 1.6, distance * np.cos(azimuth)])
    box = Boxes3D.single(center, DIMS, yaw)
    ray = np.array([np.sin(azimuth + turn), np.cos(azimuth + turn)])
    before, behind = ray * (distance - 3.5), ray * (distance + 4.0)
    assert not shaded(before, box, 1.65)
    corners = box.corners[0, :4][:, [0, 2]]
    side = corners @ np.array([ray[1], -ray[0]])  # of the ray
    crosses = side.min() < -1e-6 and side.max() > 1e-6 and (corners @ ray).min() > 0
    if abs(side).min() > 1e-3:
        assert bool(shaded(behind, box, 1.65)) == crosses
    low = Boxes3D.single(center, np.array([4.0, 0.8, 1.7]), yaw)
    assert not shaded(ray * (distance + 3) * 2.2, low, 1.65)  # the line of sight over it meets the ground before


def test_nothing_shades_without_boxes_or_from_the_own_car() -> None:
    points = np.array([[0.0, 20.0], [5.0, -3.0]])
    assert not shaded(points, Boxes3D.empty(), 1.65).any()
    assert not shaded(points, Boxes3D.single(np.zeros(3), DIMS, 0.3), 1.65).any()

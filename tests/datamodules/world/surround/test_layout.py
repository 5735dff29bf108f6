"""Where actors of a surround scene are, and that all of them keep apart."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.nuscenes.quaternions import angles_quaternion, quaternion_matrix, rigid
from datamodules.rotated_iou import rotated_intersection
from datamodules.world.surround.actors import PERIOD, Course
from datamodules.world.surround.layout import SurroundScene, draw_surround
from datamodules.world.surround.rig import (
    MOUNTS,
    Place,
    intrinsics,
    scene_camera,
)


@pytest.fixture(scope="module")
def scene() -> SurroundScene:
    return draw_surround(3, "world-train-0000", "train", 6)


def test_actors_never_touch(scene: SurroundScene) -> None:
    for sample in range(6):
        boxes = scene.boxes(sample * PERIOD).bev
        assert (np.triu(rotated_intersection(boxes, boxes), 1) == 0).all()


def test_velocity_is_the_derivative_of_the_pose(scene: SurroundScene) -> None:
    for actor in scene.actors:
        before, after = (np.array(scene.course.pose(actor, 1.0 + step)[:2]) for step in (-0.01, 0.01))
        np.testing.assert_allclose((after - before) / 0.02, scene.course.velocity(actor, 1.0), atol=0.02)


def test_moving_actors_look_where_they_go(scene: SurroundScene) -> None:
    moving = [actor for actor in scene.actors if actor.speed or actor.cross]
    assert len(moving) > 8
    for actor in moving:
        yaw = scene.course.pose(actor, 1.0)[2]
        velocity = scene.course.velocity(actor, 1.0)
        heading = np.array([np.cos(yaw), -np.sin(yaw)])
        assert heading @ velocity > 0.98 * np.linalg.norm(velocity)


def test_traffic_keeps_right_and_the_car_drives_its_way(scene: SurroundScene) -> None:
    for actor in scene.actors:
        if actor.attribute == "vehicle.moving":
            assert actor.lateral * actor.speed > 0
    step = scene.ego_pose(2.0)[0] - scene.ego_pose(0.0)[0]
    assert np.linalg.norm(step) == pytest.approx(2.0 * scene.ego.speed, rel=1e-3)
    ahead = quaternion_matrix(scene.ego_pose(1.0)[1])[:, 0]
    assert ahead @ step > 0.999 * np.linalg.norm(step)


def test_lengths_along_a_bend(scene: SurroundScene) -> None:
    course = Course(scene.course.road)
    for lateral in (-4.0, 0.0, 4.0):
        points = np.array([course.along(lateral, -20.0, d)[:2] for d in np.arange(0, 80, 0.5)])
        np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 0.5, rtol=2e-3)


def test_quaternions_and_places() -> None:
    yaw, pitch, roll = 2.0, 0.1, -0.2
    turn = quaternion_matrix(angles_quaternion(yaw, pitch, roll))
    np.testing.assert_allclose(turn[:, 0], [np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    assert turn[2, 1] == pytest.approx(np.cos(pitch) * np.sin(roll))
    place = Place(0.7, 300.0, 400.0)
    assert np.linalg.det(place.matrix[:3, :3]) == pytest.approx(1)
    for angle in (-2.0, 0.0, 1.3):  # a heading in the scene, taken over as a direction and as an angle
        direction = place.matrix[:3, :3] @ [np.cos(angle), 0, -np.sin(angle)]
        np.testing.assert_allclose(direction[:2], [np.cos(place.yaw(angle)), np.sin(place.yaw(angle))], atol=1e-12)


def test_cameras_look_where_their_names_say() -> None:
    wanted = {"CAM_FRONT": 0, "CAM_FRONT_LEFT": 55, "CAM_FRONT_RIGHT": -55, "CAM_BACK": 180}
    wanted |= {"CAM_BACK_LEFT": 110, "CAM_BACK_RIGHT": -110}
    for mount in MOUNTS:
        axis = quaternion_matrix(mount.rotation)[:, 2]  # the optical axis in the car's frame
        difference = np.rad2deg(np.arctan2(axis[1], axis[0])) - wanted[mount.channel]
        assert abs((difference + 180) % 360 - 180) < 4
        assert abs(axis[2]) < 0.05
        assert quaternion_matrix(mount.rotation)[2, 1] < -0.99  # the image's y axis points down
        assert intrinsics(mount, 224, 128)[0, 0] == pytest.approx(mount.focal * 224 / 1600)


def test_a_point_ahead_left_of_the_car_is_left_in_the_front_image() -> None:
    place = Place(-1.1, 50.0, 60.0)
    ego = rigid(angles_quaternion(place.heading), (50.0, 60.0, 0.0))  # at the scene's origin, looking along z
    camera = scene_camera(MOUNTS[0], ego, place, 224, 128)
    (pixel,), (depth,) = camera.project(np.array([[-3.0, 0.0, 20.0]]))
    assert depth == pytest.approx(20 - 1.7, abs=0.1)
    assert pixel[0] < 100
    assert pixel[1] > 64

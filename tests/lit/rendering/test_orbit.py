from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.objects.labelled.cameras import check_cameras
from lit.rendering.camera_march import camera_rays
from lit.rendering.orbit import ORBITS, Orbit
from tests.lit.networks.pix2pix3d.small import ring


@settings(max_examples=60, deadline=None)
@given(st.floats(-7, 7), st.floats(-3, 3), st.sampled_from(sorted(ORBITS)))
def test_cameras_are_rigid_upright_and_look_at_the_pivot(yaw: float, pitch: float, kind: str) -> None:
    orbit = ORBITS[kind]
    camera = orbit.camera(yaw, pitch)
    check_cameras([camera.tolist()], ["view"], "here")
    pose = camera[:16].view(4, 4)
    to_pivot = torch.tensor(orbit.pivot) - pose[:3, 3]
    torch.testing.assert_close(to_pivot, orbit.radius * pose[:3, 2], atol=1e-5, rtol=0)
    assert pose[1, 0].abs() < 1e-6  # the horizon is level
    assert pose[1, 1] < 0  # image down is world down
    _, directions = camera_rays(camera[None], 3)
    torch.testing.assert_close(directions[0, 4], pose[:3, 2], atol=1e-5, rtol=0)


def test_it_is_the_ring_at_elevation_zero() -> None:
    angles = torch.tensor([0.0, 0.7, 3.0])
    found = torch.stack([Orbit(1.7, 1.7).camera(float(angle), 0.0) for angle in angles])
    torch.testing.assert_close(found, ring(angles), atol=1e-6, rtol=0)


def test_films_go_around_or_swing_and_end_where_they_begin() -> None:
    car = ORBITS["car"]
    turn = car.cameras(4)
    torch.testing.assert_close(turn[1], car.camera(math.pi / 2, car.level))
    face = ORBITS["face"]
    height = face.cameras(120, "swing")[:, 7]
    assert height.argmax() == 60
    assert height.max() == pytest.approx(2.7 * math.sin(0.3), abs=1e-4)
    with pytest.raises(InputError, match="at least 1"):
        car.cameras(0)

"""Directions an object is seen from: arcs on the circle, patches around views, what cameras see."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.assets.visibility import EVERYWHERE, Visibility, in_image, observation_angles
from datamodules.geometry import Boxes3D, Camera, canonical_projection, wrap_angle
from datamodules.objects.studio import view_projection
from tests.datamodules.injection_scenes import CAMERA, DIMS, box_at

angle = st.floats(-3 * np.pi, 3 * np.pi)
LEVEL = np.zeros(1)


def seen(limits: Visibility, alpha: float, elevation: float = 0.0) -> bool:
    return bool(limits.within(np.array([alpha]), np.array([elevation])).any())


@given(first=angle, length=st.floats(0.01, 6.2), share=st.floats(0.001, 0.999), turns=st.integers(-3, 3))
def test_an_arc_holds_what_lies_between_its_ends_whatever_the_turn(
    first: float, length: float, share: float, turns: int
) -> None:
    last = float(wrap_angle(np.array(first + length)))  # the end may be named on another turn than the beginning
    arc = Visibility.arc(first, last)
    assert seen(arc, first + share * length + 2 * np.pi * turns)
    rest = 2 * np.pi - length
    assert not seen(arc, first + length + share * rest + 2 * np.pi * turns) or min(share, 1 - share) * rest < 1e-6


@given(middle=angle, off=st.floats(0, np.pi), angle=st.floats(0.01, 3.1))
def test_a_patch_reaches_equally_far_on_both_sides(middle: float, off: float, angle: float) -> None:
    patch = Visibility.around(np.array([middle]), LEVEL, angle)
    if abs(off - angle) > 1e-9:
        assert seen(patch, middle + off) == seen(patch, middle - off) == (off < angle)


@given(alpha=angle, elevation=st.floats(-np.pi / 2, np.pi / 2))
def test_everywhere_is_everywhere(alpha: float, elevation: float) -> None:
    assert seen(EVERYWHERE, alpha, elevation)
    assert seen(Visibility.arc(0.0, 2 * np.pi), alpha, elevation)
    assert pickle.loads(pickle.dumps(EVERYWHERE)).everywhere
    assert not Visibility.arc(0.0, 6.0).everywhere
    assert Visibility.arc(0.0, 1.0) != EVERYWHERE


def test_across_pi_and_across_zero() -> None:
    assert seen(Visibility.arc(3.0, -3.0), np.pi)
    assert not seen(Visibility.arc(3.0, -3.0), 0.0)
    assert seen(Visibility.arc(-3.0, 3.0), 0.0)
    assert not seen(Visibility.arc(-3.0, 3.0), np.pi)
    assert not seen(Visibility.arc(-1.0, 1.0, (0.0, 0.2)), 0.0, 0.3)


@given(x=st.floats(-8, 8), z=st.floats(6, 60), yaw=st.floats(-3.1, 3.1))
def test_observation_angle_of_a_box_is_its_alpha(x: float, z: float, yaw: float) -> None:
    camera = Camera(CAMERA.projection * [1, 1, 1, 0], CAMERA.width, CAMERA.height)
    box = box_at(x, z, yaw)
    alpha, elevation = observation_angles(canonical_projection(camera, box), box.dims)
    np.testing.assert_allclose(wrap_angle(alpha - box.alpha), 0, atol=1e-9)
    np.testing.assert_allclose(elevation, np.arctan2(1.65 - DIMS[1] / 2, np.hypot(x, z)), atol=1e-9)


@pytest.mark.parametrize(("azimuth", "alpha"), [(0, np.pi / 2), (180, -np.pi / 2), (90, np.pi)])
def test_observation_angle_of_a_view(azimuth: float, alpha: float) -> None:
    """At azimuth 0 the view shows the front, as an oncoming car's does; at 90 its left side."""
    found, elevation = observation_angles(view_projection(DIMS, azimuth, 10.0, 32)[None], DIMS)
    np.testing.assert_allclose(wrap_angle(found - alpha), 0, atol=1e-9)
    np.testing.assert_allclose(elevation, np.radians(10.0))


def test_only_cameras_that_have_the_box_in_their_image_count() -> None:
    boxes = Boxes3D.concatenate([box_at(0, 20, 0.0), box_at(0, 20, 1.5), box_at(60, 20, 1.5), box_at(0, -20, 1.5)])
    assert in_image(CAMERA, boxes).tolist() == [True, True, False, False]
    side = Visibility.arc(-0.3, 0.3)
    assert side.allows([CAMERA], boxes).tolist() == [True, False, True, True]
    assert side.allows([], boxes).all()
    behind = Camera(CAMERA.projection @ np.diag([-1.0, 1, -1, 1]), CAMERA.width, CAMERA.height)
    assert side.allows([CAMERA, behind], boxes).tolist() == [True, False, True, False]

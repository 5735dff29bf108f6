"""Viewpoint modes: ranges, shapes, conventions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.assets.visibility import observation_angles
from datamodules.errors import InputError
from datamodules.geometry import wrap_angle
from datamodules.objects.studio import view_projection
from datamodules.randomness import derive
from datamodules.renders.annotation import focal_length
from datamodules.renders.viewpoints import RENDER_FIELD_OF_VIEW, draw_viewpoints, truncated_normal


def test_the_camera_is_the_papers() -> None:
    assert focal_length(512) == pytest.approx(560)
    assert np.rad2deg(RENDER_FIELD_OF_VIEW) == pytest.approx(2 * np.rad2deg(np.arctan(256 / 560)))


@pytest.mark.parametrize("mode", [1, 2, 3, 4, 5])
def test_modes_have_their_ranges_and_shapes(mode: int) -> None:
    found = draw_viewpoints(mode, 4000, 2.0, derive(0, mode))
    azimuth = np.array([view.azimuth for view in found])
    polar = np.array([view.phi for view in found])
    turned = np.abs((azimuth + 180) % 360 - 180)
    assert turned.max() <= (105 if mode in (2, 4) else 180)  # the front half and 15 degrees more on either side
    assert turned.mean() == pytest.approx(52.5 if mode in (2, 4) else 90, abs=3)
    assert polar.mean() == pytest.approx(60 if mode in (3, 4) else 90, abs=3)
    assert polar.std() == pytest.approx({1: 30, 2: 30, 3: 20, 4: 20, 5: 52}[mode], abs=1.5)
    assert np.allclose([view.elevation for view in found], np.clip(90 - polar, -89.5, 89.5))


@given(
    mean=st.floats(-5, 5),
    spread=st.floats(0.05, 3),
    low=st.floats(-4, 0),
    width=st.floats(0.5, 4),
    seed=st.integers(0, 9),
)
def test_truncated_normals_stay_inside(mean: float, spread: float, low: float, width: float, seed: int) -> None:
    drawn = truncated_normal(derive(seed), mean, spread, low, low + width, 50)
    assert ((drawn >= low) & (drawn <= low + width)).all()


@given(seed=st.integers(0, 1000), offset=st.floats(-20, 20))
def test_yaw_is_what_the_suite_calls_the_observation_angle(seed: int, offset: float) -> None:
    (view,) = draw_viewpoints(1, 1, 2.0, derive(seed), max_polar=95, elevation_offset=offset)
    dims = np.array([4.0, 1.5, 2.0])
    projection = view_projection(dims, view.azimuth, view.elevation, 64, view.distance * 4, RENDER_FIELD_OF_VIEW)
    alpha, elevation = observation_angles(projection, dims)
    assert wrap_angle(alpha - view.yaw) == pytest.approx(0, abs=1e-9)
    assert np.rad2deg(elevation) == pytest.approx(view.elevation, abs=1e-6)
    assert view.elevation == pytest.approx(np.clip(90 - view.phi + offset, -89.5, 89.5))


def test_distances_and_polar_angles_are_cut() -> None:
    found = draw_viewpoints(1, 500, 2.0, derive(1), vary_distance=True, max_polar=95.0)
    distance = np.array([view.distance for view in found])
    assert 1.5 <= distance.min() < 1.6
    assert 3.0 < distance.max() <= 3.5
    assert max(view.phi for view in found) <= 95


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": 6}, "viewpoint mode 6: expected 1 to 5"),
        ({"distance": 0.5}, "the camera must stay outside"),
        ({"distance": 1.2, "vary_distance": True}, "1.4 where it varies"),
        ({"max_polar": 0.0}, "max_polar 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, float], said: str) -> None:
    words: dict[str, float] = {"mode": 1, "distance": 2.0} | options
    with pytest.raises(InputError, match=said):
        draw_viewpoints(count=1, rng=derive(0), **words)  # type: ignore[arg-type]

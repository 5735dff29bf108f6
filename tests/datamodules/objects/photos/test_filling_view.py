from __future__ import annotations

import numpy as np
import pytest

from datamodules.objects.photos.filling_view import FILL, filling_frame, filling_projection, half_edge
from datamodules.objects.photos.photo import FRONTAL, cube_projection

DIMS = np.array([4.0, 1.5, 1.8])


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (35.0, 10.0), (200.0, 20.0)])
def test_the_box_lies_in_the_cube_where_the_view_shows_it(azimuth: float, elevation: float) -> None:
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    points = np.column_stack([corners, np.ones(8)])
    direct = points @ filling_projection(DIMS, azimuth, elevation, 64).T
    through = points @ filling_frame(DIMS, azimuth, elevation).T @ cube_projection(64).T
    np.testing.assert_allclose(through[:, :2] / through[:, 2:], direct[:, :2] / direct[:, 2:], atol=1e-9)
    np.testing.assert_allclose(through[:, 2] * half_edge(DIMS), direct[:, 2], atol=1e-9)
    pixels = direct[:, :2] / direct[:, 2:]
    assert pixels.min() > -0.5
    assert pixels.max() < 63.5


def test_azimuth_zero_is_the_frontal_frame() -> None:
    frame = filling_frame(np.full(3, 2.0), 0.0, 0.0)
    scale = frame[1, 1]
    np.testing.assert_allclose(frame[:3, :3] / scale, FRONTAL[:3, :3], atol=1e-12)
    assert scale * np.sqrt(3) == pytest.approx(FILL * 5 * np.sin(np.deg2rad(9)))

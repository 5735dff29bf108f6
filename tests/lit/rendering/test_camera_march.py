from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.fields.field_values import FieldValues
from lit.rendering.camera_march import CameraMarch, camera_rays
from tests.lit.networks.pix2pix3d.small import around, ring


@settings(max_examples=25, deadline=None)
@given(st.floats(-math.pi, math.pi), st.floats(0.8, 4.0), st.floats(-0.3, 0.3))
def test_points_project_to_the_pixel_whose_ray_meets_them(angle: float, focal: float, skew: float) -> None:
    camera = ring(torch.tensor([angle]), 1.7, focal)
    camera[0, 16 + 1], camera[0, 16 + 2] = skew, 0.4  # skew and an off-centre principal point
    origins, directions = camera_rays(camera, 4)
    points = (origins + 2.5 * directions)[0].double()
    world = torch.linalg.inv(camera[0, :16].view(4, 4).double())
    seen = (points @ world[:3, :3].T + world[:3, 3]) @ camera[0, 16:].view(3, 3).double().T
    assert (seen[:, 2] > 0).all()
    place = (seen[:, :2] / seen[:, 2:] * 4 - 0.5).round(decimals=3)
    wanted = torch.tensor([[u, v] for v in range(4) for u in range(4)], dtype=torch.float64)
    assert torch.allclose(place, wanted, atol=2e-3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(()), atol=1e-6)


def ball(points: Tensor) -> FieldValues:
    """A dense ball of half a unit about (0, 0.2, 0), red above its middle and green below."""
    up = points[..., 1] - 0.2
    inside = (points - torch.tensor([0.0, 0.2, 0.0])).norm(dim=-1) < 0.5
    colour = torch.stack([(up > 0).float(), (up <= 0).float(), torch.zeros_like(up)], 1)
    return FieldValues(colour, torch.where(inside, 60.0, -60.0), colour[:, :2], colour)


def test_a_ball_is_seen_upright_and_at_its_distance_from_all_sides() -> None:
    march = CameraMarch(0.7, 2.7, 48, 48)
    drawn = march(ball, around(4), 33)
    red, green = (drawn.rgb[:, channel] > 0.5 for channel in (0, 1))
    rows = torch.arange(33.0)[None, :, None].expand(4, -1, 33)
    assert rows[red].mean() < rows[green].mean() < 16.5  # y is up in the world, rows go down; the ball is raised
    middle = drawn.depth[:, 0, 16 - 4, 16]
    assert torch.allclose(middle, torch.full((4,), 1.24), atol=0.06)  # 1.7 less half a unit, a little aslant
    assert torch.allclose(drawn.opacity[:, 0, 0, 0], torch.zeros(4), atol=1e-6)
    white = CameraMarch(0.7, 2.7, 48, 48, white=True)(ball, around(4), 33)
    assert torch.allclose(white.features, drawn.features + 1 - drawn.opacity, atol=1e-6)


def test_wrong_ranges_are_refused() -> None:
    for wrong in ((2.0, 1.0), (-1.0, 1.0), (1.0, 2.0, 3)):
        with pytest.raises(InputError, match="expected 0 <= near < far"):
            CameraMarch(*wrong)

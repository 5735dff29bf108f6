from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.rendering.rays import clip_to_cube, projection_rays
from tests.lit.rendering.box_projection import box_projection


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(6, 40), st.floats(0, 63), st.floats(0, 31), st.floats(1, 50))
def test_points_of_a_ray_project_to_its_pixel_at_their_depth(
    yaw: float, depth: float, u: float, v: float, t: float
) -> None:
    projection = box_projection(yaw, depth)
    origin, direction = projection_rays(projection, torch.tensor([[u, v]], dtype=torch.float32))
    point = (origin + t * direction)[0].double()
    x, y, z = projection[:, :3] @ point + projection[:, 3]
    assert abs(float(z) - t) < 1e-3 * t
    assert abs(float(x / z) - u) < 1e-2
    assert abs(float(y / z) - v) < 1e-2


def test_cube_clip_of_known_rays() -> None:
    origins = torch.tensor([[-3.0, 0, 0], [-3, 0, 0], [-3, 5, 0]])
    directions = torch.tensor([[1.0, 0, 0], [2, 0, 0], [1, 0, 0]])
    near, far = clip_to_cube(origins, directions)
    assert torch.allclose(near[:2], torch.tensor([2.0, 1.0]))
    assert torch.allclose(far[:2], torch.tensor([4.0, 2.0]))
    assert far[2] <= near[2]


def test_a_box_of_another_size_is_clipped_along_each_axis() -> None:
    near, far = clip_to_cube(torch.tensor([-3.0, 0, 0]), torch.tensor([1.0, 0, 0]), torch.tensor([0.5, 1, 1]))
    assert (float(near), float(far)) == (2.5, 3.5)
    assert clip_to_cube(torch.tensor([-3.0, 0.9, 0]), torch.tensor([1.0, 0, 0]), 0.8)[1] < 2.2

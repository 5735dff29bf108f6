from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.geometry import Boxes3D, Camera, canonical_projection
from lit.networks.fields.siren import FieldValues
from lit.rendering.rendering import (
    clip_to_cube,
    image_pixels,
    integration_weights,
    lookup,
    projection_rays,
    render_image,
    render_rays,
    stratified,
)

INTRINSICS = np.array([[80.0, 0, 31.5, 4.5], [0, 80.0, 15.5, 0.2], [0, 0, 1, 0.003]])


def a_projection(yaw: float = 0.4, depth: float = 10.0) -> torch.Tensor:
    box = Boxes3D.single(np.array([0.5, 1.6, depth]), np.array([4.0, 1.5, 1.7]), yaw)
    return torch.from_numpy(canonical_projection(Camera(INTRINSICS, 64, 32), box)[0])


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(6, 40), st.floats(0, 63), st.floats(0, 31), st.floats(1, 50))
def test_points_of_a_ray_project_to_its_pixel_at_their_depth(yaw, depth, u, v, t):
    projection = a_projection(yaw, depth)
    origin, direction = projection_rays(projection, torch.tensor([[u, v]], dtype=torch.float32))
    point = (origin + t * direction)[0].double()
    x, y, z = projection[:, :3] @ point + projection[:, 3]
    assert abs(float(z) - t) < 1e-3 * t
    assert abs(float(x / z) - u) < 1e-2
    assert abs(float(y / z) - v) < 1e-2


def test_cube_clip_of_known_rays():
    origins = torch.tensor([[-3.0, 0, 0], [-3, 0, 0], [-3, 5, 0]])
    directions = torch.tensor([[1.0, 0, 0], [2, 0, 0], [1, 0, 0]])
    near, far = clip_to_cube(origins, directions)
    assert torch.allclose(near[:2], torch.tensor([2.0, 1.0]))
    assert torch.allclose(far[:2], torch.tensor([4.0, 2.0]))
    assert far[2] <= near[2]


def test_samples_lie_in_their_bins():
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    for jitter in (None, torch.rand(2, 8), torch.rand(8)):
        depths, width = stratified(near, far, 8, jitter)
        low = near[:, None] + width[:, None] * torch.arange(8)
        assert torch.allclose(width, torch.tensor([0.25, 0.0]))
        assert (depths >= low - 1e-6).all()
        assert (depths <= low + width[:, None] + 1e-6).all()


def test_weights_equal_the_printed_product():
    density, step = torch.rand(3, 6) * 5, torch.rand(3) * 0.5
    alpha = 1 - torch.exp(-density * step[:, None])
    transmittance = torch.cumprod(torch.cat([torch.ones(3, 1), 1 - alpha[:, :-1]], 1), 1)
    assert torch.allclose(integration_weights(density, step), alpha * transmittance, atol=1e-6)


def slab(points: torch.Tensor) -> FieldValues:
    """Density 3 for |x| < 0.5; colour falls along x."""
    density = torch.where(points[..., 0].abs() < 0.5, 3.0, 0.0)
    colour = ((points[..., 0] + 1) / 2).unsqueeze(1).expand(-1, 3, -1)
    return FieldValues(colour, density, None)


def test_integration_of_a_slab_is_analytic():
    origins = torch.tensor([[[-3.0, 0.1, 0.2]]])
    directions = torch.tensor([[[0.5, 0.0, 0.0]]])  # two metres a canonical unit: opacity must not change with it
    out = render_rays(slab, origins, directions, samples=400)
    opacity = 1 - np.exp(-3.0)
    assert abs(float(out.opacity) - opacity) < 2e-3
    s = np.linspace(0, 1, 20001)
    weight = 3 * np.exp(-3 * s)
    mean = np.trapezoid(weight * (0.25 + s / 2), s)
    assert abs(float(out.rgb[0, 0, 0]) - mean) < 2e-3
    depth = np.trapezoid(weight * (5 + 2 * s), s) / opacity
    assert abs(float(out.depth) - depth) < 5e-3


def test_rays_beside_the_cube_are_empty():
    out = render_rays(slab, torch.tensor([[[-3.0, 4, 0]]]), torch.tensor([[[1.0, 0, 0]]]), 16)
    assert float(out.opacity) == 0
    assert float(out.depth) == 0


def test_lookup_takes_each_plane_along_its_axes():
    size = 16
    ramp = (2 * torch.arange(size) + 1) / size - 1
    planes = torch.zeros(1, 3, 2, size, size)
    planes[:, :, 0] = ramp[None, :]  # columns: first axis of the plane
    planes[:, :, 1] = ramp[:, None]  # rows: second
    point = torch.tensor([[[0.5, -0.25, 0.125]]])
    features = lookup(planes, point, "sum")[0, :, 0]
    assert torch.allclose(features, torch.tensor([0.5 + 0.5 - 0.25, -0.25 + 0.125 + 0.125]), atol=1e-5)
    assert torch.allclose(lookup(planes, point)[0, :, 0], features / 3)


def test_image_equals_its_rays():
    projection = a_projection()
    rgba, depth = render_image(slab, projection, 32, 64, samples=32, chunk=1000)
    origins, directions = projection_rays(projection, image_pixels(32, 64))
    out = render_rays(slab, origins[None], directions[None], 32)
    assert torch.allclose(rgba.view(-1, 4)[:, 3], out.opacity[0], atol=1e-5)
    assert torch.allclose(depth.view(-1), out.depth[0], atol=1e-4)
    assert 8 < float(depth.max()) < 12.5

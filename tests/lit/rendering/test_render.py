from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lit.networks.fields.field_values import FieldValues
from lit.rendering.rays import image_pixels, projection_rays
from lit.rendering.render import render_image, render_rays
from lit.rendering.samplers import around, between, importance, in_cube
from tests.lit.rendering.box_projection import box_projection

AXIS = torch.tensor([[[-3.0, 0.1, 0.2]]]), torch.tensor([[[1.0, 0.0, 0.0]]])


def slab(points: torch.Tensor) -> FieldValues:
    """Density 3 for |x| < 0.5; colour falls along x."""
    density = torch.where(points[..., 0].abs() < 0.5, 3.0, 0.0)
    colour = ((points[..., 0] + 1) / 2).unsqueeze(1).expand(-1, 3, -1)
    return FieldValues(colour, density)


def test_integration_of_a_slab_is_analytic() -> None:
    origins = torch.tensor([[[-3.0, 0.1, 0.2]]])
    directions = torch.tensor([[[0.5, 0.0, 0.0]]])  # two metres a canonical unit: opacity must not change with it
    out = render_rays(slab, origins, directions, in_cube(400))
    opacity = 1 - np.exp(-3.0)
    assert abs(float(out.opacity) - opacity) < 2e-3
    s = np.linspace(0, 1, 20001)
    weight = 3 * np.exp(-3 * s)
    mean = np.trapezoid(weight * (0.25 + s / 2), s)
    assert abs(float(out.rgb[0, 0, 0]) - float(mean)) < 2e-3
    depth = np.trapezoid(weight * (5 + 2 * s), s) / opacity
    assert abs(float(out.depth) - float(depth)) < 5e-3


def test_rays_beside_the_cube_are_empty() -> None:
    out = render_rays(slab, torch.tensor([[[-3.0, 4, 0]]]), torch.tensor([[[1.0, 0, 0]]]), in_cube(16))
    assert float(out.opacity) == 0
    assert float(out.depth) == 0


def test_image_equals_its_rays() -> None:
    projection = box_projection()
    image = render_image(slab, projection, 32, 64, samples=32, chunk=1000)
    origins, directions = projection_rays(projection, image_pixels(32, 64))
    out = render_rays(slab, origins[None], directions[None], in_cube(32))
    assert torch.allclose(image.rgba.view(-1, 4)[:, 3], out.opacity[0], atol=1e-5)
    assert torch.allclose(image.depth.view(-1), out.depth[0], atol=1e-4)
    assert 8 < float(image.depth.max()) < 12.5


def test_every_channel_is_integrated_with_the_same_weights() -> None:
    def field(points: Tensor) -> FieldValues:
        values = slab(points)
        return values._replace(parts=values.rgb[:, :2] * 5 - 1, features=values.rgb.repeat(1, 4, 1) ** 2)

    out = render_rays(field, *AXIS, in_cube(64))
    assert out.parts is not None
    assert out.features is not None
    assert torch.allclose(out.parts, 5 * out.rgb[..., :2] - out.opacity[..., None], atol=1e-5)
    assert out.features.shape == (1, 1, 12)
    image = render_image(field, box_projection(), 8, 16, 8)
    assert image.parts is not None
    assert image.parts.shape == (8, 16, 2)


def test_all_samplers_and_rules_see_the_same_slab() -> None:
    """Depths between which all density lies, one sample a piece or EG3D's rule, with and without a second pass."""

    def raw(points: Tensor) -> FieldValues:
        values = slab(points)
        return values._replace(density=torch.where(values.density > 0, 3.0, -9.0))

    wanted = render_rays(slab, *AXIS, in_cube(800))
    place, second = torch.linspace(0, 0.999, 200), torch.tensor([[3.0]])
    ways = [
        render_rays(slab, *AXIS, between(0.5, 5.5, 800)),
        render_rays(slab, *AXIS, around(second, 0.6, 400)),
        render_rays(slab, *AXIS, between(0.5, 5.5, 100), importance(place)),
        render_rays(raw, *AXIS, between(0.5, 5.5, 800), activation=torch.relu),
        render_rays(raw, *AXIS, between(0.5, 5.5, 100), importance(place), torch.relu),
        render_rays(slab, *AXIS, in_cube(100), lambda edges, weights: around(second, 0.6, 300)(*AXIS)[0]),
    ]
    for out in ways:
        assert abs(float(out.opacity - wanted.opacity)) < 5e-3
        assert torch.allclose(out.rgb, wanted.rgb, atol=5e-3)
        assert abs(float(out.depth - wanted.depth)) < 1e-2


def test_a_second_pass_sees_what_the_first_one_misses() -> None:
    def sheet(points: Tensor) -> FieldValues:
        near = torch.exp(-(((points[..., 0] - 0.013) / 0.01) ** 2))
        return FieldValues(torch.ones_like(points).transpose(1, 2), 200.0 * near)

    wanted = float(render_rays(sheet, *AXIS, in_cube(4000)).opacity)
    coarse = abs(float(render_rays(sheet, *AXIS, in_cube(32)).opacity) - wanted)
    fine = render_rays(sheet, *AXIS, in_cube(32), importance(torch.linspace(0, 0.999, 32)))
    assert abs(float(fine.opacity) - wanted) < min(coarse / 4, 0.02)


def test_the_hook_comes_between_field_and_quadrature() -> None:
    def halved(values: FieldValues, depths: Tensor) -> FieldValues:
        assert depths.shape == values.density.shape == (1, 1, 64)
        return values._replace(density=values.density / 2, rgb=values.rgb * (depths > 3)[:, None])

    out = render_rays(slab, *AXIS, in_cube(64), hook=halved)
    assert abs(float(out.opacity) - (1 - np.exp(-1.5))) < 2e-2
    assert float(out.rgb.sum()) < float(render_rays(slab, *AXIS, in_cube(64)).rgb.sum())


def test_images_take_any_way_of_sampling() -> None:
    def field(points: Tensor) -> FieldValues:
        values = slab(points)
        return values._replace(density=values.density * (points.abs() <= 1).all(-1))

    projection, place = box_projection(), torch.linspace(0, 0.999, 64)
    plain = render_image(field, projection, 32, 64, 256)
    two_pass = render_image(field, projection, 32, 64, 64, sampler=between(7.0, 13.0, 64), refine=importance(place))
    assert float((two_pass.rgba - plain.rgba).abs().mean()) < 0.01

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.discriminators.conv_discriminator import ConvDiscriminator
from lit.networks.fields.feature_fields import FeatureField, compose, positional_encoding
from lit.networks.fields.feature_image import Codes, FeatureImage
from lit.networks.fields.object_scene import Scene, SceneRanges, to_box
from lit.networks.fields.quadrature import INFINITE, ray_weights, spans
from lit.networks.giraffe import GiraffeGenerator

NEAR = SceneRanges(boxes=2, radius=5.0, field_of_view=20.0, depth=(2.0, 8.0), elevation=(0.0, 0.0))


class Fog(nn.Module):
    """A field whose density is the shape code's first number and whose features are the appearance code."""

    def density(self, points: Tensor, rows: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        return shape[rows, 0], points

    def forward(
        self, points: Tensor, directions: Tensor, rows: Tensor, shape: Tensor, look: Tensor
    ) -> tuple[Tensor, Tensor]:
        return look[rows], shape[rows, 0]


def fog_image(samples: int = 601, size: int = 3) -> FeatureImage:
    return FeatureImage(NEAR, Fog(), Fog(), size, samples)  # type: ignore[arg-type]


def fog(first: float, second: float, back: float = 0.0) -> Codes:
    """Two objects with features (1, 0, 0) and (0, 1, 0) before a background of (0, 0, 1)."""
    return Codes(
        torch.tensor([[[first, 0, 0], [second, 0, 0]]]),
        torch.eye(3)[None, :2],
        torch.tensor([[back, 0, 0]]),
        torch.eye(3)[2:],
    )


def two_boxes(first_x: float, second_x: float) -> Scene:
    """Boxes of half-size 0.5 / 1.1, so that their margin ends at 0.5, on the camera's axis."""
    middles = torch.tensor([[[first_x, 0.0, 0.0], [second_x, 0.0, 0.0]]])
    return Scene(torch.zeros(1), torch.full((1, 2, 3), 0.5 / 1.1), middles, torch.zeros(1, 2))


def test_positional_encoding_is_ordered_by_octave_then_sine_and_cosine() -> None:
    point = torch.tensor([[0.25, 0.5, -0.125]])
    encoded = positional_encoding(point, 2)
    phases = [point * math.pi, point * 2 * math.pi]
    expected = torch.cat([f(phase) for phase in phases for f in (torch.sin, torch.cos)], -1)
    assert torch.allclose(encoded, expected, atol=1e-6)


def test_composition_adds_densities_and_averages_features() -> None:
    total, shares = compose(torch.tensor([[1.0, 0.0, 0.0], [3.0, 2.0, 0.0]]))
    assert torch.equal(total, torch.tensor([4.0, 2.0, 0.0]))
    assert torch.equal(shares, torch.tensor([[0.25, 0.0, 0.0], [0.75, 1.0, 0.0]]))


def test_weights_of_a_constant_fog_are_those_of_the_closed_form() -> None:
    depths = torch.linspace(1, 3, 401)
    weights = ray_weights(0.7 * spans(depths) * 2.0)
    assert float(weights.sum()) == pytest.approx(1 - math.exp(-0.7 * 2 * 2), abs=1e-5)
    assert float(ray_weights(0.7 * spans(depths, INFINITE) * 2.0).sum()) == pytest.approx(1.0)
    assert float(ray_weights(0.0 * spans(depths, INFINITE) * 2.0).sum()) == 0.0


def test_opaque_object_hides_the_one_behind_and_a_clear_one_does_not() -> None:
    image, scene = fog_image(), two_boxes(1.0, -1.0)  # the camera looks along -x: the first is nearer
    assert torch.allclose(image(fog(1e4, 1e4), scene)[0, :, 1, 1], torch.tensor([1.0, 0.0, 0.0]), atol=1e-4)
    assert torch.allclose(image(fog(0.0, 1e4), scene)[0, :, 1, 1], torch.tensor([0.0, 1.0, 0.0]), atol=1e-4)
    behind = image(fog(0.0, 0.0, 1e4), scene)[0, :, 1, 1]
    assert torch.allclose(behind, torch.tensor([0.0, 0.0, 1.0]), atol=1e-4)


def test_two_half_clear_objects_one_behind_the_other_and_one_in_the_other() -> None:
    image, a, b = fog_image(6001), 0.8, 1.7
    apart = image(fog(a, b), two_boxes(1.0, -1.0))[0, :, 1, 1]
    expected = torch.tensor([1 - math.exp(-a), math.exp(-a) * (1 - math.exp(-b)), 0.0])
    assert torch.allclose(apart, expected, atol=2e-3)
    together = image(fog(a, b), two_boxes(0.0, 0.0))[0, :, 1, 1]
    opacity = 1 - math.exp(-(a + b))
    expected = torch.tensor([opacity * a / (a + b), opacity * b / (a + b), 0.0])
    assert torch.allclose(together, expected, atol=2e-3)


def test_opacity_is_the_object_alone() -> None:
    image = fog_image(2001)
    alone = image.opacity(fog(1.0, 1e4, 1e4), two_boxes(-1.0, 1.0), 3)
    assert float(alone[0, 1, 1]) == pytest.approx(1 - math.exp(-1.0), abs=2e-3)
    assert float(alone[0, 0, 0]) == 0.0


def test_box_frame_turns_scales_and_moves() -> None:
    scale, move = torch.tensor([[2.0, 1.0, 0.5]]), torch.tensor([[1.0, -1.0, 3.0]])
    corner = move + torch.tensor([[2.0, 1.0, 0.5]])
    assert torch.allclose(to_box(corner[:, None], scale, move, torch.zeros(1)), torch.ones(1, 1, 3))
    # Turned by a quarter, the box's x axis is the world's -y: R p = (1, 0, 0) for p = (0, -1, 0).
    along = torch.tensor([[[0.0, -1.0, 0.0]]])
    turned = to_box(along, torch.ones(1, 3), torch.zeros(1, 3), torch.tensor([math.pi / 2]), directions=True)
    assert torch.allclose(turned, torch.tensor([[[1.0, 0.0, 0.0]]]), atol=1e-6)


def test_camera_sees_right_at_right_and_up_at_top() -> None:
    ranges = SceneRanges(radius=3.0, field_of_view=40.0)
    origin, rays = ranges.rays(torch.tensor([math.radians(30.0)]), 5)
    assert torch.allclose(origin[0], 3 * torch.tensor([math.cos(math.pi / 6), 0.0, 0.5]), atol=1e-6)
    image = rays[0].unflatten(0, (5, 5))
    assert torch.allclose(origin[0] + 3 * image[2, 2], torch.zeros(3), atol=1e-6)
    assert float(image[2, 4, 1]) == pytest.approx(math.tan(math.radians(20)))
    assert float(image[0, 2, 2]) > float(image[4, 2, 2])
    # The pixels of a finer picture divide the area of the feature image's: means over blocks are its rays.
    fine = ranges.rays(torch.zeros(1), 20, 5)[1].view(5, 4, 5, 4, 3).mean((1, 3)).view(1, 25, 3)
    assert torch.allclose(fine, ranges.rays(torch.zeros(1), 5)[1], atol=1e-6)


def test_samples_outside_the_box_need_not_be_evaluated() -> None:
    """The sparse evaluation gives what evaluating everywhere and zeroing the density outside gives."""
    torch.manual_seed(0)
    ranges = SceneRanges(scale=((0.6, 0.4, 0.4),) * 2, radius=3.0, field_of_view=30.0, depth=(2.0, 4.0))
    field, back = FeatureField(4, 5, 16, 4, octaves=3), FeatureField(3, 5, 8, 2, (), 3)
    image = FeatureImage(ranges, field, back, 4, 9)
    codes, scene = Codes.sample(2, 4, 3, generator=torch.Generator().manual_seed(1)), ranges.fixed(torch.rand(2))
    origins, directions = ranges.rays(scene.elevation, 4)
    depths = torch.linspace(2, 4, 9).expand(2, 16, 9)
    box = (scene.scale[:, 0], scene.translation[:, 0], scene.turn[:, 0])
    world = origins[:, None, None] + directions[:, :, None] * depths[..., None]
    inner, along = to_box(world, *box), to_box(directions, *box, directions=True)
    rows = torch.arange(2).repeat_interleave(16 * 9)
    spread = along[:, :, None].expand_as(inner).reshape(-1, 3)
    feature, raw = field(inner.reshape(-1, 3), spread, rows, codes.shape[:, 0], codes.look[:, 0])
    outer = directions[:, :, None].expand_as(world).reshape(-1, 3)
    feature_back, raw_back = back(world.reshape(-1, 3), outer, rows, codes.back_shape, codes.back_look)
    density = raw.view(2, 16, 9).relu() * (inner.abs() <= 1.1).all(-1)
    total = density + raw_back.view(2, 16, 9).relu()
    mixed = density[..., None] * feature.view(2, 16, 9, 5)
    mixed = mixed + raw_back.view(2, 16, 9, 1).relu() * feature_back.view(2, 16, 9, 5)
    weights = ray_weights(total * spans(depths, INFINITE) * directions.norm(dim=-1, keepdim=True))
    expected = (weights[..., None] * mixed / total.clamp_min(1e-12)[..., None]).sum(2)
    assert torch.allclose(image(codes, scene), expected.transpose(1, 2).unflatten(-1, (4, 4)), atol=1e-5)


def test_ranges_draw_inside_and_the_same_again() -> None:
    ranges = SceneRanges(turn=(0.25, 0.5), elevation=(2.0, 8.0))
    scene = ranges.sample(200, torch.Generator().manual_seed(0))
    again = ranges.sample(200, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(scene, again))
    low, high = (torch.tensor(v) for v in ranges.scale)
    assert ((scene.scale >= low) & (scene.scale <= high)).all()
    assert 2.0 <= math.degrees(scene.elevation.min()) < 2.6 < 7.4 < math.degrees(scene.elevation.max()) <= 8.0
    assert ((scene.turn >= math.pi / 2) & (scene.turn <= math.pi)).all()
    with pytest.raises(InputError, match="elevation range"):
        SceneRanges(elevation=(8.0, 2.0))


def test_generator_sizes_and_noise() -> None:
    torch.manual_seed(0)
    network = GiraffeGenerator(
        resolution=32, size=8, samples=6, z_dim=8, background_z_dim=8, features=16, hidden=16, layers=4, octaves=3,
        background_hidden=8, least=8,
    )  # fmt: skip
    codes, scene = network.codes(2), network.scene.ranges.sample(2)
    assert torch.equal(network(codes, scene), network(codes, scene))
    first, second = (network(codes, scene, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert first.shape == (2, 3, 32, 32)
    assert not torch.equal(first, second)
    assert first.abs().max() <= 1
    assert network.cut_out(codes, scene).shape == (2, 4, 32, 32)
    assert ConvDiscriminator(32, 16)(first).shape == (2, 1)
    with pytest.raises(InputError, match="resolution 48"):
        GiraffeGenerator(resolution=48, size=16)

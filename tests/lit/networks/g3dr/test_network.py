from __future__ import annotations

import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.photos.photo import cube_projection
from lit.networks.fields.planes import lookup, plane_levels
from lit.networks.g3dr.blocks import Attention, StandardisedConv
from lit.networks.g3dr.network import SingleViewNetwork, centred_depth
from lit.networks.g3dr.unet import PlaneUnet, places


def network(**changes: bool | int) -> SingleViewNetwork:
    torch.manual_seed(0)
    return SingleViewNetwork(PlaneUnet(16, 4, 3, 8, (1, 2)), hidden=8, **changes)  # type: ignore[arg-type]


def ask(model: SingleViewNetwork, depth: torch.Tensor) -> torch.Tensor:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return model(images, depth, torch.from_numpy(cube_projection(16)).expand(2, -1, -1))


def test_planes_depend_on_the_depth_unless_it_is_left_out() -> None:
    near, far = torch.full((2, 16, 16), 4.5), torch.full((2, 16, 16), float("nan"))
    for depth_input in (True, False):
        model = network(depth_input=depth_input)
        first, second = ask(model, near), ask(model, far)
        assert first.shape == (2, 3, 4, 16, 16)
        assert torch.equal(first, second) != depth_input
    first.square().sum().backward()
    unused = [name for name, p in model.unet.named_parameters() if p.grad is None]
    assert unused == []


def test_the_straight_way_knows_a_plane_s_own_axes_only() -> None:
    """At the start the U-Net adds nothing, so a changed pixel shows at its place, in its column and in its row."""
    torch.manual_seed(0)
    unet = PlaneUnet(16, 4, 3, 8, (1, 2), straight=True)
    before = torch.rand(1, 4, 16, 16)
    after = before.clone()
    after[0, :, 5, 11] += 1  # row y, column x
    changed = ((unet(after) - unet(before)).abs().amax(2) > 1e-6)[0]  # plane, row, column
    expected = torch.zeros(3, 16, 16, dtype=torch.bool)
    expected[0, 5, 11] = expected[1, :, 11] = expected[2, :, 5] = True  # columns and rows (x, y), (x, z), (y, z)
    assert torch.equal(changed, expected)
    unet(after).square().sum().backward()
    assert unet.to_planes.weight.grad is not None
    assert unet.to_planes.weight.grad.abs().sum() > 0


def test_a_straight_network_begins_with_the_picture_s_colours_along_its_axis() -> None:
    torch.manual_seed(0)
    model = SingleViewNetwork(PlaneUnet(16, 6, 3, 8, (1, 2), straight=True), hidden=16, decoder_rate=20)
    colours = torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.4, 0.8]])
    images = colours[:, :, None, None].expand(2, 3, 16, 16)
    planes = model(images, torch.full((2, 16, 16), 5.0), torch.from_numpy(cube_projection(16)).expand(2, -1, -1))
    points = torch.rand(2, 50, 3) - 0.5
    assert (model.field(planes)(points).rgb - colours.unsqueeze(2)).abs().max() < 0.15
    with pytest.raises(InputError, match="straight"):
        SingleViewNetwork(PlaneUnet(16, 2, 3, 8, (1, 2), straight=True), hidden=16)


def test_places_are_coordinates_and_their_waves() -> None:
    maps = places(1, 6, 5, 3)[0]
    assert maps[0, :, 0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert maps[1, 0].tolist() == pytest.approx([-1, 0, 1])
    torch.testing.assert_close(maps[2], (torch.pi * maps[0]).sin())
    torch.testing.assert_close(maps[5], (torch.pi * maps[1]).cos())


def test_levels_are_summed_and_one_level_is_the_plain_lookup() -> None:
    model, points = network(levels=1), torch.rand(2, 7, 3) * 2 - 1
    planes = torch.rand(2, 3, 4, 16, 16)
    torch.testing.assert_close(model.field(planes)(points).rgb, model.decoder.raw(lookup(planes, points)).rgb)
    model.levels = 3
    summed = torch.stack([lookup(level, points) for level in plane_levels(planes)]).sum(0)
    torch.testing.assert_close(model.field(planes)(points).density, model.decoder.raw(summed).density)
    assert (model.field(planes, raw=False)(points).density > 0).all()


def test_depth_is_centred_in_units_of_the_cube() -> None:
    projection = torch.from_numpy(cube_projection(4))[None] * 3.0  # the same pixels, depth in thirds of a half edge
    depth = torch.tensor([[[12.0, 15.0, 16.5, float("nan")]]])
    assert centred_depth(depth, projection)[0, 0].tolist() == pytest.approx([-1, 0, 0.5, 1])


def test_standardised_kernels_and_attention_keep_shapes() -> None:
    conv, x = StandardisedConv(3, 5, 3, padding=1), torch.rand(1, 3, 6, 6)
    before = conv(x)
    conv.weight.data = conv.weight.data * 7 + 2
    torch.testing.assert_close(conv(x), before, atol=1e-3, rtol=1e-3)
    for linear in (True, False):
        out = Attention(8, linear, heads=2, head_width=4)(torch.rand(2, 8, 4, 6))
        assert out.shape == (2, 8, 4, 6)


def test_wrong_sizes_are_one_line() -> None:
    with pytest.raises(InputError, match="pictures of 16 x 8 pixels: expected 16 x 16"):
        network().unet(torch.rand(1, 4, 16, 8))
    with pytest.raises(InputError, match="resolution 18"):
        PlaneUnet(18, 4, 0, 8, (1, 2, 4))
    for levels in (0, 6):
        with pytest.raises(InputError, match=f"levels {levels}: expected 1 to 5"):
            network(levels=levels)

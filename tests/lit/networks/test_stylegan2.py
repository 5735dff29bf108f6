from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from datamodules.errors import InputError
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator, minibatch_deviation
from lit.networks.layers.equalised import EqualConv, EqualLinear
from lit.networks.layers.modulated import ModulatedConv
from lit.networks.layers.synthesis import StyledConv, SynthesisNetwork
from lit.networks.stylegan2 import StyleGAN2Generator

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
FILTER = torch.outer(TAPS, TAPS)


def low_pass(x: torch.Tensor, padding: int) -> torch.Tensor:
    """Channel by channel, by the definition."""
    return torch.cat([F.conv2d(F.pad(c, [padding] * 4), FILTER[None, None]) for c in x.split(1, 1)], 1)


def small(resolution: int = 16) -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(resolution, 8, 12, 3, 128, 16)


def test_linear_layers_scale_stored_weights_by_fan_in_and_learning_rate() -> None:
    torch.manual_seed(0)
    layer = EqualLinear(400, 300, lr_multiplier=0.01, activate=False)
    layer.bias.data.normal_()
    assert layer.weight.std().item() == pytest.approx(100, rel=0.02)  # stored divided by the multiplier
    x = torch.randn(5, 400)
    assert torch.allclose(layer(x), x @ (layer.weight * 0.01 / 20).T + layer.bias * 0.01, atol=1e-5)
    assert layer(torch.randn(200, 400)).std().item() == pytest.approx(1, rel=0.1)


def test_gradient_steps_are_equalised() -> None:
    """The stored weight's gradient shrinks with the gain: one rate moves effective weights alike in all layers."""
    layer, x = EqualLinear(16, 1, lr_multiplier=0.5, activate=False), torch.randn(1, 16)
    layer(x).backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert torch.allclose(layer.weight.grad, x * 0.5 / 4, atol=1e-6)
    assert layer.bias.grad.item() == pytest.approx(0.5)


def test_upsampling_convolution_is_zero_insertion_and_the_turned_kernel() -> None:
    torch.manual_seed(0)
    layer, x, w = ModulatedConv(3, 4, 6, up=True), torch.randn(2, 3, 5, 5), torch.randn(2, 6)
    style = layer.affine(w)
    inserted = torch.zeros(2, 3, 10, 10)
    inserted[..., ::2, ::2] = x
    for item in range(2):
        weight = layer.weight * style[item][None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        turned = weight.flip(2, 3)  # a transposed convolution convolves
        wide = F.conv2d(F.pad(inserted[item : item + 1], (2, 2, 2, 2)), turned)[..., :-1, :-1]
        wanted = low_pass(wide, 1) * 4 + layer.bias[:, None, None]
        assert torch.allclose(layer(x, w)[item : item + 1], wanted, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_downsampling_convolution_is_the_low_pass_and_every_second_value(size: int) -> None:
    torch.manual_seed(0)
    layer, x = EqualConv(3, 4, size, down=True, activate=False), torch.randn(2, 3, 8, 8)
    weight = layer.weight / (3 * size * size) ** 0.5
    wanted = F.conv2d(low_pass(x, 1 + size // 2), weight)[..., ::2, ::2]
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    assert layer(x).shape == (2, 4, 4, 4)


def test_noise_has_a_learned_strength_and_three_modes() -> None:
    torch.manual_seed(0)
    layer, x, w = StyledConv(3, 4, 6, 8), torch.randn(2, 3, 8, 8), torch.randn(2, 6)
    plain = layer(x, w, "none")
    assert torch.equal(layer(x, w, "random"), plain)  # the strength starts at 0
    layer.noise_strength.data.fill_(0.7)
    inner = ModulatedConv.forward(layer, x, w) + 0.7 * layer.noise_const
    assert torch.allclose(layer(x, w, "const"), F.leaky_relu(inner, 0.2) * 2**0.5, atol=1e-6)
    assert not torch.equal(layer(x, w, "random"), layer(x, w, "random"))
    assert torch.equal(layer(x, w, "none"), plain)


def test_a_clamp_bounds_activations_after_their_gain_and_what_is_added_to_the_image() -> None:
    torch.manual_seed(0)
    x, w = 5 * torch.randn(2, 3, 8, 8), torch.randn(2, 6)
    free, bounded = StyledConv(3, 4, 6, 8), StyledConv(3, 4, 6, 8, clamp=1.0)
    bounded.load_state_dict(free.state_dict())
    plain = free(x, w, "none")
    assert plain.abs().max() > 1.3
    assert torch.equal(bounded(x, w, "none"), plain.where(plain.abs() < 1, plain.sign()))
    net = StyleGAN2Generator(8, 8, 12, 3, 128, 16, conv_clamp=1e-3)
    with torch.no_grad():
        image = net(torch.randn(2, 8), noise="const")
    assert image.abs().max() <= 2e-3  # two blocks
    assert image.abs().max() > 1e-4


@pytest.mark.parametrize(("resolution", "rows"), [(8, 4), (16, 6)])
def test_every_row_counts_and_rows_are_those_of_the_paper(resolution: int, rows: int) -> None:
    net = small(resolution)
    latents = net.latents(torch.randn(1, 8)).detach().clone().requires_grad_()
    assert latents.shape == (1, rows, 12)
    image = net.synthesis(latents)
    assert image.shape == (1, 3, resolution, resolution)
    image.square().sum().backward()
    assert latents.grad is not None
    assert (latents.grad.abs().sum(-1) > 0).all()
    maps = [value for name, value in net.synthesis.named_buffers() if name.endswith("noise_const")]
    assert [m.shape[0] for m in maps] == [4, 8, 8, 16, 16][: rows - 1]


def test_sizes_are_those_of_the_published_networks() -> None:
    with torch.device("meta"):
        generator, discriminator = StyleGAN2Generator(1024), StyleGAN2Discriminator(1024)
    assert generator.rows == 18
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060  # printed by the published code
    assert sum(p.numel() for p in discriminator.parameters()) == 29_012_513


def test_truncation_moves_styles_to_their_mean() -> None:
    net, z = small(), torch.randn(3, 8)
    net.mapping.w_avg.normal_()
    full, half, none = (net.latents(z, t) for t in (1.0, 0.5, 0.0))
    assert torch.allclose(half, (full + none) / 2, atol=1e-6)
    assert torch.allclose(none, net.mapping.w_avg.expand_as(none), atol=1e-6)


def test_mapping_ignores_the_length_of_z() -> None:
    net, z = small(), torch.randn(3, 8)
    assert torch.allclose(net.mapping(z), net.mapping(5 * z), atol=1e-5)


def test_config_builds_the_same_network() -> None:
    net = small()
    other = StyleGAN2Generator(**net.config)
    other.load_state_dict(net.state_dict())
    z = torch.randn(2, 8)
    assert torch.equal(net(z, noise="const"), other(z, noise="const"))


def test_deviation_is_that_of_strided_groups() -> None:
    x = torch.randn(8, 5, 4, 4)
    got = minibatch_deviation(x, 4)
    for first in range(2):
        group = x[first::2]
        deviation = (group.var(0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(got[first::2, 5], deviation.expand(4, 4, 4), atol=1e-6)
    assert torch.equal(got[:, :5], x)
    assert minibatch_deviation(x[:7], 4).shape == (7, 6, 4, 4)  # groups of one: no divisor up to four


def test_discriminator_gives_a_logit_an_image() -> None:
    net = StyleGAN2Discriminator(16, 128, 16)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    net(images).sum().backward()
    assert net(images).shape == (4, 1)
    assert images.grad is not None
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(InputError, match="resolution 48"):
        SynthesisNetwork(48)
    with pytest.raises(InputError, match=r"expected \(B, 6, 12\)"):
        small().synthesis(torch.zeros(1, 8, 12))

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from datamodules.errors import InputError
from lit.networks.fields.triplane import TriplaneSynthesis
from lit.networks.layers.modulated import ModulatedConv, blur, upsample

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16


def zero_insertion(x: torch.Tensor) -> torch.Tensor:
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    out[:, :, ::2, ::2] = x
    return out


def filtered(x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x.flatten(0, 1)[:, None], FILTER[None, None]).view(*x.shape[:2], x.shape[2] - 3, x.shape[3] - 3)


def test_blur_is_the_binomial_filter_at_gain_four() -> None:
    x = torch.randn(2, 3, 9, 9)
    assert torch.allclose(blur(x), filtered(F.pad(x, (1, 1, 1, 1))), atol=1e-5)


def test_upsample_is_zero_insertion_and_the_filter() -> None:
    x = torch.randn(2, 3, 5, 5)
    assert torch.allclose(upsample(x), filtered(F.pad(zero_insertion(x), (2, 1, 2, 1))), atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_modulation_of_activations_equals_modulated_weights(up: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, 8, up=up)
    x, w = torch.randn(2, 5, 6, 6), torch.randn(2, 8)
    got = layer(x, w)
    style = layer.affine(w)
    for item in range(2):
        weight = layer.weight * style[item][None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            wanted = blur(F.conv_transpose2d(x[item : item + 1], weight.transpose(0, 1), stride=2))
        else:
            wanted = F.conv2d(x[item : item + 1], weight, padding=1)
        assert torch.allclose(got[item], wanted[0] + layer.bias[:, None, None], atol=1e-4)


@pytest.mark.parametrize(("resolution", "styles"), [(64, 10), (128, 12), (256, 14)])
def test_style_rows_are_those_of_the_released_network(resolution: int, styles: int) -> None:
    assert TriplaneSynthesis(resolution, 4, 8, 256, 8).rows == styles


def test_latents_use_their_last_rows_and_every_style_counts() -> None:
    torch.manual_seed(0)
    net = TriplaneSynthesis(16, 4, 8, 256, 16)
    latent = torch.randn(1, net.rows + 3, 8, requires_grad=True)
    planes = net(latent)
    assert planes.shape == (1, 3, 4, 16, 16)
    planes.square().sum().backward()
    assert latent.grad is not None
    used = latent.grad[0].abs().sum(1) > 0
    assert not used[:3].any()
    assert used[3:].all()


def test_paper_size_has_the_released_channels() -> None:
    net: Any = TriplaneSynthesis()
    assert [block.conv1.weight.shape[0] for block in net.blocks] == [512, 512, 512, 512, 512, 256]
    assert net.blocks[-1].to_rgb.weight.shape[0] == 3 * 64
    assert math.isclose(net.blocks[0].conv1.gain, 1 / math.sqrt(512 * 9))


def test_refuses_odd_resolutions() -> None:
    with pytest.raises(InputError, match="power of two"):
        TriplaneSynthesis(48)

from __future__ import annotations

import pytest
import torch

from datamodules.errors import InputError
from lit.networks.rcan import ChannelAttention, Rcan, bicubic


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("with_cubic", [True, False])
def test_pictures_grow(scale: int, with_cubic: bool) -> None:
    torch.manual_seed(0)
    network, images = Rcan(scale, 8, 2, 1, 4, with_cubic), torch.rand(2, 3, 6, 5)
    found = network(images)
    assert found.shape == (2, 3, 6 * scale, 5 * scale)
    found.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    for parameter in network.tail[-1].parameters():
        torch.nn.init.zeros_(parameter)  # as training begins beside cubic interpolation
    nothing = bicubic(images, scale) if with_cubic else torch.full_like(found, 0.5)
    torch.testing.assert_close(network(images), nothing)
    assert torch.equal(found, network(images)) == with_cubic


def test_the_defaults_are_the_papers_size() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Rcan().parameters()) == 15_444_643  # the published 15.44 million
    with pytest.raises(InputError, match="scale 3: expected 2, 4 or 8"):
        Rcan(3)


def test_attention_weighs_whole_channels() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 8, 4, 4) + 0.1
    weights = ChannelAttention(8, 4)(x) / x
    torch.testing.assert_close(weights, weights[..., :1, :1].expand_as(weights))
    assert ((weights > 0) & (weights < 1)).all()


def test_shrinking_is_antialiased() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 3, 16, 16)
    torch.testing.assert_close(bicubic(stripes, 0.5)[..., 2:-2], torch.full((1, 3, 8, 4), 0.5), atol=0.02, rtol=0)

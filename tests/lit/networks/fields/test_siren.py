from __future__ import annotations

import math

import torch

from lit.networks.fields.siren import FilmSiren, SirenDecoder, density_of


def test_film_siren_is_its_formula() -> None:
    torch.manual_seed(0)
    layer = FilmSiren(6, 5, 4)
    x, s = torch.randn(2, 6, 7), torch.randn(2, 4)
    gamma, beta = 15 * layer.scale(s) + 30, 0.25 * layer.shift(s)
    linear = torch.einsum("oi,bip->bop", layer.weight, x) + layer.bias[:, None]
    wanted = torch.sin(gamma[..., None] * linear + beta[..., None])
    assert torch.allclose(layer(x, s), wanted, atol=1e-5)


def test_weights_start_within_the_siren_bound() -> None:
    layer = FilmSiren(64, 64, 8)
    bound = math.sqrt(6 / 64) / 25
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.9 * bound


def test_density_is_half_its_maximum_on_the_surface() -> None:
    beta = torch.tensor(0.1)
    sdf = torch.tensor([-10.0, 0.0, 10.0])
    assert torch.allclose(density_of(sdf, beta), torch.tensor([10.0, 5.0, 0.0]), atol=1e-4)


def test_decoder_heads() -> None:
    decoder = SirenDecoder(8, 16, 4, parts=3)
    out = decoder(torch.randn(2, 8, 11), torch.randn(2, 4))
    assert out.rgb.shape == (2, 3, 11)
    assert out.density.shape == (2, 11)
    assert out.parts is not None
    assert out.parts.shape == (2, 3, 11)
    assert (out.rgb >= 0).all()
    assert (out.rgb <= 1).all()
    assert (out.density >= 0).all()
    assert SirenDecoder(8, 16, 4)(torch.randn(1, 8, 2), torch.randn(1, 4)).parts is None

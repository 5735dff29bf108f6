"""The decoder of tri-plane features: one FiLM-SIREN layer and linear heads for colour, signed distance and parts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues


class FilmSiren(nn.Module):
    """``sin(gamma * (W x + b) + beta)`` with ``gamma = 15 A(s) + 30``, ``beta = 0.25 B(s)`` (StyleSDF, Lift3D).

    Args:
        inputs: feature channels.
        outputs: hidden channels.
        w_dim: width of the style.
        frequency: the 30 of the formula.
        frequency_scale: the 15 of the formula.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, frequency: float = 30.0, frequency_scale: float = 15.0
    ) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / inputs) / 25.0
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-1, 1).mul_(math.sqrt(1.0 / inputs)))
        self.scale = _film_linear(w_dim, outputs)
        self.shift = _film_linear(w_dim, outputs)
        self.frequency, self.frequency_scale = frequency, frequency_scale

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map features (B, inputs, P) under styles (B, w_dim) to (B, outputs, P).

        gamma is folded into the weights of each object, so that the only per-point work is one product and one sine.
        """
        gamma = (self.frequency_scale * self.scale(style) + self.frequency).unsqueeze(-1)
        beta = 0.25 * self.shift(style).unsqueeze(-1)
        return torch.sin(torch.baddbmm(gamma * self.bias[:, None] + beta, gamma * self.weight, x))


def _film_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer as StyleSDF initialises its modulations: a quarter of Kaiming's normal."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, a=0.2)
    layer.weight.data.mul_(0.25)
    return layer


class SirenDecoder(nn.Module):
    """Features to colour, density and parts.

    Density follows StyleSDF: ``sigmoid(-sdf / beta) / beta`` per canonical unit, ``beta`` learned.

    Args:
        inputs: channels of the planes.
        hidden: channels of the FiLM layer.
        w_dim: width of the style.
        parts: number of semantic part logits, 0 for none.
        beta: initial sharpness of the density, canonical units.
        film: see :class:`FilmSiren`.
    """

    def __init__(
        self, inputs: int, hidden: int = 64, w_dim: int = 512, parts: int = 0, beta: float = 0.1, **film: Any
    ) -> None:
        super().__init__()
        self.parts = parts
        self.film = FilmSiren(inputs, hidden, w_dim, **film)
        self.heads = nn.Linear(hidden, 4 + parts)
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, features: Tensor, style: Tensor) -> FieldValues:
        """Decode features (B, C, P) under styles (B, w_dim)."""
        hidden = self.film(features, style)
        batch = len(hidden)
        weight = self.heads.weight.expand(batch, -1, -1)
        out = torch.baddbmm(self.heads.bias[:, None].expand(batch, -1, 1), weight, hidden).float()
        parts = out[:, 4:] if out.shape[1] > 4 else None
        return FieldValues(torch.sigmoid(out[:, :3]), density_of(out[:, 3], self.beta), parts)


def density_of(sdf: Tensor, beta: Tensor) -> Tensor:
    """Density per canonical unit of signed distances: ``sigmoid(-sdf / beta) / beta``, with beta kept above 0.002."""
    sharpness = 1.0 / beta.abs().clamp_min(0.002)
    return torch.sigmoid(-sdf * sharpness) * sharpness

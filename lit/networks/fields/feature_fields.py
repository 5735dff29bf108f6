"""Neural feature fields and their composition by density (GIRAFFE).

Source: Niemeyer and Geiger, "GIRAFFE: Representing Scenes as Compositional Generative Neural Feature Fields", CVPR
2021, sections 3.1 and 3.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def positional_encoding(points: Tensor, octaves: int) -> Tensor:
    """Sine and cosine of points (..., 3) at frequencies pi, 2 pi, 4 pi ... (GIRAFFE Eq. 1): (..., 6 * octaves).

    The order is by octave, then sine before cosine, then axis, as the published weights expect it.
    """
    phases = points.unsqueeze(-2) * (math.pi * 2.0 ** torch.arange(octaves, device=points.device)).unsqueeze(-1)
    return torch.cat([phases.sin(), phases.cos()], -1).flatten(-2)


class FeatureField(nn.Module):
    """An MLP from a point, a shape code and an appearance code to a density and a feature vector.

    Points come as one flat list with the scene each belongs to, so that what lies outside an object's box need not be
    evaluated at all.

    Args:
        z_dim: length of the two codes.
        features: length of the feature vector.
        hidden: width of the layers.
        layers: layers before the density.
        skips: after these layers (counted from 1) code and encoded point are added again.
        octaves: of the position's encoding.
        view_octaves: of the direction's encoding.
        extent: points are divided by it, so that [-extent, extent] uses the encoding's whole range.
        directions: whether features depend on the viewing direction (GIRAFFE yes, GIRAFFE HD no).
        two_codes: whether features depend on the appearance code, else on the shape code (GIRAFFE HD).
    """

    def __init__(
        self,
        z_dim: int = 256,
        features: int = 128,
        hidden: int = 128,
        layers: int = 8,
        skips: tuple[int, ...] = (4,),
        octaves: int = 10,
        view_octaves: int = 4,
        extent: float = 2.0,
        directions: bool = True,
        two_codes: bool = True,
    ) -> None:
        super().__init__()
        self.octaves, self.view_octaves, self.extent = octaves, view_octaves, extent
        self.directions, self.two_codes = directions, two_codes
        self.skips = tuple(layer for layer in skips if layer < layers - 1)
        self.point_in, self.shape_in = nn.Linear(6 * octaves, hidden), nn.Linear(z_dim, hidden)
        self.trunk = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.point_skips = nn.ModuleList(nn.Linear(6 * octaves, hidden) for _ in self.skips)
        self.shape_skips = nn.ModuleList(nn.Linear(z_dim, hidden) for _ in self.skips)
        self.density_out = nn.Linear(hidden, 1)
        self.feature_in, self.look_in = nn.Linear(hidden, hidden), nn.Linear(z_dim, hidden)
        self.view_in = nn.Linear(6 * view_octaves, hidden)  # published weights hold it even where it is unused
        self.view_in.requires_grad_(directions)
        self.feature_out = nn.Linear(hidden, features)

    def density(self, points: Tensor, rows: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density (M,) before the ReLU, and the hidden layer (M, hidden) that features start from.

        Args:
            points: (M, 3) in the object's own frame.
            rows: (M,) which row of the codes a point belongs to.
            shape: (B, z_dim) codes.
        """
        encoded = positional_encoding(points / self.extent, self.octaves)
        hidden = F.relu(self.point_in(encoded) + self.shape_in(shape)[rows])
        skips = dict(zip(self.skips, zip(self.point_skips, self.shape_skips)))
        for number, layer in enumerate(self.trunk, start=1):
            hidden = F.relu(layer(hidden))
            if number in skips:
                point_skip, shape_skip = skips[number]
                hidden = hidden + shape_skip(shape)[rows] + point_skip(encoded)
        return self.density_out(hidden)[:, 0], hidden

    def forward(
        self, points: Tensor, directions: Tensor, rows: Tensor, shape: Tensor, look: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features (M, features) and raw density (M,) at points (M, 3) seen along directions (M, 3)."""
        density, hidden = self.density(points, rows, shape)
        hidden = self.feature_in(hidden) + self.look_in(look if self.two_codes else shape)[rows]
        if self.directions:
            unit = directions / directions.norm(dim=-1, keepdim=True)
            hidden = F.relu(hidden + self.view_in(positional_encoding(unit / self.extent, self.view_octaves)))
        return self.feature_out(hidden), density


def compose(densities: Tensor) -> tuple[Tensor, Tensor]:
    """Several fields as one (GIRAFFE Eq. 8): densities add up, features are averaged by density.

    Args:
        densities: (N, ...) non-negative densities of N fields.

    Returns:
        Density (...) of the whole and the fields' shares (N, ...) in its features; 0 where no field has density.
    """
    total = densities.sum(0)
    return total, densities / torch.where(total == 0, torch.ones_like(total), total)

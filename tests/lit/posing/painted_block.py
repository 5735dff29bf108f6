"""A field whose object is a block with six coloured faces, in planes that hold nothing but coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import EG3D_AXES, DecodedPlanes

BOX = 1.6
COLOURS = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]])  # +x -x +y -y +z -z
HALF, MIDDLE = np.array([0.4, 0.15, 0.2]), np.array([0.06, 0.03, -0.04])


@dataclass(frozen=True)
class Block:
    """Decodes coordinates: inside the block the density is high, and the nearest face gives the colour.

    Attributes:
        axes: (3, 3) block axes to world axes.
        raw: the density comes before its activation.
    """

    axes: np.ndarray
    raw: bool = False

    def __call__(self, features: Tensor) -> FieldValues:
        world = features[:, :3] * (3 * BOX / 2)
        axes, middle, half = (torch.as_tensor(part).float() for part in (self.axes, MIDDLE, HALF))
        place = (torch.einsum("wo,bwp->bop", axes, world) - middle[:, None]) / half[:, None]
        size, axis = place.abs().max(1)
        side = place.gather(1, axis[:, None])[:, 0] < 0
        rgb = COLOURS[2 * axis + side.long()].transpose(1, 2)
        density = 2000.0 * (1 - size).clamp(-0.05, 0.05)  # rises over a tenth, from -100 to 100
        density = torch.where(features[:, 3] > 0.66, density, -100.0)
        density = density if self.raw else density.clamp_min(0)
        parts = torch.stack([torch.zeros_like(density), torch.ones_like(density)], 1)  # all of class 1
        return FieldValues(rgb, density, parts, parts[:, :1])


def block_field(axes: np.ndarray, raw: bool = False, count: int = 1) -> DecodedPlanes:
    """The block's field, of as many equal objects, in EG3D's planes."""
    ramp = ((2 * torch.arange(32) + 1) / 32 - 1).float()
    planes = torch.zeros(1, 3, 4, 32, 32)
    planes[0, 0, 0], planes[0, 0, 1] = ramp.expand(32, 32), ramp[:, None].expand(32, 32)
    planes[0, 1, 2] = ramp[:, None].expand(32, 32)
    planes[0, :2, 3] = 1.0  # outside of the planes all is 0, which is the middle, too
    return DecodedPlanes(planes.expand(count, -1, -1, -1, -1), Block(axes, raw), "mean", EG3D_AXES, BOX)

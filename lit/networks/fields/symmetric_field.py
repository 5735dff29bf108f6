"""A field that is mirrored about the middle plane of an object's box: what is looked up on one side stands for both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.precision import full_precision
from lit.networks.fields.field_values import Field, FieldValues


@dataclass(frozen=True)
class SymmetricField:
    """The field of B objects that are symmetric left and right, as cars are.

    Points on the side that the photograph's camera stands on are looked up where they are, points on the other side at
    their mirror images: so what the camera saw is the whole object, and both sides agree whatever the network learned.

    Attributes:
        field: of the B objects.
        frame: (B, 4, 4) from each object's canonical box, whose z axis points to its side, to the field's frame.
        side: (B,) 1 or -1, the sign of z on the side that is looked up.
    """

    field: Field
    frame: Tensor
    side: Tensor

    def __call__(self, points: Tensor) -> FieldValues:
        """Values at points (B, P, 3)."""
        inverse = torch.linalg.inv(self.frame.double())
        row, across = inverse[:, 2].to(points), self.frame[:, :3, 2].to(points)
        with full_precision(points.device):
            z = torch.einsum("bpd,bd->bp", points, row[:, :3]) + row[:, 3:]  # in the box
        beyond = (z * self.side.to(points)[:, None] < 0).unsqueeze(-1)
        mirrored = points - 2 * z.unsqueeze(-1) * across.unsqueeze(1)
        return self.field(torch.where(beyond, mirrored, points))


def seen_side(projection: Tensor, frame: Tensor) -> Tensor:
    """(B,) 1 or -1: on which side of its object's middle plane each camera stands, 1 for one that stands on it.

    Args:
        projection: (B, 3, 4) from the field's frame to pixels.
        frame: (B, 4, 4), see :class:`SymmetricField`.
    """
    centre = -torch.linalg.solve(projection[..., :3].double(), projection[..., 3:].double())[..., 0]
    inverse = torch.linalg.inv(frame.double())
    z = (inverse[:, 2, :3] * centre).sum(1) + inverse[:, 2, 3]
    return torch.where(z < 0, -1.0, 1.0)

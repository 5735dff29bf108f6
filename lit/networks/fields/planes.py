"""Feature planes that span a cube: their lookup at points, their levels, and the field they are with a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit.networks.fields.field_values import FieldValues

Axes = tuple[tuple[int, int], ...]
"""For each plane the coordinates along its columns and along its rows."""

PLANE_AXES: Axes = ((0, 1), (0, 2), (1, 2))  # ours and Lift3D's
EG3D_AXES: Axes = ((0, 1), (0, 2), (2, 0))  # EG3D's released weights, pix2pix3D and G3DR: two planes span x and z
EG3D_CORRECTED_AXES: Axes = ((0, 1), (0, 2), (2, 1))  # EG3D after its correction


def lookup(
    planes: Tensor | Sequence[Tensor],
    points: Tensor,
    reduce: str = "mean",
    axes: Axes = PLANE_AXES,
    box: float = 2.0,
) -> Tensor:
    """Features (B, C, P) of points (B, P, 3): bilinear, zero outside, mean or sum over planes, sum over levels.

    Args:
        planes: (B, 3, C, R, R), or several levels of such (:func:`plane_levels`).
        points: coordinates in [-box / 2, box / 2].
        reduce: "mean" or "sum" over planes.
        axes: what the planes span.
        box: edge of the cube that they span (EG3D's ``box_warp``).
    """
    points = points if box == 2.0 else points * (2.0 / box)
    grid = torch.stack([points[..., pair] for pair in axes], 1).flatten(0, 1).unsqueeze(1)
    first, *others = [
        F.grid_sample(level.flatten(0, 1), grid, align_corners=False)
        .view(len(level), len(axes), level.shape[2], -1)
        .sum(1)
        for level in ([planes] if isinstance(planes, Tensor) else planes)
    ]
    total = sum(others, first)
    return total if reduce == "sum" else total * (1.0 / len(axes))


def plane_levels(planes: Tensor, count: int = 3) -> list[Tensor]:
    """Planes (B, 3, C, R, R) and their antialiased reductions to 1/2, 1/4 ... of the full resolution (G3DR)."""
    flat = planes.flatten(0, 1)
    smaller = [
        F.interpolate(flat, scale_factor=0.5**level, mode="bilinear", align_corners=False, antialias=True)
        for level in range(1, count)
    ]
    return [planes, *(level.unflatten(0, planes.shape[:2]) for level in smaller)]


@dataclass(frozen=True)
class DecodedPlanes:
    """The field of B objects that planes are with what decodes their features.

    Attributes:
        planes: see :func:`lookup`, as are ``reduce``, ``axes`` and ``box``.
        decode: features (B, C, P) to values.
    """

    planes: Tensor | Sequence[Tensor]
    decode: Callable[[Tensor], FieldValues]
    reduce: str = "mean"
    axes: Axes = PLANE_AXES
    box: float = 2.0

    def __call__(self, points: Tensor) -> FieldValues:
        """Values at points (B, P, 3)."""
        return self.decode(lookup(self.planes, points, self.reduce, self.axes, self.box))

    def grid_features(self, places: Sequence[Tensor]) -> Tensor:
        """Features (C, X, Y, Z) of the first object on the grid of three axes' places (X,), (Y,), (Z,).

        Each plane is resampled once in two dimensions and all are added by broadcasting: equal to looking up every
        point at a small part of the cost.
        """
        scaled, found = [place * (2.0 / self.box) for place in places], []
        for level in [self.planes] if isinstance(self.planes, Tensor) else self.planes:
            for plane, (a, b) in zip(level[0], self.axes):
                grid = torch.stack(torch.meshgrid(scaled[a], scaled[b], indexing="ij"), -1)[None]
                features = F.grid_sample(plane[None], grid, align_corners=False)[0]  # C a b
                found.append((features if a < b else features.transpose(1, 2)).unsqueeze(4 - a - b))
        total = sum(found[1:], found[0])
        return total if self.reduce == "sum" else total * (1.0 / len(self.axes))

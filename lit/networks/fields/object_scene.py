"""Scenes of one camera and boxes: where GIRAFFE's objects are, and the rays that look at them.

World frame of GIRAFFE: z up, the camera on a sphere about the origin in the plane y = 0, image right along +y. A box
has half-sizes, a translation and a turn about the vertical.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.errors import InputError
from detectors.precision import full_precision
from lit.networks.batch_draws import batch_draw


class Scene(NamedTuple):
    """B scenes of N boxes.

    Attributes:
        elevation: (B,) height of the camera over the horizon, radians.
        scale: (B, N, 3) half-sizes of the boxes.
        translation: (B, N, 3) their middles.
        turn: (B, N) their rotation about the vertical, radians.
    """

    elevation: Tensor
    scale: Tensor
    translation: Tensor
    turn: Tensor

    def to(self, device: torch.device) -> Scene:
        return Scene(*(part.to(device) for part in self))


class SceneRanges:
    """What scenes are drawn from; the defaults are those of GIRAFFE's cars.

    Args:
        boxes: objects a scene.
        scale: least and largest half-sizes, one draw for all three axes.
        translation: least and largest middle of a box.
        turn: least and largest turn, in whole turns.
        elevation: least and largest elevation in degrees; drawn uniformly in its sine, as on a sphere.
        radius: distance of the camera from the origin.
        field_of_view: full angle, degrees.
        depth: nearest and farthest sample of a ray.

    Raises:
        InputError: a range is upside down.
    """

    def __init__(
        self,
        boxes: int = 1,
        scale: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.2, 0.16, 0.16), (0.25, 0.2, 0.2)),
        translation: tuple[tuple[float, float, float], tuple[float, float, float]] = (
            (-0.22, -0.12, 0.0),
            (0.22, 0.12, 0.0),
        ),
        turn: tuple[float, float] = (0.0, 1.0),
        elevation: tuple[float, float] = (0.0, 9.594),
        radius: float = 2.732,
        field_of_view: float = 10.0,
        depth: tuple[float, float] = (0.5, 6.0),
    ) -> None:
        for name, low, high in (("elevation", *elevation), ("depth", *depth), ("turn", *turn)):
            if low > high:
                raise InputError(f"{name} range ({low:g}, {high:g}): expected lowest before highest; swap them")
        self.boxes, self.scale, self.translation, self.turn = boxes, scale, translation, turn
        self.elevation, self.radius, self.field_of_view, self.depth = elevation, radius, field_of_view, depth

    def sample(self, count: int, generator: torch.Generator | None = None) -> Scene:
        """Draw ``count`` scenes on the generator's device."""
        device = generator.device if generator is not None else None

        def uniform(low: Tensor, high: Tensor, *shape: int) -> Tensor:
            low, high = low.to(device), high.to(device)
            place = batch_draw(lambda n: torch.rand(n, *shape, generator=generator, device=device), count)
            return low + (high - low) * place

        sine = [math.sin(math.radians(angle)) for angle in self.elevation]
        size, place = (torch.tensor(pair, dtype=torch.float32) for pair in (self.scale, self.translation))
        return Scene(
            torch.asin(uniform(torch.tensor(sine[0]), torch.tensor(sine[1]))),
            uniform(size[0], size[1], self.boxes, 1),
            uniform(place[0], place[1], self.boxes, 3),
            uniform(torch.tensor(self.turn[0]), torch.tensor(self.turn[1]), self.boxes) * 2 * math.pi,
        )

    def fixed(self, turns: Tensor, elevation: float | None = None) -> Scene:
        """Scenes of one box in the middle of every range, turned by ``turns`` (B,) radians.

        Args:
            elevation: degrees; None for the middle of its range.
        """
        count = len(turns)
        degrees = elevation if elevation is not None else sum(self.elevation) / 2
        pairs = (torch.tensor(pair, dtype=torch.float32) for pair in (self.scale, self.translation))
        size, place = (pair.mean(0).expand(count, 1, 3) for pair in pairs)
        height = torch.full((count,), math.radians(degrees))
        return Scene(height, size, place, turns.float()[:, None]).to(turns.device)

    def rays(self, elevation: Tensor, size: int, grid: int | None = None) -> tuple[Tensor, Tensor]:
        """Camera positions (B, 3) and ray directions (B, size * size, 3) in row order, one unit of depth long.

        The outermost of ``grid`` x ``grid`` pixel centres lie on the border of the field of view, as GIRAFFE has them.

        Args:
            elevation: (B,) radians.
            size: pixels a side.
            grid: pixels a side of the feature image whose area these pixels divide; None: ``size`` itself.
        """
        grid = grid or size
        place = (torch.arange(size, device=elevation.device) + 0.5) * grid / size - 0.5
        place = (2 * place / (grid - 1) - 1) * math.tan(math.radians(self.field_of_view) / 2)
        up, right = torch.meshgrid(-place, place, indexing="ij")
        sine, cosine, zero = elevation.sin()[:, None], elevation.cos()[:, None], torch.zeros_like(elevation)[:, None]
        outward = torch.cat([cosine, zero, sine], 1)
        above = torch.cat([-sine, zero, cosine], 1)
        sideways = torch.tensor([0.0, 1.0, 0.0], device=elevation.device)
        directions = right.flatten()[None, :, None] * sideways + up.flatten()[None, :, None] * above[:, None]
        return outward * self.radius, directions - outward[:, None]


def turn_matrices(turn: Tensor) -> Tensor:
    """Rotations (..., 3, 3) about the vertical by angles (...), radians."""
    cosine, sine, zero, one = turn.cos(), turn.sin(), torch.zeros_like(turn), torch.ones_like(turn)
    return torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], -1).unflatten(-1, (3, 3))


def to_box(points: Tensor, scale: Tensor, translation: Tensor, turn: Tensor, directions: bool = False) -> Tensor:
    """World points (B, ..., 3) in a box's own frame, where the box is [-1, 1]^3 (the inverse of GIRAFFE Eq. 6).

    Args:
        scale, translation: (B, 3).
        turn: (B,) radians; the box's frame is the world's turned by it, as in GIRAFFE's code.
        directions: points are directions, which translation leaves alone.
    """
    shape = (len(points), *[1] * (points.ndim - 2), 3)
    moved = points if directions else points - translation.view(shape)
    with full_precision(points.device):
        turned = torch.einsum("bij,b...j->b...i", turn_matrices(turn), moved)
    return turned / scale.view(shape)

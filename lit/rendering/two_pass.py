"""Two passes along rays clipped to the cube, the second where the first saw something or depth is known (G3DR)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.batch_draws import batch_draw
from lit.networks.fields.field_values import Field
from lit.networks.fields.quadrature import Rendering
from lit.networks.fields.softplus_decoder import softplus_density
from lit.rendering.rays import projection_rays
from lit.rendering.render import Hook, Weigh, render_image, render_rays
from lit.rendering.samplers import Refinement, around, importance, in_cube


@dataclass(frozen=True)
class TwoPass:
    """How many samples a ray gets.

    Attributes:
        coarse: of the first pass, one in each of as many equal bins.
        fine: of the second.

    Raises:
        InputError: too few to cut a ray into pieces.
    """

    coarse: int = 32
    fine: int = 32

    def __post_init__(self) -> None:
        if self.coarse < 2 or self.fine < 1:
            raise InputError(f"samples coarse {self.coarse}, fine {self.fine}: expected at least 2 and 1")

    def train(
        self,
        field: Field,
        projection: Tensor,
        pixels: Tensor,
        draw: torch.Generator,
        guide: tuple[Tensor, float] | None = None,
        hook: Hook | None = None,
        weigh: Weigh | None = None,
    ) -> Rendering:
        """Render pixels (R, 2) of B objects, samples jittered.

        Args:
            field: of raw density.
            projection: (B, 3, 4) from the cube to pixels.
            pixels: u, v.
            draw: source of the jitter, the same on all processes.
            guide: depth (B, R), NaN where unknown, and the reach about it within which the second pass samples there.
            hook: see :func:`lit.rendering.render.render_rays`, as is ``weigh``.
        """
        count, rays, device = len(projection), len(pixels), projection.device
        origins, directions = projection_rays(projection, pixels.expand(count, -1, -1))

        def jitter(samples: int) -> Tensor:
            return batch_draw(lambda n: torch.rand(n, rays, samples, generator=draw, device=device), count)

        first, place = jitter(self.coarse), jitter(self.fine)
        refine = importance(place)
        if guide is not None:
            near, _ = around(torch.nan_to_num(guide[0]), guide[1], self.fine, place)(origins, directions)
            refine = _where_known(near, guide[0].isnan().unsqueeze(-1), refine)
        return render_rays(
            field, origins, directions, in_cube(self.coarse, first), refine, softplus_density, hook, weigh
        )

    def draw(self, field: Field, projection: Tensor, height: int, width: int) -> Rendering:
        """Render one object whole, (height, width) pixels, without jitter.

        Args:
            field: of one object, raw density.
            projection: (3, 4) from the cube to pixels.
            height, width: pixels.
        """
        place = (torch.arange(self.fine, device=projection.device) + 0.5) / self.fine
        return render_image(
            field,
            projection,
            height,
            width,
            self.coarse + self.fine,
            sampler=in_cube(self.coarse),
            refine=importance(place),
            activation=softplus_density,
        )


def _where_known(near: Tensor, unknown: Tensor, seen: Refinement) -> Refinement:
    """Depths (B, R, F) that are given, and where they are unknown (B, R, 1) what the first pass suggests."""
    return lambda edges, weights: torch.where(unknown, seen(edges, weights), near)

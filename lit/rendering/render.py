"""Rendering of fields: rays, samples, the field's values there, and their integral.

The way of a ray: a sampler says at which depths the field is asked (:mod:`lit.rendering.samplers`); a refinement may
look at the weights of these samples and ask for more; the quadrature cuts the ray into pieces
(:mod:`lit.networks.fields.quadrature`); a hook may look at the values of the pieces, or scale their gradients, before
they are integrated. The field itself is any function from points to :class:`FieldValues`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lit.networks.fields.field_values import Field, FieldValues
from lit.networks.fields.quadrature import Rendering, integrate, midpoints, ray_weights, spans
from lit.rendering.rays import clip_to_cube, image_pixels, projection_rays
from lit.rendering.samplers import Refinement, Sampler, in_cube

Hook = Callable[[FieldValues, Tensor], FieldValues]
"""Values (B, C, R, S), density (B, R, S), and depths (B, R, S) of the pieces to the values that are integrated."""

Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Optical thickness, lengths and depths (B, R, S) of the pieces to their weights (B, R, S)."""


def render_rays(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    sampler: Sampler,
    refine: Refinement | None = None,
    activation: Callable[[Tensor], Tensor] | None = None,
    hook: Hook | None = None,
    weigh: Weigh | None = None,
) -> Rendering:
    """Render rays (B, R, 3) of B objects. Rays that miss what the sampler samples come out empty.

    Args:
        field: its density is raw where an activation is given.
        sampler: where the first pass asks the field.
        refine: where a second pass asks it again, from what the first one saw (without gradients).
        activation: turns raw into true density after the mean of each two samples, EG3D's rule
            (:func:`lit.networks.fields.quadrature.midpoints`); None: every sample stands for its own piece.
        hook: comes between field and quadrature.
        weigh: the quadrature's weights, for who wants to keep them or to scale their gradients; None: ``ray_weights``.
    """
    depths, width = sampler(origins, directions)
    widths, lengths = width.unsqueeze(-1), directions.norm(dim=-1, keepdim=True)

    def ask(depths: Tensor) -> FieldValues:
        points = origins.unsqueeze(-2) + directions.unsqueeze(-2) * depths.unsqueeze(-1)
        return field(points.flatten(1, 2)).each(lambda channel: channel.unflatten(-1, depths.shape[1:]))

    def cut(values: FieldValues, depths: Tensor, widths: Tensor) -> tuple[FieldValues, Tensor, Tensor]:
        return (values, depths, widths) if activation is None else midpoints(values, depths, activation)

    values = ask(depths)
    if refine is not None:
        with torch.no_grad():
            pieces, _, extents = cut(values, depths, widths)
            weights = ray_weights(pieces.density * (extents * lengths), bounded=True)
            if activation is None:  # each sample's weight lies about it
                more = refine((depths[..., 1:] + depths[..., :-1]) / 2, weights[..., 1:-1])
            else:
                more = refine(depths, weights)
        values, depths = _merged(values, depths, ask(more), more)
        widths = spans(depths, widths)
    values, depths, widths = cut(values, depths, widths)
    if hook is not None:
        values = hook(values, depths)
    extents = widths * lengths
    thickness = values.density * extents
    weights = ray_weights(thickness, bounded=True) if weigh is None else weigh(thickness, extents, depths)
    return integrate(values, weights, depths)


def _merged(first: FieldValues, depths: Tensor, second: FieldValues, more: Tensor) -> tuple[FieldValues, Tensor]:
    """Two passes' values and depths as those of one, in the order of their depths."""
    depths, order = torch.sort(torch.cat([depths, more], -1), -1)

    def merged(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        if a is None or b is None:
            return None
        places = order if a.ndim == 3 else order.unsqueeze(1).expand(-1, a.shape[1], -1, -1)
        return torch.cat([a, b], -1).gather(-1, places)

    return FieldValues(*map(merged, first, second)), depths  # type: ignore[arg-type]


@torch.no_grad()
def render_image(
    field: Field,
    projection: Tensor,
    height: int,
    width: int,
    samples: int = 64,
    chunk: int = 1 << 19,
    half: float | Tensor = 1.0,
    corner: tuple[int, int] = (0, 0),
    sampler: Sampler | None = None,
    refine: Refinement | None = None,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Rendering:
    """Render one object whole, (H, W) pixels of every channel; depth in metres.

    Only rays that meet the cube are evaluated.

    Args:
        field: a field of one object (B = 1).
        projection: (3, 4) canonical cube to pixels.
        height: rows of the image.
        width: columns of the image.
        samples: samples a ray in one pass.
        chunk: points evaluated at once; bounds the memory.
        half: half-size of the box that is drawn, a number or (3,).
        corner: u, v of the top-left pixel.
        sampler: places these samples on any number of rays; None: between entry into and exit from the box.
        refine: see :func:`render_rays`, as is ``activation``.
    """
    origins, directions = projection_rays(projection, image_pixels(height, width, projection.device, corner))
    near, far = clip_to_cube(origins, directions, half)
    hit = torch.nonzero(far > near)[:, 0]
    sampler = sampler or in_cube(samples, half=half)
    drawn = [
        render_rays(field, origins[None, rays], directions[None, rays], sampler, refine, activation)
        for rays in hit.split(max(1, chunk // samples))
    ]

    def whole(channels: tuple[Tensor | None, ...]) -> Tensor | None:
        known = [channel[0] for channel in channels if channel is not None]
        if not known:
            return None
        image = known[0].new_zeros(len(origins), *known[0].shape[1:])
        return image.index_copy(0, hit, torch.cat(known)).unflatten(0, (height, width))

    return Rendering(*map(whole, zip(*drawn)))  # type: ignore[arg-type]

"""Label maps of a field's semantic parts, seen from a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from lit.networks.fields.field_values import Field
from lit.rendering.render import render_image


def render_parts(
    field: Field, projection: Tensor, height: int, width: int, samples: int = 64, chunk: int = 1 << 18
) -> tuple[Tensor, Tensor]:
    """Render one object with its parts; arguments are :func:`lit.rendering.render.render_image`'s.

    Returns:
        (H, W, 4) premultiplied RGBA in [0, 1]; (H, W) uint8 labels: the part with the largest weighted sum of logits
        where the opacity is above a half, 0 (background) elsewhere.
    """
    out = render_image(field, projection, height, width, samples, chunk)
    assert out.parts is not None, "a field without part logits has no part map"
    return out.rgba, torch.where(out.opacity > 0.5, out.parts.argmax(-1), 0).to(torch.uint8)

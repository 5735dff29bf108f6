"""Label maps of a field's semantic parts, seen from a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from lit.rendering.rendering import Field, clip_to_cube, image_pixels, projection_rays, render_rays


@torch.no_grad()
def render_parts(
    field: Field, projection: Tensor, height: int, width: int, samples: int = 64, chunk: int = 1 << 18
) -> tuple[Tensor, Tensor]:
    """Render one object with its parts.

    Args:
        field: a field of one object (B = 1) with part logits.
        projection: (3, 4) canonical cube to pixels.
        height: rows of the image.
        width: columns of the image.
        samples: samples a ray.
        chunk: points evaluated at once; bounds the memory.

    Returns:
        (H, W, 4) premultiplied RGBA in [0, 1]; (H, W) uint8 labels: the part with the largest weighted sum of logits
        where the opacity is above a half, 0 (background) elsewhere.
    """
    origins, directions = projection_rays(projection, image_pixels(height, width, projection.device))
    near, far = clip_to_cube(origins, directions)
    rgba = origins.new_zeros(height * width, 4)
    labels = torch.zeros(height * width, dtype=torch.uint8, device=origins.device)
    for rays in torch.nonzero(far > near)[:, 0].split(max(1, chunk // samples)):
        out = render_rays(field, origins[None, rays], directions[None, rays], samples)
        assert out.parts is not None, "a field without part logits has no part map"
        rgba[rays] = torch.cat([out.rgb[0], out.opacity[0, :, None]], -1)
        labels[rays] = torch.where(out.opacity[0] > 0.5, out.parts[0].argmax(-1), 0).to(torch.uint8)
    return rgba.view(height, width, 4), labels.view(height, width)

"""Photographs larger than a network works at, and its renders enlarged to them again (G3DR's super-resolution).

The network sees photographs shrunk to its own resolution and is trained there; what it draws is enlarged by a trained
:class:`lit.generators.upsampler.Upsampler` to the photographs' size, where callbacks compare.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.photos.photo import PhotoBatch
from lit.generators.upsampler import Upsampler
from lit.rendering.rendered_views import RenderedViews

_GREY = 0.5


def shrunk_projection(projection: Tensor, scale: int) -> Tensor:
    """Projections (..., 3, 4) to the pixels of pictures that are ``scale`` times smaller."""
    shift = (1 / scale - 1) / 2
    rows = torch.tensor([[1 / scale, 0, shift], [0, 1 / scale, shift], [0, 0, 1]], dtype=torch.float64)
    return rows.to(projection.device) @ projection.double()


def shrunk_photos(batch: PhotoBatch, scale: int) -> PhotoBatch:
    """Photographs ``scale`` times smaller: colours are averaged, depth is not mixed across edges.

    Raises:
        InputError: a side that the scale does not divide.
    """
    side = batch.images.shape[2]
    if side % scale:
        raise InputError(f"photographs of {side} pixels: expected a multiple of {scale}; correct data.size")
    alpha = batch.alpha.unsqueeze(1)
    weighed, share = (F.avg_pool2d(part, scale) for part in (batch.images.float() * alpha, alpha))
    plain = F.avg_pool2d(batch.images.float(), scale)  # where nothing is opaque
    images = torch.where(share > 0, weighed / share.clamp_min(1e-6), plain).round().clamp(0, 255).to(torch.uint8)
    middle = slice(scale // 2, None, scale)
    return replace(
        batch,
        images=images,
        depth=torch.where(share[:, 0] > 0.5, batch.depth[:, middle, middle], torch.full_like(share[:, 0], torch.nan)),
        projection=shrunk_projection(batch.projection, scale),
        alpha=share[:, 0],
        known=-F.max_pool2d(-batch.known.unsqueeze(1), scale)[:, 0],  # what hides a part hides all
    )


@torch.no_grad()
def enlarged(views: RenderedViews, network: Upsampler) -> RenderedViews:
    """Views (V, S, S) at ``scale`` times the size; opacity and depth by linear interpolation."""
    scale = network.network.scale
    rgba = views.rgba.permute(0, 3, 1, 2)
    colour = network(rgba[:, :3] + (1 - rgba[:, 3:]) * _GREY)
    maps = [rgba[:, 3:]] if views.depth is None else [rgba[:, 3:], views.depth.unsqueeze(1)]
    grown = F.interpolate(torch.cat(maps, 1), scale_factor=scale, mode="bilinear", align_corners=False)
    alpha = grown[:, :1].clamp(0, 1)
    straight = torch.minimum((colour - (1 - alpha) * _GREY).clamp_min(0), alpha)
    depth = None if views.depth is None else grown[:, 1]
    return RenderedViews(torch.cat([straight, alpha], 1).permute(0, 2, 3, 1), depth)

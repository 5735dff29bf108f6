"""EG3D's volume rendering through cameras of 25 numbers: stratified samples, importance samples, mid-point pieces.

Source: Chan et al., CVPR 2022, released code (``RaySampler``, ``ImportanceRenderer``, ``MipRayMarcher2``), which
pix2pix3D renders with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.batch_draws import batch_draw
from lit.networks.fields.field_values import Field
from lit.networks.fields.softplus_decoder import softplus_density
from lit.networks.pix2pix3d.march import March, RenderedField
from lit.rendering.rays import image_pixels
from lit.rendering.render import render_rays
from lit.rendering.samplers import between, importance

UNSEEN = 1e-6  # opacity up to which a ray has no depth; the released code divides its rounding errors there
FLOOR = 0.01 + 1e-5  # of the weights that importance samples follow: two constants of the released code


def camera_rays(cameras: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """World rays of the pixel centres: origins and unit directions (B, size * size, 3), row by row from the top.

    Args:
        cameras: (B, 25) camera to world (x right, y down, z forward) row by row, then intrinsics, skew included,
            divided by the image's size.
        size: pixels a side.
    """
    pose, intrinsics = cameras[:, :16].view(-1, 4, 4), cameras[:, 16:].view(-1, 3, 3)
    place = (image_pixels(size, size, cameras.device) + 0.5) / size
    homogeneous = torch.cat([place, torch.ones_like(place[:, :1])], 1)
    # In double precision as other rays here: float32's inverse costs a digit that depth multiplies.
    turned = pose[:, :3, :3].double() @ torch.linalg.inv(intrinsics.double())
    directions = (homogeneous.double() @ turned.transpose(1, 2)).float()
    origins = pose[:, None, :3, 3].expand_as(directions)
    return origins, directions / directions.norm(dim=-1, keepdim=True)


class CameraMarch(March):
    """Samples between two distances, more of them where light stops, and their integral.

    Args:
        near: distance of the first sample from the camera, in the world's unit.
        far: of the last one, which its place within a bin moves beyond (the released code).
        coarse: samples of the first pass.
        fine: importance samples of the second; 0 for none.
        white: rays end on white, in every channel (the released code; cars).

    Raises:
        InputError: an empty range or too few samples.
    """

    def __init__(self, near: float, far: float, coarse: int = 48, fine: int = 48, white: bool = False) -> None:
        if not 0 <= near < far or coarse < 4 or fine < 0:
            raise InputError(
                f"march from {near:g} to {far:g} with {coarse} and {fine} samples: expected 0 <= near < far,"
                " at least 4 samples and then 0 or more"
            )
        self.config: dict[str, Any] = {"near": near, "far": far, "coarse": coarse, "fine": fine, "white": white}
        self.near, self.far, self.coarse, self.fine, self.white = near, far, coarse, fine, white

    def places(self, batch: int, rays: int, draw: torch.Generator | None) -> tuple[Tensor | None, Tensor]:
        """Places of the samples within their bins (B, R, coarse), None for the middles, and those of importance
        samples on the distribution of light, (B, R, fine) or (fine,).
        """
        if draw is None:
            return None, (torch.arange(self.fine) + 0.5) / max(self.fine, 1)

        def uniform(samples: int) -> Tensor:
            return batch_draw(lambda n: torch.rand(n, rays, samples, generator=draw, device=draw.device), batch)

        return uniform(self.coarse), uniform(self.fine)

    def __call__(self, field: Field, cameras: Tensor, size: int, draw: torch.Generator | None = None) -> RenderedField:
        origins, directions = camera_rays(cameras, size)
        jitter, place = self.places(len(cameras), size * size, draw)
        # The released bins begin at so many points from near to far, so the last one lies beyond.
        beyond = self.far + (self.far - self.near) / (self.coarse - 1)
        sampler = between(self.near, beyond, self.coarse, jitter)
        refine = importance(place.to(origins), floor=FLOOR, released=True) if self.fine else None
        drawn = render_rays(field, origins, directions, sampler, refine, softplus_density)
        assert drawn.parts is not None, "the field has no labels"
        assert drawn.features is not None, "the field has no features"
        depths, _ = sampler(origins, directions)
        empty = torch.full_like(drawn.depth, torch.inf)  # then the farthest sample of all rays stands for the depth
        depth = drawn.depth.where(drawn.opacity > UNSEEN, empty).clamp(depths.min(), depths.max())
        behind: Tensor | float = (1 - drawn.opacity).unsqueeze(-1) if self.white else 0.0

        def image(channels: Tensor) -> Tensor:
            return channels.transpose(1, 2).unflatten(2, (size, size))

        rgb, labels, features = (image(channels + behind) for channels in (drawn.rgb, drawn.parts, drawn.features))
        return RenderedField(rgb, labels, features, image(depth.unsqueeze(-1)), image(drawn.opacity.unsqueeze(-1)))

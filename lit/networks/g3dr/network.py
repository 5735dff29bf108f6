"""G3DR's network: from one picture with depth to a field (f_trigen and f_dec of the paper)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import DecodedPlanes, plane_levels
from lit.networks.fields.softplus_decoder import SoftplusDecoder
from lit.networks.g3dr.unet import PlaneUnet

NOTHING = 1.0  # depth of places that nobody measured: the far side of the cube


class SingleViewNetwork(nn.Module):
    """U-Net, multi-resolution tri-plane lookup and softplus decoder.

    The field lives in the frame of the camera that took the picture: x to the right, y down, z away from it, the scene
    within [-1, 1]^3. So the first plane (x, y) lies in the picture's own plane.

    Args:
        unet: pictures to planes.
        levels: resolutions the planes are looked up at, each half of the one before (section 3.3); 1 for one alone.
        hidden: width of the decoder's hidden layer.
        depth_input: let the network see the depth; without, it sees a constant (Table 5, "w/o depth input").
    """

    def __init__(self, unet: PlaneUnet, levels: int = 3, hidden: int = 64, depth_input: bool = True) -> None:
        super().__init__()
        self.unet, self.levels, self.depth_input = unet, levels, depth_input
        self.decoder = SoftplusDecoder(unet.plane_channels, hidden=hidden)

    def forward(self, images: Tensor, depth: Tensor, projection: Tensor) -> Tensor:
        """Planes (B, 3, C, R, R).

        Args:
            images: (B, 3, R, R) in [0, 1].
            depth: (B, R, R) along the camera's axis in the unit of the projection, NaN where unknown.
            projection: (B, 3, 4) from the cube to pixels; its third row is depth.
        """
        seen = centred_depth(depth, projection) if self.depth_input else torch.zeros_like(depth)
        planes: Tensor = self.unet(torch.cat([2 * images - 1, seen.unsqueeze(1).to(images)], 1))
        return planes

    def field(self, planes: Tensor, raw: bool = True) -> DecodedPlanes:
        """The field of planes (B, 3, C, R, R); its density raw, as the midpoint rule wants it, or true."""
        decode: Callable[[Tensor], FieldValues] = self.decoder.raw if raw else self.decoder
        return DecodedPlanes(plane_levels(planes, self.levels), decode)


def centred_depth(depth: Tensor, projection: Tensor) -> Tensor:
    """Depth (B, H, W) as place along the camera's axis in the cube, within [-1, 1]; unknown depth lies at 1."""
    row = projection[:, 2].to(depth.dtype)
    centre, unit = row[:, 3, None, None], row[:, :3].norm(dim=1)[:, None, None]
    return torch.nan_to_num((depth - centre) / unit, nan=NOTHING).clamp(-1, 1)

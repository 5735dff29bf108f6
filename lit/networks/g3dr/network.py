"""G3DR's network: from one picture with depth to a field (f_trigen and f_dec of the paper)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import DecodedPlanes, plane_levels
from lit.networks.fields.softplus_decoder import SoftplusDecoder
from lit.networks.g3dr.unet import PlaneUnet

LINEAR = 4.0  # softplus(x + 4) - 4 is x to .02 for x > 0, to .3 for x > -3
FAINT = 0.1
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
        decoder_rate: factor on the decoder's learning rate, whose weights StyleGAN's scaling slows in short trainings.

    Raises:
        InputError: a straight way with fewer features than colours, or levels that the planes have not.
    """

    def __init__(
        self,
        unet: PlaneUnet,
        levels: int = 3,
        hidden: int = 64,
        depth_input: bool = True,
        decoder_rate: float = 1.0,
    ) -> None:
        super().__init__()
        if levels < 1 or unet.resolution < 2 ** (levels - 1):
            most = int(math.log2(unet.resolution)) + 1
            raise InputError(f"levels {levels}: expected 1 to {most} of planes of {unet.resolution} texels a side")
        self.unet, self.levels, self.depth_input, self.decoder_rate = unet, levels, depth_input, decoder_rate
        self.decoder = SoftplusDecoder(unet.plane_channels, hidden=hidden, lr_multiplier=decoder_rate)
        if unet.straight is not None:
            if min(hidden, unet.plane_channels) < 3:
                raise InputError(
                    f"straight: {unet.plane_channels} plane_channels and hidden {hidden}, expected at least 3 of both"
                )
            unet.straight.pass_colours(levels)
            pass_colours(self.decoder)

    @property
    def settings(self) -> dict[str, float]:
        """What no weight's shape tells: of other settings, the same weights are another network."""
        return {"levels": self.levels, "depth_input": self.depth_input, "decoder_rate": self.decoder_rate}

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


@torch.no_grad()
def pass_colours(decoder: SoftplusDecoder) -> None:
    """Let the decoder begin with the first three features as the colours' logits.

    Three hidden units take one feature each, far from zero, where softplus is the identity; what the other units say
    of colours begins near nothing.
    """
    hidden, heads = decoder.hidden, decoder.heads
    hidden.weight[:3] = torch.eye(3, hidden.weight.shape[1]) / hidden.gain
    hidden.bias[:3] = LINEAR / hidden.bias_gain
    heads.weight[1:4] *= FAINT
    heads.weight[:, :3] = 0
    heads.weight[1:4, :3] = torch.eye(3) / heads.gain
    heads.bias[1:4] = -LINEAR / heads.bias_gain


def centred_depth(depth: Tensor, projection: Tensor) -> Tensor:
    """Depth (B, H, W) as place along the camera's axis in the cube, within [-1, 1]; unknown depth lies at 1."""
    row = projection[:, 2].to(depth.dtype)
    centre, unit = row[:, 3, None, None], row[:, :3].norm(dim=1)[:, None, None]
    return torch.nan_to_num((depth - centre) / unit, nan=NOTHING).clamp(-1, 1)

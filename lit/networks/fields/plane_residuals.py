"""Per-object corrections of synthesised planes: what a shared network of small capacity cannot hold.

Lift3D's released assets are planes and styles, and a remark in its code speaks of optimising the planes themselves:
after the joint optimisation each object's planes are tuned with the network frozen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit.networks.fields.triplane_field import TriplaneField


class PlaneResiduals(nn.Module):
    """Learned additions to the planes of N objects, zero at first.

    Args:
        objects: N.
        channels: channels C of a plane.
        resolution: side R of a plane.
    """

    def __init__(self, objects: int, channels: int, resolution: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(objects, 3, channels, resolution, resolution))
        self._base: tuple[Tensor, Tensor] | None = None

    def forward(self, objects: Tensor, network: TriplaneField, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Corrected planes (B, 3, C, R, R) and styles (B, w_dim) of ``objects`` (B,), with gradients for the
        residuals only.

        The frozen network's part is synthesised once for all N objects and kept.
        """
        if self._base is None or self._base[0].device != self.values.device:
            with torch.no_grad():
                parts = [network(latent) for latent in latents.split(8)]
            self._base = torch.cat([p for p, _ in parts]), torch.cat([s for _, s in parts])
        planes, styles = self._base
        return planes[objects] + self.values[objects], styles[objects]

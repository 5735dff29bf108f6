"""EG3D's decoder of tri-plane features: one hidden softplus layer to density, colour and further features.

Source: Chan et al., "Efficient Geometry-aware 3D Generative Adversarial Networks", CVPR 2022, section 4.2 and released
code; pix2pix3D and G3DR decode with the same network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues
from lit.networks.layers.equalised import EqualLinear

HIDDEN = 64
WIDEN = 0.001  # colour reaches a little beyond [0, 1]


def softplus_density(raw: Tensor) -> Tensor:
    """Density ``softplus(raw - 1)`` per unit of the rays."""
    return F.softplus(raw - 1)


def widened_sigmoid(raw: Tensor) -> Tensor:
    """Colours a little beyond [0, 1], any shape."""
    return torch.sigmoid(raw) * (1 + 2 * WIDEN) - WIDEN


class SoftplusDecoder(nn.Module):
    """Features to colour, density and, activated like colour, further features.

    Args:
        inputs: channels C of the planes.
        features: further channels, 29 in EG3D; 0 for none.
        hidden: width of the hidden layer.
        lr_multiplier: factor on the layers' learning rate.
    """

    def __init__(self, inputs: int = 32, features: int = 0, hidden: int = HIDDEN, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.hidden = EqualLinear(inputs, hidden, lr_multiplier, activate=False)
        self.heads = EqualLinear(hidden, 4 + features, lr_multiplier, activate=False)

    def outputs(self, features: Tensor) -> Tensor:
        """What the heads (B, 4 + features, P) say of features (B, C, P), the density first, nothing activated."""
        out: Tensor = self.heads(F.softplus(self.hidden(features.transpose(1, 2))))
        return out.transpose(1, 2).float()

    def raw(self, features: Tensor) -> FieldValues:
        """Decode features (B, C, P), the density without its activation: what EG3D averages between two samples."""
        out = self.outputs(features)
        colour = widened_sigmoid(out[:, 1:])
        return FieldValues(colour[:, :3], out[:, 0], features=colour[:, 3:] if colour.shape[1] > 3 else None)

    def forward(self, features: Tensor) -> FieldValues:
        """Decode features (B, C, P)."""
        values = self.raw(features)
        return values._replace(density=softplus_density(values.density))

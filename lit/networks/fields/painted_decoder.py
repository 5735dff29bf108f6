"""Geometry and parts of one object with the colours of another: how Lift3D's released asset is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.siren import SirenDecoder


class PaintedDecoder(nn.Module):
    """Decodes two objects' features at the same points; density and part logits from the first, colour from the second.

    Features and styles of both are laid one after the other along the channels, so that planes of (3, 2C, R, R) and
    styles of (2 w_dim,) go through lookup, rendering and baking like a single object's.

    Args:
        decoder: the decoder that both objects share.
        parts: part indices that take the second object's colour while the others keep the first one's; None: all.
    """

    def __init__(self, decoder: SirenDecoder, parts: Sequence[int] | None = None) -> None:
        super().__init__()
        self.decoder = decoder
        self.parts = None if parts is None else sorted(set(parts))

    def forward(self, features: Tensor, style: Tensor) -> FieldValues:
        """Values of features (B, 2C, P) under styles (B, 2 w_dim)."""
        shape_features, colour_features = features.chunk(2, 1)
        shape_style, colour_style = style.chunk(2, 1)
        shape = self.decoder(shape_features, shape_style)
        rgb = self.decoder(colour_features, colour_style).rgb
        if self.parts is not None and shape.parts is not None:
            chosen = torch.isin(shape.parts.argmax(1), torch.tensor(self.parts, device=rgb.device))
            rgb = torch.where(chosen[:, None], rgb, shape.rgb)
        return FieldValues(rgb, shape.density, shape.parts)

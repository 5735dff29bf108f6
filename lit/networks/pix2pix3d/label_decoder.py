"""pix2pix3D's two decoders of the same tri-plane features: one for colour, one for density and labels.

Source: released code (``OSGDecoder_semantic_lateSeparate``). The density is the label decoder's; the colour decoder has
an output for one, too, which goes unused.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.softplus_decoder import HIDDEN, SoftplusDecoder, softplus_density, widened_sigmoid

COLOURS = 3


class LabelDecoder(nn.Module):
    """Features to colour, density, labels, and further features of both decoders for the upsamplers.

    Args:
        inputs: channels C of the planes.
        classes: logits of a point; 1 for edges, which are activated like colours.
        features: channels that each decoder gives: its colours or labels come first.
        hidden: width of each hidden layer.

    Raises:
        InputError: fewer features than colours or classes.
    """

    def __init__(self, inputs: int = 32, classes: int = 1, features: int = 32, hidden: int = HIDDEN) -> None:
        super().__init__()
        if features <= max(COLOURS, classes):
            raise InputError(
                f"decoder of {features} features: expected more than {COLOURS} colours and {classes} classes"
            )
        self.classes, self.features = classes, features
        self.colour = SoftplusDecoder(inputs, features - COLOURS, hidden)
        self.label = SoftplusDecoder(inputs, features - COLOURS, hidden)

    def raw(self, features: Tensor) -> FieldValues:
        """Decode features (B, C, P), the density raw; ``features`` are the colour decoder's rest, then the label's."""
        colour = self.colour.raw(features)
        assert colour.features is not None  # there are more than the colours
        out = self.label.outputs(features)
        label = widened_sigmoid(out[:, 1:]) if self.classes == 1 else out[:, 1:]
        rest = torch.cat([colour.features, label[:, self.classes :]], 1)
        return FieldValues(colour.rgb, out[:, 0], label[:, : self.classes], rest)

    def forward(self, features: Tensor) -> FieldValues:
        """Decode features (B, C, P)."""
        values = self.raw(features)
        return values._replace(density=softplus_density(values.density))

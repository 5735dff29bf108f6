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

    @torch.no_grad()
    def fused(self) -> SoftplusDecoder:
        """One decoder, of both hidden layers, that gives the same colour and density, and nothing else."""
        label, colour = self.label, self.colour
        inputs, width = label.hidden.weight.shape[1], label.hidden.weight.shape[0]
        one = SoftplusDecoder(inputs, hidden=2 * width)
        heads, offsets = torch.zeros(1 + COLOURS, 2 * width), torch.zeros(1 + COLOURS)
        for rows, columns, part in ((slice(0, 1), slice(0, width), label), (slice(1, 4), slice(width, None), colour)):
            one.hidden.weight[columns] = part.hidden.weight * (part.hidden.gain / one.hidden.gain)
            one.hidden.bias[columns] = part.hidden.bias * part.hidden.bias_gain
            heads[rows, columns] = (part.heads.weight * (part.heads.gain / one.heads.gain))[rows]
            offsets[rows] = (part.heads.bias * part.heads.bias_gain)[rows]
        one.heads.weight.copy_(heads)
        one.heads.bias.copy_(offsets)
        return one

    def forward(self, features: Tensor) -> FieldValues:
        """Decode features (B, C, P)."""
        values = self.raw(features)
        return values._replace(density=softplus_density(values.density))

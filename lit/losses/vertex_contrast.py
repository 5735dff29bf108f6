"""Features that tell the vertices of a mesh apart, and from what is not the object."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEFT_OUT = -1e5


def vertex_contrast(
    features: Tensor,
    bank: Tensor,
    clutter: Tensor,
    places: Tensor,
    visible: Tensor,
    near: float,
    temperature: float = 0.07,
    clutter_weight: float = 5e-3,
) -> Tensor:
    """(B,) mean cross-entropy of naming each visible vertex by its feature in a picture; 0 where none is visible.

    Vertices that stand close to it in the picture are no rivals: their features may agree.

    Source: NeMo's released code, which writes the paper's distances to other vertices and to clutter (equations 7 and
    8) as one softmax.

    Args:
        features: (B, V, D) unit features of a picture where its vertices stand.
        bank: (B, V, D) unit features of the vertices themselves.
        clutter: (K, D) unit features of other places.
        places: (B, V, 2) where the vertices stand, in any unit.
        visible: (B, V) bool.
        near: distance in that unit up to which vertices are no rivals.
        temperature: of the softmax.
        clutter_weight: of each feature of the clutter.
    """
    count = features.shape[1]
    close = (torch.cdist(places, places) <= near) & ~torch.eye(count, dtype=torch.bool, device=places.device)
    rivals = (features @ bank.transpose(1, 2) / temperature).masked_fill(close, LEFT_OUT)
    others = features @ clutter.T / temperature + math.log(clutter_weight)
    target = torch.arange(count, device=features.device).expand(len(features), -1)
    logits = torch.cat([rivals, others], -1)
    entropy = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").reshape(visible.shape)
    return (entropy * visible).sum(1) / visible.sum(1).clamp_min(1)

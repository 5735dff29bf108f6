"""A thing means the same from wherever it is seen: distance of CLIP's image features (G3DR's L_CLIP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.features.pretrained import OpenClipExtractor

RANDOM = "random"  # what has to be said instead of a file
DISTANCES = ("l1", "cosine")


class ClipViewDistance(nn.Module):
    """Distance of CLIP's image embeddings.

    Args:
        weights: checkpoint of the whole open_clip model; "random" for weights that never saw a picture.
        model: open_clip's name; the released code has ViT-B-16.
        distance: "l1", the mean absolute difference (released code), or "cosine", one less the similarity.

    Raises:
        InputError: no weights, no such file, another model's weights, or an unknown distance.
    """

    def __init__(self, weights: str | None = None, model: str = "ViT-B-16", distance: str = "l1") -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise InputError(f"clip distance '{distance}': expected one of {', '.join(DISTANCES)}")
        self.distance = distance
        self.features = OpenClipExtractor(model, None if weights == RANDOM else weights, random=weights == RANDOM)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Distance of images (B, 3, H, W) in [0, 1], a scalar; the target carries no gradient."""
        with torch.no_grad():
            wanted = self.features.vector(target)
        found = self.features.vector(rendered)
        if self.distance == "l1":
            return (found - wanted).abs().mean()
        return 1 - torch.cosine_similarity(found, wanted, dim=1).mean()

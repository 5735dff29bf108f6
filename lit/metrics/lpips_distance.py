"""LPIPS with weights from a local file: nothing is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path

import lpips
import torch
from torch import Tensor, nn

from datamodules.errors import InputError


class LpipsDistance(nn.Module):
    """LPIPS (VGG16, version 0.1) of Zhang et al. 2018: the package's own linear weights on torchvision's features.

    Args:
        vgg16: file with torchvision's ``vgg16`` state dict (``vgg16-397923af.pth``).
    """

    def __init__(self, vgg16: str) -> None:
        super().__init__()
        if not Path(vgg16).is_file():
            raise InputError(
                f"{vgg16}: no VGG16 weights there; give torchvision's vgg16 state dict, or null for no LPIPS"
            )
        state = torch.load(vgg16, map_location="cpu", weights_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips still passes torchvision's deprecated "pretrained"
            self.model = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        features = self.model.net.state_dict()
        for name in features:  # slice2.5.weight is torchvision's features.5.weight
            key = "features." + name.split(".", 1)[1]
            if key not in state:
                raise InputError(f"{vgg16}: key {key} is missing; expected torchvision's vgg16 state dict")
            features[name] = state[key]
        self.model.net.load_state_dict(features)
        self.requires_grad_(False)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Distances (B,) of images (B, 3, H, W) in [0, 1]."""
        return self.model(rendered, target, normalize=True).flatten()

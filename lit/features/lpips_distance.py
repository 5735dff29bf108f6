"""LPIPS with weights from a local file: nothing is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path

import lpips
from torch import Tensor, nn

from lit.weights.weight_files import fit_state, read_state


class LpipsDistance(nn.Module):
    """LPIPS (VGG16, version 0.1) of Zhang et al. 2018: the package's own linear weights on torchvision's features.

    Args:
        vgg16: file with torchvision's ``vgg16`` state dict (``vgg16-397923af.pth``).
    """

    def __init__(self, vgg16: str) -> None:
        super().__init__()
        state = read_state(Path(vgg16), "torchvision's vgg16, or null for no LPIPS")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips still passes torchvision's deprecated "pretrained"
            self.model = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        torchvisions = {name: "features." + name.split(".", 1)[1] for name in self.model.net.state_dict()}
        given = {name: state[key] for name, key in torchvisions.items() if key in state}
        fit_state(self.model.net, given, Path(vgg16), "torchvision's vgg16")  # slice2.5.weight: its features.5.weight
        self.requires_grad_(False)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Distances (B,) of images (B, 3, H, W) in [0, 1]."""
        return self.model(rendered, target, normalize=True).flatten()

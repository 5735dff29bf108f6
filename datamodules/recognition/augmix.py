"""AugMix whose draws follow from one number."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from datamodules.errors import InputError


class AugMix:
    """Mixes a picture with chains of distortions of itself, by torchvision.

    Its distortions include brightness, contrast, colour and sharpness, which the paper leaves out because its test sets
    change them; so does the split "light" here. Some turn, shear or shift the picture by a little; labels of pose stay
    as they are, as in the tables that this row is compared with. The paper's consistency loss is not part of it.

    Source: Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", ICLR
    2020.

    Args:
        severity: of the distortions, 1 to 10.
        width: chains that are mixed.
        depth: distortions a chain; -1 draws one to three.
        alpha: of the Dirichlet and beta distributions that the weights are drawn from.
    """

    def __init__(self, severity: int = 3, width: int = 3, depth: int = -1, alpha: float = 1.0) -> None:
        if not (1 <= severity <= 10 and width >= 1 and (depth >= 1 or depth == -1) and alpha > 0):
            stated = f"severity {severity}, width {width}, depth {depth}, alpha {alpha:g}"
            raise InputError(f"AugMix: {stated}; expected 1 to 10, 1 or more, 1 or more or -1, above 0")
        self.transform = v2.AugMix(severity, width, depth, alpha)

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """(3, S, S) uint8 of an image (3, S, S) uint8; the same seed gives the same picture anywhere."""
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
            torch.default_generator.manual_seed(seed)
            mixed: Tensor = self.transform(image)
        return mixed

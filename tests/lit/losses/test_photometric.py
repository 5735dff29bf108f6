from __future__ import annotations

import torch

from lit.losses.photometric import photometric_loss


def test_photometric_regions() -> None:
    target = torch.tensor([[0.2, 0.4, 0.6, 1.0], [0.9, 0.9, 0.9, 0.0]])
    rgb, opacity = torch.tensor([[0.2, 0.4, 0.6], [0.0, 0, 0]]), torch.tensor([1.0, 0.0])
    background = torch.full((2, 3), 0.3)
    assert photometric_loss(rgb, opacity, target, background) < 1e-6
    assert photometric_loss(rgb, opacity, target, None, "mask") < 1e-6
    fog = torch.tensor([1.0, 0.5])
    assert photometric_loss(rgb, fog, target, background) > 0.01
    assert photometric_loss(rgb, fog, target, None, "mask") < 1e-6

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from datamodules.errors import InputError
from lit.losses.perceptual import PerceptualLoss


def test_perceptual_loss_is_seeded_and_differentiable() -> None:
    a, b = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    first, second = PerceptualLoss(seed=3), PerceptualLoss(seed=3)
    value = first(a, b)
    assert torch.equal(value, second(a, b))
    assert first(b, b) == 0
    value.backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0


def test_perceptual_loss_reads_torchvision_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.vgg16(weights=None).eval()
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith("features")}, tmp_path / "vgg16.pth")
    loss = PerceptualLoss(str(tmp_path / "vgg16.pth"))
    image = torch.rand(1, 3, 32, 32)
    wanted = model.features[:16]((image - loss.layers.mean) / loss.layers.std)
    assert torch.allclose(loss.layers.maps(image)[0], wanted, atol=1e-5)
    with pytest.raises(InputError, match="no such file; expected weights of torchvision's vgg16, or null"):
        PerceptualLoss(str(tmp_path / "missing.pth"))
    torch.save({key: value[:1] for key, value in model.state_dict().items()}, tmp_path / "narrow.pth")
    with pytest.raises(InputError, match=r"features\.0\.weight has the shape \(1, 3, 3, 3\), expected \(64, 3, 3, 3\)"):
        PerceptualLoss(str(tmp_path / "narrow.pth"))

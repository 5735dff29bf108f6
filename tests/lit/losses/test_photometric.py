from __future__ import annotations

import pytest
import torch
import torchvision

from datamodules.errors import InputError
from lit.losses.photometric import PerceptualLoss, photometric_loss, semantic_loss, soft_iou_loss


def test_soft_iou_is_its_formula_and_one_minus_iou_on_binary_masks():
    a, b = torch.rand(3, 50), torch.rand(3, 50)
    wanted = 1 - ((a * b).sum(1) / (a + b - a * b).sum(1)).mean()
    assert torch.allclose(soft_iou_loss(a, b), wanted)
    hard = (a > 0.5).float(), (b > 0.5).float()
    union = torch.maximum(*hard).sum(1)
    assert torch.allclose(soft_iou_loss(*hard), 1 - (torch.minimum(*hard).sum(1) / union).mean())
    assert soft_iou_loss(hard[0], hard[0]) < 1e-6


def test_photometric_regions():
    target = torch.tensor([[0.2, 0.4, 0.6, 1.0], [0.9, 0.9, 0.9, 0.0]])
    rgb, opacity = torch.tensor([[0.2, 0.4, 0.6], [0.0, 0, 0]]), torch.tensor([1.0, 0.0])
    background = torch.full((2, 3), 0.3)
    assert photometric_loss(rgb, opacity, target, background) < 1e-6
    assert photometric_loss(rgb, opacity, target, None, "mask") < 1e-6
    fog = torch.tensor([1.0, 0.5])
    assert photometric_loss(rgb, fog, target, background) > 0.01
    assert photometric_loss(rgb, fog, target, None, "mask") < 1e-6


def test_perceptual_loss_is_seeded_and_differentiable():
    a, b = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    first, second = PerceptualLoss(seed=3), PerceptualLoss(seed=3)
    value = first(a, b)
    assert torch.equal(value, second(a, b))
    assert first(b, b) == 0
    value.backward()
    assert a.grad.abs().sum() > 0


def test_perceptual_loss_reads_torchvision_weights(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.vgg16(weights=None).eval()
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith("features")}, tmp_path / "vgg16.pth")
    loss = PerceptualLoss(str(tmp_path / "vgg16.pth"))
    image = torch.rand(1, 3, 32, 32)
    wanted = model.features[:16]((image - loss.mean) / loss.std)
    assert torch.allclose(loss.features(image)[0], wanted, atol=1e-5)
    with pytest.raises(InputError, match="no such file; expected weights of torchvision's vgg16, or null"):
        PerceptualLoss(str(tmp_path / "missing.pth"))
    torch.save({key: value[:1] for key, value in model.state_dict().items()}, tmp_path / "narrow.pth")
    with pytest.raises(InputError, match=r"features\.0\.weight has the shape \(1, 3, 3, 3\), expected \(64, 3, 3, 3\)"):
        PerceptualLoss(str(tmp_path / "narrow.pth"))


def test_semantic_loss_prefers_the_right_part():
    labels, alpha = torch.tensor([[1, 2]]), torch.ones(1, 2)
    right = torch.nn.functional.one_hot(labels, 4).float() * 5
    assert semantic_loss(right, labels, alpha) < semantic_loss(-right, labels, alpha)

from __future__ import annotations

import torch

from lit.losses.mask import semantic_loss, soft_iou_loss


def test_soft_iou_is_its_formula_and_one_minus_iou_on_binary_masks() -> None:
    a, b = torch.rand(3, 50), torch.rand(3, 50)
    wanted = 1 - ((a * b).sum(1) / (a + b - a * b).sum(1)).mean()
    assert torch.allclose(soft_iou_loss(a, b), wanted)
    hard = (a > 0.5).float(), (b > 0.5).float()
    union = torch.maximum(*hard).sum(1)
    assert torch.allclose(soft_iou_loss(*hard), 1 - (torch.minimum(*hard).sum(1) / union).mean())
    assert soft_iou_loss(hard[0], hard[0]) < 1e-6


def test_semantic_loss_prefers_the_right_part() -> None:
    labels, alpha = torch.tensor([[1, 2]]), torch.ones(1, 2)
    right = torch.nn.functional.one_hot(labels, 4).float() * 5
    assert semantic_loss(right, labels, alpha) < semantic_loss(-right, labels, alpha)

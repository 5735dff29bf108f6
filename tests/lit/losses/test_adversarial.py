from __future__ import annotations

import math

import pytest
import torch

from lit.losses.adversarial import discriminator_loss, generator_loss, path_length, r1_at, r1_penalty


def test_losses_are_the_log_likelihoods() -> None:
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    wanted = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    assert torch.allclose(discriminator_loss(real, fake), wanted)
    assert torch.allclose(generator_loss(fake), -fake.sigmoid().log().mean())


def test_r1_of_a_quadratic_discriminator() -> None:
    """D(x) = a/2 |x|^2 has the gradient a x."""
    a, images = torch.tensor(3.0, requires_grad=True), torch.randn(4, 3, 5, 5, requires_grad=True)
    penalty = r1_penalty(a / 2 * images.square().sum((1, 2, 3)), images)
    energy = images.detach().square().sum((1, 2, 3)).mean()
    assert torch.allclose(penalty, 9 * energy, rtol=1e-5)
    penalty.backward()
    assert a.grad is not None
    assert torch.allclose(a.grad, 6 * energy, rtol=1e-5)  # second derivatives reach the weights


def test_r1_adds_up_over_inputs_that_are_judged_together() -> None:
    """D(x, y) = a/2 |x|^2 + b y has the gradients a x and b; the condition is no input."""
    images, raw = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 2, 2)
    penalty = r1_at(lambda x, y: 1.5 * x.square().sum((1, 2, 3)) + 2 * y.sum((1, 2, 3)), images, raw)
    assert torch.allclose(penalty, 9 * images.square().sum((1, 2, 3)).mean() + 4 * 12, rtol=1e-5)
    assert not images.requires_grad
    alone = r1_at(lambda x: 1.5 * x.square().sum((1, 2, 3)), images)
    assert torch.allclose(alone, penalty - 48, rtol=1e-5)


def test_path_length_of_a_linear_generator() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(3 * 4 * 4, 6, requires_grad=True)
    latents = torch.randn(2, 5, 6, requires_grad=True)
    images = torch.einsum("pk,brk->bp", matrix, latents).view(2, 3, 4, 4)  # every row has the same Jacobian
    noise = torch.randn(2, 3, 4, 4)
    penalty, lengths = path_length(images, latents, torch.tensor(0.5), noise)
    wanted = torch.stack([(matrix.detach().T @ n.flatten() / math.sqrt(16)).norm() for n in noise])
    assert torch.allclose(lengths, wanted, rtol=1e-5)
    assert penalty.item() == pytest.approx((wanted - 0.5).square().mean().item(), rel=1e-5)
    penalty.backward()
    assert matrix.grad is not None
    assert matrix.grad.norm() > 0

from __future__ import annotations

import pytest
import torch
from torch import nn

from lit.adversarial.image_cadence import Cadence, average_gradients, follow, half_life_decay


@pytest.mark.parametrize("step", [4, 8, 16, 24, 64])
def test_cadence_follows_images_and_the_gain_makes_up_for_the_batch(step: int):
    cadence = Cadence(64)
    steps = range(0, 64 * 30, step)
    due = [seen for seen in steps if cadence.due(seen, step)]
    assert len(due) == 30
    assert len(due) * cadence.gain(step) * step == 64 * 30 * (1 if step <= 64 else 0)  # weight an image, in all


def test_cadence_of_steps_beyond_the_interval_and_of_none():
    assert all(Cadence(64).due(seen, 128) for seen in range(0, 1280, 128))
    assert Cadence(64).gain(128) == 1
    assert not any(Cadence(0).due(seen, 8) for seen in range(0, 80, 8))


def test_half_life_does_not_depend_on_the_step():
    kept = half_life_decay(8, 1000.0) ** 125
    assert kept == pytest.approx(0.5)
    assert half_life_decay(1000, 1000.0) == pytest.approx(0.5)
    assert half_life_decay(8, 0.0) == 0


def test_average_moves_weights_and_copies_buffers():
    torch.manual_seed(0)
    mean, module = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    module.weight.data.fill_(3.0)
    module.running_mean.fill_(7.0)
    follow(mean, module, 0.75)
    assert torch.allclose(mean.weight, torch.full((3,), 1.5))
    assert torch.equal(mean.running_mean, module.running_mean)


def test_gradients_that_are_not_finite_do_not_end_the_training():
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.tensor([[float("nan"), 1.0]])
    average_gradients(layer)
    assert torch.equal(layer.weight.grad, torch.tensor([[0.0, 1.0]]))
    assert layer.bias.grad is None

from __future__ import annotations

import pytest
import torch
from torch import nn

from lit.adversarial.weight_average import WeightAverage


def test_half_life_does_not_depend_on_the_step() -> None:
    average = WeightAverage(nn.Identity(), nn.Identity(), 1000.0)
    assert average.kept(0, 8) ** 125 == pytest.approx(0.5)
    assert average.kept(5000, 1000) == pytest.approx(0.5)
    assert WeightAverage(nn.Identity(), nn.Identity(), 0.0).kept(0, 8) == 0


def test_half_life_grows_with_the_images_seen_up_to_its_limit() -> None:
    average = WeightAverage(nn.Identity(), nn.Identity(), 1000.0, rampup=0.1)
    assert average.kept(0, 8) == 0
    assert average.kept(500, 50) == pytest.approx(0.5)
    assert average.kept(10_000, 1000) == average.kept(50_000, 1000) == pytest.approx(0.5)


def test_average_moves_weights_and_copies_buffers() -> None:
    torch.manual_seed(0)
    mean, module = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    module.weight.data.fill_(3.0)
    assert mean.running_mean is not None
    assert module.running_mean is not None
    module.running_mean.fill_(7.0)
    WeightAverage(mean, module, 1.0).follow(0, 2)  # two half-lives
    assert not any(p.requires_grad for p in mean.parameters())
    assert torch.allclose(mean.weight, torch.full((3,), 2.5))
    assert torch.equal(mean.running_mean, module.running_mean)

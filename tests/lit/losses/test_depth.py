from __future__ import annotations

import torch

from lit.losses.depth import WeightsNearDepth, accumulated_depth, depth_loss
from lit.networks.fields.quadrature import ray_weights

NAN = float("nan")


def test_unknown_depth_counts_nothing() -> None:
    depth, opacity = torch.tensor([[5.0, 4.0, 9.0]], requires_grad=True), torch.ones(1, 3)
    loss = depth_loss(depth, opacity, torch.tensor([[5.5, 4.5, NAN]]))
    torch.testing.assert_close(loss, torch.tensor(0.5), atol=0.01, rtol=0)  # epsilon pulls a little
    (gradient,) = torch.autograd.grad(loss, depth)
    assert gradient[0, 2] == 0
    assert torch.isfinite(gradient).all()
    assert depth_loss(depth, opacity, torch.full((1, 3), NAN)) == 0


def test_faint_rays_have_little_depth() -> None:
    found = accumulated_depth(torch.tensor([5.0, 5.0]), torch.tensor([1.0, 1e-3]))
    torch.testing.assert_close(found, torch.tensor([5 / 1.001, 2.5]))


def test_weights_near_the_depth_cost_less() -> None:
    depths, lengths = torch.linspace(4, 6, 21).expand(1, 1, -1), torch.full((1, 1, 21), 0.1)
    costs = []
    for place in (10, 4):
        thickness = torch.zeros(1, 1, 21)
        thickness[..., place] = 5.0
        near = WeightsNearDepth(torch.tensor([[5.0]]), 0.1, lambda t, *_: ray_weights(t))
        weights = near(thickness, lengths, depths)
        torch.testing.assert_close(weights, ray_weights(thickness))
        costs.append(float(near.loss()))
    assert 0 < costs[0] < costs[1]

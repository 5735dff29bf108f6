from __future__ import annotations

import torch

from lit.rendering.samplers import around, between, importance, in_cube, inverse_cdf, stratified

ORIGIN, FORWARD = torch.tensor([[[-3.0, 0, 0], [-3, 5, 0]]]), torch.tensor([[[1.0, 0, 0], [1, 0, 0]]])


def test_samples_lie_in_their_bins() -> None:
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    for jitter in (None, torch.rand(2, 8), torch.rand(8)):
        depths, width = stratified(near, far, 8, jitter)
        low = near[:, None] + width[:, None] * torch.arange(8)
        assert torch.allclose(width, torch.tensor([0.25, 0.0]))
        assert (depths >= low - 1e-6).all()
        assert (depths <= low + width[:, None] + 1e-6).all()


def test_each_sampler_keeps_to_its_range() -> None:
    depths, width = in_cube(4)(ORIGIN, FORWARD)
    assert torch.allclose(depths[0, 0], torch.tensor([2.25, 2.75, 3.25, 3.75]))
    assert width.tolist() == [[0.5, 0.0]]  # the second ray misses
    depths, _ = between(2.25, 3.3, 5)(ORIGIN, FORWARD)
    assert torch.allclose(depths, (2.25 + 0.21 * (torch.arange(5) + 0.5)).expand(1, 2, 5))
    known = torch.tensor([[2.5, 3.0]])
    depths, _ = around(known, 0.05, 8, torch.rand(1, 2, 8))(ORIGIN, FORWARD)
    assert ((depths - known[..., None]).abs() <= 0.05 + 1e-6).all()


def test_importance_draws_as_the_weights_are() -> None:
    edges, weights = torch.tensor([[[0.0, 1, 3, 4]]]), torch.tensor([[[0.2, 0.6, 0.2]]])
    place = torch.tensor([0.1, 0.2, 0.5, 0.8, 0.999])
    assert torch.allclose(inverse_cdf(edges, weights, place)[0, 0], torch.tensor([0.5, 1, 2, 3, 3.995]), atol=1e-4)
    spike = torch.zeros(1, 1, 20)
    spike[..., 7] = 1.0
    fine = importance(torch.linspace(0, 0.999, 100))(torch.linspace(0, 20, 21)[None, None], spike)
    assert (fine.diff(dim=-1) >= 0).all()
    assert ((fine > 6) & (fine < 9)).float().mean() > 0.8
    assert (fine < 5).any()  # the floor leaves some to all others


def test_the_released_importance_samples_lie_half_a_piece_too_near() -> None:
    edges, spike = torch.linspace(0, 20, 21)[None, None], torch.zeros(1, 1, 20)
    spike[..., 10] = 100.0
    place = torch.linspace(0.01, 0.99, 50)
    right = importance(place, blur=False)(edges, spike)
    near = importance(place, blur=False, released=True)(edges, spike)
    assert abs(right.mean() - 10.5) < 0.05
    assert abs(near.mean() - 10.0) < 0.05

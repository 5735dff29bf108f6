from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detectors.losses import bin_centres, centre_focal, decode_multibin, gaussian_nll, laplacian_nll, multibin


def test_focal_is_near_zero_for_perfect_logits_and_large_for_inverted_ones() -> None:
    heatmap = torch.zeros(1, 1, 8, 8)
    heatmap[0, 0, 3, 4] = 1
    logits = (heatmap * 2 - 1) * 12
    weight = torch.ones_like(heatmap)
    assert centre_focal(logits, heatmap, weight) < 1e-4
    assert centre_focal(-logits, heatmap, weight) > 100


def test_focal_leaves_ignored_cells_out() -> None:
    heatmap, logits = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    logits[0, 0, 0, 0] = 9.0
    weight = torch.ones_like(heatmap)
    with_it = centre_focal(logits, heatmap, weight)
    weight[0, 0, 0, 0] = 0
    assert with_it - centre_focal(logits, heatmap, weight) > 8


def test_focal_of_extreme_logits_is_finite() -> None:
    heatmap = torch.eye(4)[None, None]
    for sign in (-1, 1):
        logits = torch.full((1, 1, 4, 4), sign * 200.0, requires_grad=True)
        centre_focal(logits, heatmap, torch.ones_like(heatmap)).backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("nll", [laplacian_nll, gaussian_nll])
def test_likelihood_is_best_where_the_scale_is_the_error(nll: Callable[..., torch.Tensor]) -> None:
    scale = torch.linspace(-4, 2, 601)
    best = scale[nll(torch.zeros(601), scale, torch.full((601,), 0.3)).argmin()]
    expected = math.log(0.3 * (math.sqrt(2) if nll is laplacian_nll else 1))
    assert best == pytest.approx(expected, abs=0.02)


@given(angle=st.floats(-math.pi, math.pi), bins=st.integers(2, 24))
def test_multibin_round_trip(angle: float, bins: int) -> None:
    """The logits and residuals that the loss likes best decode to the angle."""
    angles = torch.tensor([angle], dtype=torch.float64)
    label = int(torch.round(angles * (bins / (2 * math.pi))).long() % bins)
    logits = torch.full((1, bins), -30.0, dtype=torch.float64)
    logits[0, label] = 30
    rest = angles - bin_centres(bins).double()[label]
    residual = torch.zeros(1, bins, 2, dtype=torch.float64)
    residual[0, label] = torch.stack([torch.sin(rest), torch.cos(rest)], 1)
    assert multibin(logits, residual, angles) < 1e-5
    turn = (decode_multibin(logits, residual) - angles + math.pi) % (2 * math.pi) - math.pi
    assert abs(float(turn)) < 1e-5

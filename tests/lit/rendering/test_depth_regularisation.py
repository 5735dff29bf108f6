from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.quadrature import integrate
from lit.rendering.depth_regularisation import DepthKernel, DepthRegularisation, ScaledSide, scale_gradient

KERNEL = DepthKernel()


def pieces(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Density (1, R, S), colour (1, 3, R, S), depths and lengths of pieces along four rays."""
    draw = torch.Generator().manual_seed(seed)
    density = torch.rand(1, 4, 9, generator=draw, dtype=torch.float64) * 6
    colour = torch.rand(1, 3, 4, 9, generator=draw, dtype=torch.float64)
    edges = torch.sort(torch.rand(1, 4, 10, generator=draw, dtype=torch.float64) * 2 + 4, -1)[0]
    return density.requires_grad_(), colour.requires_grad_(), (edges[..., 1:] + edges[..., :-1]) / 2, edges.diff(dim=-1)


def picture(density: Tensor, colour: Tensor, depths: Tensor, lengths: Tensor, form: DepthRegularisation) -> Tensor:
    values = form.hook(FieldValues(colour, density), depths)
    weights = form.weigh(values.density * lengths, lengths, depths)
    out = integrate(values, weights, depths)
    return torch.cat([out.rgb.flatten(), out.opacity.flatten(), out.depth.flatten()])


@given(st.integers(0, 2**31 - 1), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_forward_is_the_identity_and_the_gradient_is_scaled_exactly(seed: int, weight: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 3, 5, generator=draw, dtype=torch.float64).requires_grad_()
    factor = torch.rand(2, 1, 5, generator=draw, dtype=torch.float64)
    scaled = scale_gradient(values, factor)
    assert torch.equal(scaled, values)
    (plain,) = torch.autograd.grad((weight * values.sin()).sum(), values)
    (found,) = torch.autograd.grad((weight * scaled.sin()).sum(), values)
    assert torch.equal(found, plain * factor)
    assert factor.grad is None


def test_numeric_derivatives_times_the_kernel_are_the_gradients() -> None:
    """As gradcheck does it: what a small step of one piece changes, times that piece's factor."""
    density, colour, depths, lengths = pieces(0)
    surface = torch.tensor([[4.4, 5.0, 5.5, float("nan")]], dtype=torch.float64)
    form = DepthRegularisation(KERNEL, surface)
    probe = torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad(picture(density, colour, depths, lengths, form) @ probe, (density, colour))
    factor = KERNEL(surface, depths)
    for index, inputs in enumerate((density, colour)):
        numeric, step = torch.zeros_like(inputs), 1e-6
        for place in np.ndindex(*inputs.shape):
            changed = [x.detach().clone() for x in (density, colour)]
            sides = []
            for sign in (1, -1):
                changed[index][place] = inputs.detach()[place] + sign * step
                sides.append(picture(*changed, depths, lengths, form) @ probe)  # type: ignore[arg-type, call-arg]
            numeric[place] = (sides[0] - sides[1]) / (2 * step)
        wanted = numeric * (factor if index == 0 else factor.unsqueeze(1))
        torch.testing.assert_close(gradients[index], wanted, rtol=1e-5, atol=1e-7)
    assert (factor[0, 3] == 1).all()  # an unknown surface scales nothing
    assert 0.05 == factor.min() < factor.max() <= 1


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_both_sides_draw_the_same_and_let_the_same_gradients_back(seed: int) -> None:
    sides: tuple[ScaledSide, ScaledSide] = ("density", "alpha")
    surface, found = torch.full((1, 4), 5.0, dtype=torch.float64), []
    for side in sides:
        density, colour, depths, lengths = pieces(seed)
        out = picture(density, colour, depths, lengths, DepthRegularisation(KERNEL, surface, side))
        found.append([out, *torch.autograd.grad(out.square().sum(), (density, colour))])
    for first, second in zip(*found):
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-9)
        assert torch.equal(first.sign(), second.sign())


def test_the_released_kernel() -> None:
    surface, away = torch.tensor([5.0]), torch.tensor([[0.0, 0.05, 0.1, 0.2, 0.3, 0.5]])
    factors = KERNEL(surface, 5.0 + away)[0]
    expected = [1.0, 1.0, 1.25 * np.exp(-1 / 3), 1.25 * np.exp(-4 / 3), 1.25 * np.exp(-3.0), 0.05]
    np.testing.assert_allclose(factors.numpy(), expected, rtol=1e-4)
    torch.testing.assert_close(KERNEL(surface, 5.0 - away), KERNEL(surface, 5.0 + away))
    assert (DepthKernel(s2=1e6)(surface, 5.0 + away) == 1).all()  # very high: nothing is regularised


@pytest.mark.parametrize("numbers", [{"s2": 0.0}, {"cmin": 0.0}, {"cmin": 0.5, "cmax": 0.4}, {"s1": -1.0}])
def test_impossible_kernels_are_one_line(numbers: dict[str, float]) -> None:
    with pytest.raises(InputError, match="depth kernel") as caught:
        DepthKernel(**numbers)
    assert "\n" not in str(caught.value)

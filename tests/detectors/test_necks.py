from __future__ import annotations

import pytest
import torch

from detectors.necks import FPN, DLAUp


@pytest.mark.parametrize(
    ("neck", "widths"),
    [
        (FPN([8, 12, 16, 20], 10), [8, 12, 16, 20]),
        (DLAUp([8, 12, 16, 20], 10), [8, 12, 16, 20]),
        (DLAUp([8, 12], 10, deformable=True), [8, 12]),
    ],
)
def test_necks_yield_the_finest_size_and_use_every_map(neck: torch.nn.Module, widths: list[int]) -> None:
    maps = [torch.randn(2, c, 24 // 2**i, 48 // 2**i, requires_grad=True) for i, c in enumerate(widths)]
    merged = neck(maps)
    assert merged.shape == (2, 10, 24, 48)
    merged.square().sum().backward()
    assert all(m.grad is not None and m.grad.abs().sum() > 0 for m in maps)


def test_sizes_that_do_not_halve_evenly_are_met() -> None:
    maps = [torch.randn(1, 4, 25, 49), torch.randn(1, 4, 13, 25), torch.randn(1, 4, 7, 13)]
    for neck in (FPN([4, 4, 4], 6), DLAUp([4, 4, 4], 6)):
        assert neck(maps).shape == (1, 6, 25, 49)

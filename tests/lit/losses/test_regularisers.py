from __future__ import annotations

import pytest
import torch

from lit.losses.regularisers import noise_structure, total_variation


def test_total_variation_counts_steps_along_both_axes() -> None:
    planes = torch.zeros(2, 3, 4, 4)
    assert total_variation(planes) == 0
    planes[..., 2:] = 3.0  # one step of 3 in each row of three differences, none along the columns
    assert float(total_variation(planes)) == pytest.approx(1.0)
    assert total_variation(planes) == total_variation(planes.transpose(-1, -2))


def test_noise_structure_tells_patterns_from_white_noise() -> None:
    torch.manual_seed(0)
    white = torch.randn(2, 1, 32, 32)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 36, 36), 5, 1)
    smooth = (smooth / smooth.std()).expand(2, 1, 32, 32)
    assert (noise_structure(smooth) > 10 * noise_structure(white)).all()

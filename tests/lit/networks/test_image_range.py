"""Pixels to [-1, 1] and back."""

from __future__ import annotations

import torch

from lit.networks.image_range import from_pixels, to_pixels


def test_every_level_comes_back_and_the_rest_is_cut_off() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_pixels(from_pixels(levels)), levels)
    assert from_pixels(levels)[[0, 255]].tolist() == [-1.0, 1.0]
    assert to_pixels(torch.tensor([-3.0, -1.0, 0.999, 7.0], dtype=torch.bfloat16)).tolist() == [0, 0, 255, 255]

from __future__ import annotations

import numpy as np

from datamodules.assets.cube_render import _average_pairs, mask_bbox


def test_pairs_are_averaged_with_opacity_as_the_weight_of_depth() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (8, 12, 4), dtype=np.uint8)
    rgba[rng.random((8, 12)) < 0.4] = 0
    depth = np.where(rgba[..., 3] > 0, rng.uniform(5, 40, (8, 12)), 0).astype(np.float32)
    small, far = _average_pairs(rgba, depth)
    total = rgba.reshape(4, 2, 6, 2, 4).sum((1, 3), dtype=np.int64)
    weighted = (rgba[..., 3] * depth.astype(np.float64)).reshape(4, 2, 6, 2).sum((1, 3))
    np.testing.assert_array_equal(small, (total + 2) // 4)
    expected = np.where(total[..., 3] >= 2, weighted / np.maximum(total[..., 3], 1), 0)
    np.testing.assert_allclose(far, expected, rtol=1e-5)
    assert small.dtype == np.uint8
    assert far.dtype == np.float32


def test_rectangle_of_a_mask() -> None:
    rgba = np.zeros((7, 9, 4), np.uint8)
    assert mask_bbox(rgba, 3, 4) is None
    rgba[2, 5, 3], rgba[4, 1, 3], rgba[6, 8, 3] = 128, 200, 127
    np.testing.assert_array_equal(mask_bbox(rgba, 3, 4), [4, 6, 8, 8])

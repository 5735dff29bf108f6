"""One rule says which occlusion level a hidden share is."""

from __future__ import annotations

import numpy as np

from datamodules.occlusion_levels import LEVEL_SHARE, occlusion_level


def test_occlusion_levels() -> None:
    shares = np.array([0.0, 0.19, 0.2, 0.21, 0.5, 0.51, 0.85, 0.86, 1.0])
    assert occlusion_level(shares).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_a_level_stands_for_a_share_that_has_it() -> None:
    assert occlusion_level(np.array(list(LEVEL_SHARE.values()))).tolist() == list(LEVEL_SHARE)

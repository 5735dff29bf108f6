"""What share of an object is hidden, as KITTI's occlusion level: one rule for labels that are derived from pictures.

KITTI's annotators judged by eye, so no threshold is published. The road world's labels and those of injected objects
(and of real ones that these hide) follow the shares here, so that a level means the same in both.
"""

from __future__ import annotations

import numpy as np

LEVELS = (0.2, 0.5, 0.85)  # hidden shares above which occlusion is 1, 2, and an object is not worth a label
LEVEL_SHARE = {0: 0.0, 1: 0.35, 2: 0.65}  # the hidden share a level stands for


def occlusion_level(share: np.ndarray) -> np.ndarray:
    """KITTI's occlusion 0, 1 or 2 of hidden shares, and 3 for what is hidden beyond use."""
    return np.searchsorted(LEVELS, share, side="left").astype(np.int64)

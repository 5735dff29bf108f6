from __future__ import annotations

import numpy as np
import pytest

from datamodules.injection.harmonise import LAPLACIAN, noise_level


@pytest.mark.parametrize("shape", [(96, 320), (60, 81), (3, 3), (2, 9)])
def test_noise_is_the_median_answer_of_unsaturated_pixels(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    image = (128 + rng.normal(0, 60, (3, *shape))).clip(0, 255).astype(np.uint8)
    green = image[1].astype(np.int64)
    answers = [
        abs((green[i - 1 : i + 2, j - 1 : j + 2] * LAPLACIAN).sum())
        for i in range(1, shape[0] - 1)
        for j in range(1, shape[1] - 1)
        if 4 < green[i, j] < 251
    ]
    expected = np.median(answers) / (6 * 0.6745) if answers else 0.0
    assert noise_level(image) == pytest.approx(expected, rel=1e-6)

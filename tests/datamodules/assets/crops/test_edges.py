from __future__ import annotations

import cv2
import numpy as np

from datamodules.assets.crops.edges import without_background


def test_edge_pixels_lose_the_background_and_the_inside_stays() -> None:
    """A red disc against bright green, smoothed as a lens does."""
    solid = np.zeros((40, 60), np.float32)
    cv2.circle(solid, (30, 20), 15, 1.0, -1)
    share = cv2.GaussianBlur(solid, (5, 5), 0.8)[..., None]
    image = np.rint(share * [200, 20, 20] + (1 - share) * [20, 240, 20]).astype(np.uint8)
    alpha = np.rint(255 * share[..., 0]).astype(np.uint8)
    clean = without_background(image, alpha)
    mask = alpha > 127
    assert image[mask][:, 1].max() > 100
    assert clean[mask][:, 1].max() < 60
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    np.testing.assert_array_equal(clean[inner], image[inner])


def test_small_objects_and_those_at_the_border_keep_their_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(without_background(image, np.full((30, 20), 255, np.uint8)), image)
    low = np.zeros((30, 20), np.uint8)
    low[5:13] = 255
    np.testing.assert_array_equal(without_background(image, low), image)

"""Colours at the edge of an object that was cut out: free of the background it was seen against."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_HEIGHT = 12  # pixels; lower objects have hardly any inside
REACH = 2  # pixels from the inside that are coloured from it


def without_background(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """An object's pixels (h, w, 3) uint8, those at the edge coloured like the inside next to them.

    A pixel at an outline shows object and background mixed, which in front of another background is a halo. Its colour
    becomes the weighted mean of the pixels inside within reach; where there is none, it stays.

    Args:
        image: (h, w, 3) uint8.
        alpha: (h, w) uint8 opacity.
    """
    solid = (alpha > 127).astype(np.uint8)
    if np.count_nonzero(solid.any(1)) < LEAST_HEIGHT:
        return image
    inside = cv2.erode(solid, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    weight = inside.astype(np.float32)
    size = (2 * REACH + 1, 2 * REACH + 1)
    total = cv2.GaussianBlur(weight, size, 1.0, borderType=cv2.BORDER_REPLICATE)
    colour = cv2.GaussianBlur(image * weight[..., None], size, 1.0, borderType=cv2.BORDER_REPLICATE)
    mixed = (inside == 0) & (total > 0.01)
    clean = image.copy()
    clean[mixed] = np.rint(colour[mixed] / total[mixed, None]).astype(np.uint8)
    return clean

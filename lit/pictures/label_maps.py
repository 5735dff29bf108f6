"""Label maps as pictures: classes in colours, edges in grey."""

from __future__ import annotations

import colorsys

import numpy as np

FIRST = (255, 255, 255)  # the background
TURN = 0.381966  # of the hue from one class to the next: golden, so that neighbours differ


def class_colours(classes: int) -> np.ndarray:
    """(C, 3) uint8 RGB, the first white."""
    hues = (
        colorsys.hsv_to_rgb((0.6 + TURN * number) % 1, 0.75, 0.65 + 0.25 * (number % 2))
        for number in range(classes - 1)
    )
    return np.array([FIRST, *(tuple(round(255 * part) for part in hue) for hue in hues)], np.uint8)


def label_picture(labels: np.ndarray, classes: int | None = None) -> np.ndarray:
    """(H, W, 3) uint8 of class numbers (H, W), or of an edge map (H, W) in [-1, 1] when there are no classes."""
    if classes is not None:
        return class_colours(classes)[labels]
    grey = np.rint((np.clip(labels, -1, 1) + 1) * 127.5).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)

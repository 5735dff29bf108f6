"""Whether views can be of one object: the visual hull that silhouettes leave, beside them, and their mean colours."""

from __future__ import annotations

import cv2
import numpy as np

CELLS = 40  # along each axis of the canonical cube
SIDE = 64  # larger masks are averaged down: a cell shall not be much larger than a pixel
SHARE = 0.85  # of the views that have to show a cell; all of them would let one wrong pose cut the body away


def _pixels(points: np.ndarray, projection: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (N,) of points (N, 3), moved to the border where they lie outside."""
    homogeneous = points @ projection[:, :3].T + projection[:, 3]
    found = np.rint(homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-6)).clip(0, size - 1).astype(np.int64)
    return found[:, 1], found[:, 0]


def _coarse(masks: np.ndarray, projection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks and their projections at 64 pixels or less."""
    size = masks.shape[-1]
    if size <= SIDE:
        return masks, projection
    small = [cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.5 for mask in masks]
    zoom = SIDE / size
    scale = np.array([[zoom, 0, zoom / 2 - 0.5], [0, zoom, zoom / 2 - 0.5], [0, 0, 1]])  # of pixel centres
    return np.stack(small), scale @ projection


def carve(masks: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """(N, 3) middles of the cube's cells that nearly all views show.

    Args:
        masks: (K, S, S) bool.
        projection: (K, 3, 4) canonical cube to pixels.
    """
    masks, projection = _coarse(masks, projection)
    line = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    seen = np.zeros(len(points))
    for mask, camera in zip(masks, projection):
        seen += mask[_pixels(points, camera, len(mask))]
    return np.asarray(points[seen > SHARE * len(masks)])


def outline(points: np.ndarray, projection: np.ndarray, size: int) -> np.ndarray:
    """(S, S) bool silhouette of cells (N, 3) in a view; one pixel between cells is filled."""
    image = np.zeros((size, size), np.uint8)
    if len(points):
        image[_pixels(points, projection, size)] = 1
    return np.asarray(cv2.morphologyEx(image, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0)


def agreement(points: np.ndarray, masks: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """(K,) IoU of every mask (K, S, S) with the outline of cells (N, 3) in its view (K, 3, 4); 0 for empty masks."""
    masks, projection = _coarse(masks, projection)
    found = np.zeros(len(masks))
    for row, (mask, camera) in enumerate(zip(masks, projection)):
        shown = outline(points, camera, len(mask))
        found[row] = (shown & mask).sum() / max((shown | mask).sum(), 1)
    return found


def mean_colours(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(K, 3) mean of images (K, S, S, 3) inside masks (K, S, S) bool; 0 for empty masks."""
    weight = masks[..., None].astype(np.float32)
    return np.asarray((images * weight).sum((1, 2)) / np.maximum(weight.sum((1, 2)), 1))

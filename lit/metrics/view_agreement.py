"""How well a drawn object agrees with a photograph of it, cut out by its mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datamodules.assets.contract import Layer
from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.view_assets import premultiply

GREY = 128.0  # behind both: what one shows and the other does not counts as that far off


class Agreement(NamedTuple):
    """Figures of one object.

    Attributes:
        psnr: decibels over all pixels that either shows, both on mid-grey.
        psnr_inside: decibels over those that both show; NaN where there are none.
        iou: of the masks (opacity above one half).
    """

    psnr: float
    psnr_inside: float
    iou: float


def agreement_with(layer: Layer, photograph: CropAsset) -> Agreement:
    """Of an object drawn into the photograph's own image, which both know their place in."""
    (drawn, seen) = _in_one_window((layer.rgba, layer), (premultiply(photograph.rgba), photograph))
    shown = [_laid_on_grey(picture) for picture in (drawn, seen)]
    masks = [picture[..., 3] > 127 for picture in (drawn, seen)]
    error = ((shown[0] - shown[1]) / 255) ** 2
    either, both = masks[0] | masks[1], masks[0] & masks[1]
    return Agreement(_decibels(error[either]), _decibels(error[both]), float(both.sum() / max(either.sum(), 1)))


def on_grey(layer: Layer | None, photograph: CropAsset) -> np.ndarray:
    """(H, W, 3) uint8 of a drawn object on grey in the photograph's window."""
    height, width = photograph.rgba.shape[:2]
    if layer is None:
        return np.full((height, width, 3), int(GREY), np.uint8)
    drawn, _ = _in_one_window((layer.rgba, layer), (premultiply(photograph.rgba), photograph))
    top, left = photograph.top - min(layer.top, photograph.top), photograph.left - min(layer.left, photograph.left)
    picture = drawn[top : top + height, left : left + width]
    return _rounded(_laid_on_grey(picture))


def photograph_on_grey(photograph: CropAsset) -> np.ndarray:
    """(H, W, 3) uint8 of the photograph itself, likewise."""
    return _rounded(_laid_on_grey(premultiply(photograph.rgba)))


def _laid_on_grey(premultiplied: np.ndarray) -> np.ndarray:
    shown: np.ndarray = premultiplied[..., :3] + (1 - premultiplied[..., 3:] / 255) * GREY
    return shown


def _rounded(shown: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.rint(shown).astype(np.uint8)
    return found


def _in_one_window(*placed: tuple[np.ndarray, Layer | CropAsset]) -> list[np.ndarray]:
    """Premultiplied pictures (H, W, 4) in float, in the smallest window of their image that holds both."""
    left, top = min(at.left for _, at in placed), min(at.top for _, at in placed)
    width = max(at.left + picture.shape[1] for picture, at in placed) - left
    height = max(at.top + picture.shape[0] for picture, at in placed) - top
    windows = []
    for picture, at in placed:
        window = np.zeros((height, width, 4))
        rows, columns = at.top - top, at.left - left
        window[rows : rows + picture.shape[0], columns : columns + picture.shape[1]] = picture
        windows.append(window)
    return windows


def _decibels(error: np.ndarray) -> float:
    return float(-10 * np.log10(max(error.mean(), 1e-10))) if error.size else float("nan")

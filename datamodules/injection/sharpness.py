"""How blurred a picture is, and bringing a rendered layer to the blur of the photograph it enters.

A bank has a resolution of its own: drawn near it is blurrier than the photograph, drawn far away it is sharper, and
meshes always are. Both are measured by one estimator, at the strongest edges: blurring an edge of standard deviation s
again, by s', flattens its gradient by ``sqrt((s^2 + s'^2) / s^2)`` (Zhuo and Sim, Pattern Recognition 2011).

::

    layer sharper than the frame:   blurred by what is missing, colour and outline
    layer blurrier:                 sharpened within the range of its own neighbourhood, outline steepened;
                                    what the bank does not hold is not invented
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from datamodules.assets.contract import Layer

WINDOW = (224, 736)  # pixels, rows and columns in the middle of the image that are looked at
AGAIN = 1.0  # pixels, standard deviation of the second blur
DIFFERENCE = 1 / 3  # square pixels that the central difference itself blurs
STRONGEST, LEAST_EDGES = 0.03, 12  # share of the pixels taken as edges, and how few of them still tell something
OBJECT_STRONGEST = 0.08  # an object has few pixels besides its edges
LEAST_STEP = 4.0  # grey levels a pixel; flatter edges are noise
SHARPEST, BLURRIEST = 0.3, 6.0  # pixels; bounds of what is believed
MOST_SHARPENED = 2.5  # pixels of blur that are taken back at most
PASSES = 2
STEEPEST = 3.0  # factor on the slope of an outline


def edge_blur(grey: np.ndarray, inside: np.ndarray | None = None, strongest: float = STRONGEST) -> float | None:
    """Standard deviation of a picture's blur, pixels; None where it shows too few edges.

    Args:
        grey: (H, W) float32 grey levels.
        inside: (H, W) bool pixels that count; None for all.
        strongest: share of them that are taken as edges.
    """
    once = cv2.magnitude(*_differences(grey))
    twice = cv2.magnitude(*_differences(cv2.GaussianBlur(grey, (0, 0), AGAIN)))
    unsaturated = (grey > 2) & (grey < 253)
    counted = unsaturated if inside is None else unsaturated & inside
    steps, blurred = once[counted], twice[counted]
    wanted = max(round(strongest * len(steps)), LEAST_EDGES)
    if len(steps) < wanted:
        return None
    least = max(float(np.partition(steps, -wanted)[-wanted]), LEAST_STEP)
    edges = steps >= least
    if edges.sum() < LEAST_EDGES:
        return None
    ratio = float(np.median(steps[edges] / np.maximum(blurred[edges], 1e-3)))
    variance = AGAIN**2 / max(ratio**2 - 1, 1e-6) - DIFFERENCE
    return float(np.clip(math.sqrt(max(variance, 0.0)), SHARPEST, BLURRIEST))


def _differences(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences along x and y."""
    kernel = np.array([[-0.5, 0.0, 0.5]], np.float32)
    border = cv2.BORDER_REPLICATE
    return (
        cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=border),
        cv2.filter2D(grey, cv2.CV_32F, kernel.T, borderType=border),
    )


def frame_blur(image: np.ndarray) -> float | None:
    """Blur of a photograph, pixels, at the strongest edges of its middle.

    Args:
        image: (3, H, W) uint8.
    """
    rows, columns = (min(size, limit) for size, limit in zip(image.shape[1:], WINDOW))
    top, left = (image.shape[1] - rows) // 2, (image.shape[2] - columns) // 2
    return edge_blur(image[1, top : top + rows, left : left + columns].astype(np.float32))


def layer_blur(layer: Layer) -> float | None:
    """Blur of what a layer shows inside its mask, pixels."""
    return _blur_of(layer, straight_colour(layer))


def _blur_of(layer: Layer, colour: np.ndarray) -> float | None:
    inside = cv2.erode(layer.mask.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=(0, 0, 0, 0))
    return edge_blur(np.ascontiguousarray(colour[..., 1]), inside.view(np.bool_), OBJECT_STRONGEST)


def straight_colour(layer: Layer) -> np.ndarray:
    """(h, w, 3) float32 colour without opacity; outside the mask that of the nearest pixels goes on."""
    rgba = layer.rgba.astype(np.float32)
    around = cv2.GaussianBlur(rgba, (0, 0), 2.0, borderType=cv2.BORDER_CONSTANT)
    chosen = np.where(layer.mask[..., None], rgba, around)
    return np.asarray(np.minimum(chosen[..., :3] * (255.0 / np.maximum(chosen[..., 3:], 1.0)), np.float32(255.0)))


def at_blur(layer: Layer, blur: float) -> tuple[Layer, float | None]:
    """A layer as blurred as the photograph, as far as it can be.

    Args:
        layer: the rendered object.
        blur: of the photograph, pixels (:func:`frame_blur`).

    Returns:
        The layer, its mask unchanged, and by how many pixels its outline is to be blurred when it is blended; the layer
        itself and None where it shows too few edges to tell.
    """
    colour = straight_colour(layer)
    own = _blur_of(layer, colour)
    if own is None:
        return layer, None
    alpha = layer.rgba[..., 3].astype(np.float32)
    missing = math.sqrt(max(blur**2 - own**2, 0.0))
    if own < blur:
        colour = cv2.GaussianBlur(colour, (0, 0), max(missing, 0.1), borderType=cv2.BORDER_REPLICATE)
    else:
        colour = _sharpened(colour, min(math.sqrt(own**2 - blur**2), MOST_SHARPENED))
        slope = min(own / blur, STEEPEST)
        steep = np.clip(127.5 + slope * (alpha - 127.5), 0, 255)
        alpha = np.where(alpha > 0, steep, 0)
    rgba = np.concatenate([colour * (alpha[..., None] / 255), alpha[..., None]], -1)
    return replace(layer, rgba=np.rint(rgba).astype(np.uint8)), missing


def _sharpened(colour: np.ndarray, surplus: float) -> np.ndarray:
    """Colour (h, w, 3) with a blur of ``surplus`` pixels partly taken back (van Cittert), without halos."""
    if surplus < 0.2:
        return colour
    reach = 2 * math.ceil(surplus) + 1
    square = np.ones((reach, reach), np.uint8)
    low, high = cv2.erode(colour, square), cv2.dilate(colour, square)
    sharp = colour
    for _ in range(PASSES):
        error = colour - cv2.GaussianBlur(sharp, (0, 0), surplus, borderType=cv2.BORDER_REPLICATE)
        sharp = np.clip(sharp + error, low, high)
    return sharp

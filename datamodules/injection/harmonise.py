"""Making a rendered layer look as if this camera had taken it: haze, exposure and sensor noise of the frame.

Copy-paste brings these along with its crops; rendered objects are clean, and a detector may learn just that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from datamodules.assets.contract import Layer
from datamodules.geometry import Camera
from datamodules.injection.scene_light import DARKEST
from datamodules.shapes.shading import GAMMA

NOISE_WINDOW = (96, 320)  # pixels, rows and columns in the middle of the image that noise is measured on
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.int32)  # Immerkaer, CVIU 1996: blind to edges


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of an image's pixel noise, grey levels.

    Args:
        image: (3, H, W) uint8.
    """
    rows, columns = (min(size, limit) for size, limit in zip(image.shape[1:], NOISE_WINDOW))
    top, left = (image.shape[1] - rows) // 2, (image.shape[2] - columns) // 2
    patch = np.ascontiguousarray(image[1, top : top + rows, left : left + columns])
    counts = _responses(patch)
    if not (total := int(counts.sum())):
        return 0.0
    # The median of |N(0, 1)| is 0.6745; the kernel's norm is 6. The lower half of an image's texture is mostly noise.
    lower, upper = np.searchsorted(np.cumsum(counts), [(total - 1) // 2, total // 2], side="right")
    return float(np.float32((lower + upper) / 2) / np.float32(6 * 0.6745))


@njit(nogil=True, cache=True)
def _responses(patch: np.ndarray) -> np.ndarray:
    """(2041,) how often (h, w) uint8 pixels that are not saturated answer :data:`LAPLACIAN` with 0, 1, ... 2040."""
    counts = np.zeros(8 * 255 + 1, dtype=np.int64)
    for i in range(1, patch.shape[0] - 1):
        for j in range(1, patch.shape[1] - 1):
            if 4 < patch[i, j] < 251:
                total = np.int32(0)
                for v in range(3):
                    for u in range(3):
                        total += np.int32(LAPLACIAN[v, u]) * np.int32(patch[i + v - 1, j + u - 1])
                counts[abs(total)] += 1
    return counts


def airlight(image: np.ndarray, camera: Camera) -> np.ndarray:
    """(3,) colour that far things fade to: the brighter half of the rows about the horizon of a level camera.

    Args:
        image: (3, H, W) uint8.
        camera: its camera.
    """
    horizon = int(np.clip(camera.projection[1, 2], 4, camera.height - 1))
    band = image[:, max(horizon - camera.height // 8, 0) : horizon, ::4].reshape(3, -1).astype(np.float64)
    luminance = band.mean(0)
    return np.asarray(band[:, luminance >= np.median(luminance)].mean(1))


MOST_STRETCHED = 1.35  # a range that is widened further loses what is in its shadows
NO_GRAIN = np.zeros((0, 0, 3), np.float32)


@njit(nogil=True, cache=True)
def _tint(
    rgba: np.ndarray,
    out: np.ndarray,
    gain: np.ndarray,
    range_gain: float,
    clear: float,
    light: np.ndarray,
    grain: np.ndarray,
    noise: float,
) -> None:
    """Write a premultiplied (h, w, 4) uint8 layer, relit, hazy and grainy, into ``out``, which must be zero.

    Args:
        gain: (3,) float32 factor on display values; 1 leaves them as they are.
        range_gain: factor on the distance from white; 1 leaves it as it is.
        clear: share of the linear light that comes through; 1 for no haze.
        light: (3,) linear light of the air that is added, in [0, 1].
        grain: (h, w, 3) float32 normal noise, or of size 0.
        noise: its standard deviation, grey levels.
    """
    for row in range(rgba.shape[0]):
        for column in range(rgba.shape[1]):
            alpha = np.float32(rgba[row, column, 3])
            if alpha == 0:
                continue
            straight = np.float32(255.0) / max(alpha, np.float32(1.0))
            for channel in range(3):
                colour = np.float32(rgba[row, column, channel]) * straight
                if gain[channel] != 1.0:
                    colour = min(colour, np.float32(255.0)) * gain[channel]
                if range_gain != 1.0:
                    away = np.float32(255.0) - min(colour, np.float32(255.0))
                    colour = max(np.float32(255.0) - away * np.float32(range_gain), np.float32(0.0))
                if clear < 1.0:
                    linear = (min(colour, np.float32(255.0)) / np.float32(255.0)) ** GAMMA
                    colour = np.float32(255.0 * (clear * linear + light[channel]) ** (1.0 / GAMMA))
                if grain.size:
                    colour += noise * grain[row, column, channel]
                colour = min(max(colour, np.float32(0.0)), np.float32(255.0))
                out[row, column, channel] = np.uint8(np.rint(colour * (alpha / np.float32(255.0))))
            out[row, column, 3] = rgba[row, column, 3]


def _stretch(layer: Layer, gain: float, black: float) -> float:
    """Factor on the distance from white that brings a layer's darkest parts down to a grey level; never below 1."""
    mask = layer.mask
    if not mask.any():
        return 1.0
    own = gain * float(np.percentile(layer.rgba[mask][:, :3].mean(1), DARKEST))
    return min(max((255.0 - black) / max(255.0 - own, 1.0), 1.0), MOST_STRETCHED)


def harmonise(
    layer: Layer,
    depth: float,
    air: np.ndarray | None,
    haze: float,
    noise: float,
    rng: np.random.Generator | None,
    gain: np.ndarray | None = None,
    black: float | None = None,
) -> Layer:
    """Bring a layer under the scene's light, fade it with distance and give it sensor noise.

    Args:
        layer: the rendered object.
        depth: its distance, metres.
        air: (3,) of :func:`airlight`, or None for clear air.
        haze: metres at which 63 % of the colour has turned into the air's.
        noise: standard deviation to add, grey levels.
        rng: draws the noise; without one there is none.
        gain: (3,) factor on linear colour (:func:`datamodules.injection.scene_light.light_gain`).
        black: grey level that its darkest parts are brought down to; None leaves them.
    """
    grain = NO_GRAIN
    if rng is not None and noise > 0:
        grain = rng.standard_normal((*layer.depth.shape, 3), dtype=np.float32)
    clear, light = 1.0, np.zeros(3)
    if air is not None and haze > 0:
        clear = float(np.exp(-depth / haze))
        light = (1 - clear) * (air / 255) ** GAMMA
    rgba = np.zeros_like(layer.rgba)
    shown = np.ones(3) if gain is None else gain ** (1 / GAMMA)  # a factor on linear light, in display values
    stretch = 1.0 if black is None else _stretch(layer, float(shown.mean()), black)
    _tint(layer.rgba, rgba, shown.astype(np.float32), stretch, clear, light, grain, noise)
    return replace(layer, rgba=rgba)

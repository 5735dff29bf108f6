"""The object of ``bench render``, a car as an EG3D-shaped tri-plane field, and the published renderer as reference.

The car is no picture of one: three silhouettes, as channel 0 of the planes, are cut out of each other by a decoder
whose weights are written down, so that the field is known exactly and needs no fitting.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor, nn

from datamodules.randomness import derive
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.softplus_decoder import HIDDEN, SoftplusDecoder, softplus_density
from lit.rendering.rays import clip_to_cube, image_pixels, projection_rays
from lit.rendering.render import render_image, render_rays
from lit.rendering.samplers import between, importance

SIZE = 256  # texels along a plane
CHANNELS = 32
HALF = 0.95 * np.array([1.0, 52 / 128, 56 / 128])  # half size of the car's box inside the cube
DENSITY = 60.0  # raw density inside the car, per unit of the cube
OUTSIDE = -8.0  # raw density of empty space
EDGE = 0.06  # units over which a silhouette fades
KNEE = 12.0  # steepness of the softplus that clamps the sum of the silhouettes


def _raster(polygons: list[np.ndarray], circles: list[tuple[float, float, float]]) -> np.ndarray:
    """(SIZE, SIZE) signed distance (inside positive) to a union of polygons (K, 2) and circles (x, y, radius)."""
    scale = 1024
    mask = np.zeros((scale, scale), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round((polygon + 1) * scale / 2).astype(np.int32)], 1)
    for x, y, radius in circles:
        centre = (round((x + 1) * scale / 2), round((y + 1) * scale / 2))
        cv2.circle(mask, centre, round(radius * scale / 2), 1, -1)
    distance = (distance_transform_edt(mask) - distance_transform_edt(mask == 0)) * (2.0 / scale)
    return cv2.resize(distance.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def car_field(seed: int = 0) -> DecodedPlanes:
    """A car: where a side, a top and a front silhouette intersect, with windows, wheels, lamps and a random texture.

    Channel 0 of each plane is 1 inside its silhouette and falls to 0 outside; the first hidden unit clamps their sum
    less 2, so raw density is DENSITY inside all three and OUTSIDE elsewhere. The field is exactly of EG3D's form and
    needs no fitting.
    """
    rng = derive(seed, "bench field")
    length, height, width = HALF * 0.97
    cabin = np.array([[-0.85, -0.02], [-0.62, -height], [0.12, -height], [0.42, -0.02]])
    wheels = [(-0.58, height - 0.13, 0.13), (0.58, height - 0.13, 0.13)]
    side = _raster([_rectangle(-length, -0.06, length, height - 0.1), cabin], wheels)
    around = np.linspace(0, 2 * np.pi, 200)
    top = np.stack([length * _power(np.cos(around)), width * _power(np.sin(around))], 1)
    front = np.array(
        [[-height, -0.27], [-0.03, -width], [height, -width], [height, width], [-0.03, width], [-height, 0.27]]
    )
    planes = np.zeros((3, SIZE, SIZE, CHANNELS), np.float32)
    for plane, silhouette in enumerate((side, _raster([top], []), _raster([front], []))):
        ramp = np.clip(silhouette / EDGE + 0.5, 0.0, 1.0)
        planes[plane, :, :, 0] = 3.0 * KNEE * ramp * ramp * (3 - 2 * ramp)
    window = _raster([np.array([[-0.7, -0.04], [-0.56, -0.34], [-0.24, -0.34], [-0.24, -0.04]])], [])
    window = np.maximum(window, _raster([np.array([[-0.18, -0.04], [-0.18, -0.34], [0.08, -0.34], [0.32, -0.04]])], []))
    planes[0, :, :, 3] = np.clip(window / EDGE, -1, 1)
    planes[0, :, :, 4] = np.clip(_raster([], wheels) / EDGE, -1, 1)
    planes[0, :, :, 5] = np.clip(_raster([_rectangle(length - 0.06, 0.0, 1, 0.1)], []) / EDGE, -1, 1)
    planes[0, :, :, 6] = np.clip(_raster([_rectangle(-1, 0.0, -length + 0.06, 0.1)], []) / EDGE, -1, 1)
    texture = rng.normal(size=(3, SIZE, SIZE, CHANNELS - 8))
    texture = gaussian_filter(texture, (0, 6, 6, 0))
    planes[..., 8:] = texture / texture.std() * 1.2
    return DecodedPlanes(torch.from_numpy(planes).permute(0, 3, 1, 2).contiguous()[None], _decoder(rng))


def _power(value: np.ndarray) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** 0.35


def _decoder(rng: np.random.Generator) -> SoftplusDecoder:
    """Windows, wheels and lamps by their channels, density by channel 0, a random texture by the others."""
    weight, bias = np.zeros((CHANNELS, HIDDEN), np.float32), np.zeros(HIDDEN, np.float32)
    rows, biases = np.zeros((4, HIDDEN), np.float32), np.zeros(4, np.float32)
    weight[0, 0], bias[0] = 1.0, -2.0 * KNEE
    rows[0, 0], biases[0] = (DENSITY - OUTSIDE) / KNEE, OUTSIDE
    for unit, channel in ((3, 3), (4, 4), (5, 5), (6, 6)):
        weight[channel, unit] = 12.0  # the mean over planes leaves a third of the feature
    weight[8:, 8:] = rng.normal(0, 0.6, (CHANNELS - 8, HIDDEN - 8))
    bias[8:] = rng.normal(0, 0.5, HIDDEN - 8)
    rows[1:, 8:] = rng.normal(0, 0.1, (3, HIDDEN - 8))
    biases[1:] = np.array([1.2, -0.6, -1.0]) - rows[1:].sum(1) * np.log(2.0)
    rows[1:, 3], rows[1:, 4] = -0.9, -1.0  # windows and wheels are dark
    rows[1:, 5], rows[1:, 6] = 1.0, (0.8, -0.8, -0.8)  # white lamps in front, red ones behind
    decoder = SoftplusDecoder(CHANNELS)
    for layer, values, offsets in ((decoder.hidden, weight.T, bias), (decoder.heads, rows, biases)):
        layer.weight, layer.bias = (
            nn.Parameter(torch.from_numpy(values.copy())),
            nn.Parameter(torch.from_numpy(offsets)),
        )
        layer.gain = layer.bias_gain = 1.0  # the weights are meant as they stand
    return decoder


@torch.no_grad()
def two_pass(
    field: DecodedPlanes, projection: np.ndarray, window: tuple[int, int, int, int], coarse: int = 48, fine: int = 48
) -> Tensor:
    """The published renderer (EG3D; pix2pix3D uses it unchanged).

    Stratified samples through the whole cube for every ray of the window, then as many again where the weights are.
    Rays that miss the cube take the common range, as published.

    Returns:
        (height, width, 4) premultiplied colour and opacity in [0, 1].
    """
    generator = torch.Generator().manual_seed(0)
    left, top, width, height = window
    pixels = image_pixels(height, width, corner=(left, top))[None]
    origins, directions = projection_rays(torch.from_numpy(projection), pixels)
    near, far = clip_to_cube(origins, directions)
    hit = far > near
    near, far = near.where(hit, near[hit].min()), far.where(hit, far[hit].max())
    jitter, place = (torch.rand(*near.shape, count, generator=generator) for count in (coarse, fine))
    assert isinstance(field.decode, SoftplusDecoder)
    raw = replace(field, decode=field.decode.raw)
    sampler = between(near, far, coarse, jitter)
    return render_rays(raw, origins, directions, sampler, importance(place), softplus_density).rgba.view(
        height, width, 4
    )


def ground_truth(
    field: DecodedPlanes, projection: np.ndarray, window: tuple[int, int, int, int], samples: int = 512
) -> Tensor:
    """(height, width, 4): one sample a piece, with many pieces between entry and exit of the object's box."""
    left, top, width, height = window
    half, corner = torch.from_numpy(HALF).float(), (left, top)
    return render_image(field, torch.from_numpy(projection), height, width, samples, half=half, corner=corner).rgba

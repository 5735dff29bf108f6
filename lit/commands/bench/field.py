"""The object of ``bench render``, a car as an EG3D-shaped tri-plane field, and the published renderer as reference."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional

from datamodules.randomness import derive
from lit.rendering.compiled import HIDDEN, WIDEN, TriplaneField

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


def car_field(seed: int = 0) -> TriplaneField:
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
    return TriplaneField(planes, *_decoder(rng))


def _power(value: np.ndarray) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** 0.35


def _decoder(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hidden weight (C, 64) and bias, output weight (4, 64) and bias."""
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
    return weight, bias, rows, biases


class TorchField:
    """The same field in torch, as published code evaluates it: one ``grid_sample`` over the stacked planes."""

    def __init__(self, field: TriplaneField) -> None:
        self.planes = torch.from_numpy(field.planes).permute(0, 3, 1, 2).contiguous()
        self.weight, self.bias = torch.from_numpy(field.hidden_weight.T.copy()), torch.from_numpy(field.hidden_bias)
        self.rows, self.biases = torch.from_numpy(field.output_weight), torch.from_numpy(field.output_bias)

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density (K,) and colour (K, 3) at points (K, 3)."""
        coordinates = torch.stack([points[:, [0, 1]], points[:, [0, 2]], points[:, [1, 2]]])[:, None]
        features = functional.grid_sample(self.planes, coordinates, align_corners=False)[:, :, 0].mean(0).T
        hidden = functional.softplus(functional.linear(features, self.weight, self.bias))
        output = functional.linear(hidden, self.rows, self.biases)
        return output[:, 0], torch.sigmoid(output[:, 1:]) * (1 + 2 * WIDEN) - WIDEN


def pixel_rays(projection: np.ndarray, window: tuple[int, int, int, int], half: np.ndarray) -> tuple[Tensor, ...]:
    """Origins and unit directions (R, 3) of a window's rays in the cube; entry and exit (R,) of the box ``half``."""
    left, top, width, height = window
    v, u = np.meshgrid(np.arange(top, top + height), np.arange(left, left + width), indexing="ij")
    inverse = np.linalg.inv(projection[:, :3])
    directions = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ inverse.T
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    origin = -inverse @ projection[:, 3]
    directions = np.where(np.abs(directions) > 1e-9, directions, 1e-9)
    a, b = (-half - origin) / directions, (half - origin) / directions
    enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
    tensors = (np.broadcast_to(origin, directions.shape), directions, enter, leave)
    return tuple(torch.from_numpy(np.ascontiguousarray(t, dtype=np.float32)) for t in tensors)


def _composite(raw: Tensor, colour: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """EG3D's marcher: raw density and colour averaged over the ends of intervals; image (R, 4), weights (R, S - 1)."""
    delta = depth[:, 1:] - depth[:, :-1]
    density = functional.softplus((raw[:, 1:] + raw[:, :-1]) / 2 - 1)
    alpha = 1 - torch.exp(-density * delta)
    before = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], 1), 1)[:, :-1]
    weight = alpha * before
    rgb = (weight[..., None] * (colour[:, 1:] + colour[:, :-1]) / 2).sum(1)
    return torch.cat([rgb, weight.sum(1, keepdim=True)], 1), weight


@torch.no_grad()
def two_pass(
    field: TorchField, projection: np.ndarray, window: tuple[int, int, int, int], coarse: int = 48, fine: int = 48
) -> Tensor:
    """The published renderer (EG3D; pix2pix3D uses it unchanged).

    Stratified samples through the whole cube for every ray of the window, then as many again where the weights are.
    Rays that miss the cube take the common range, as published.

    Returns:
        (height, width, 4) premultiplied colour and opacity in [0, 1].
    """
    generator = torch.Generator().manual_seed(0)
    origins, directions, enter, leave = pixel_rays(projection, window, np.ones(3))
    hit = leave > enter
    enter, leave = torch.where(hit, enter, enter[hit].min()), torch.where(hit, leave, leave[hit].max())
    rays = len(origins)

    def evaluate(depth: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, None] + depth[..., None] * directions[:, None]
        raw, colour = field(points.reshape(-1, 3))
        return raw.view(rays, -1), colour.view(rays, -1, 3)

    share = (torch.arange(coarse) + torch.rand(rays, coarse, generator=generator)) / coarse
    depth = enter[:, None] + share * (leave - enter)[:, None]
    raw, colour = evaluate(depth)
    weight = _composite(raw, colour, depth)[1]
    smooth = functional.max_pool1d(functional.pad(weight[:, None], (1, 1)), 2, 1)
    smooth = functional.avg_pool1d(smooth, 2, 1)[:, 0] + 0.01  # (R, coarse - 1), blurred and never zero, as published
    cumulative = torch.cumsum(smooth / smooth.sum(1, keepdim=True), 1)
    cumulative = torch.cat([torch.zeros(rays, 1), cumulative], 1)  # R coarse: one value a sample depth
    draw = torch.rand(rays, fine, generator=generator)
    above = torch.searchsorted(cumulative, draw, right=True).clamp(1, coarse - 1)
    low, high = cumulative.gather(1, above - 1), cumulative.gather(1, above)
    inside = (draw - low) / (high - low).clamp(min=1e-5)
    start, end = depth.gather(1, above - 1), depth.gather(1, above)
    extra = start + inside.clamp(0, 1) * (end - start)
    extra_raw, extra_colour = evaluate(extra)
    depth, order = torch.sort(torch.cat([depth, extra], 1), 1)
    raw = torch.cat([raw, extra_raw], 1).gather(1, order)
    colour = torch.cat([colour, extra_colour], 1).gather(1, order[..., None].expand(-1, -1, 3))
    return _composite(raw, colour, depth)[0].view(window[3], window[2], 4)


@torch.no_grad()
def ground_truth(
    field: TorchField, projection: np.ndarray, window: tuple[int, int, int, int], samples: int = 512
) -> Tensor:
    """(height, width, 4): midpoint quadrature with many samples between entry and exit of the object's box."""
    origins, directions, enter, leave = pixel_rays(projection, window, HALF)
    image = torch.zeros(len(origins), 4)
    for chunk in (leave > enter).nonzero()[:, 0].split(256):
        step = (leave[chunk] - enter[chunk]) / samples
        depth = enter[chunk, None] + (torch.arange(samples) + 0.5) * step[:, None]
        raw, colour = field((origins[chunk, None] + depth[..., None] * directions[chunk, None]).reshape(-1, 3))
        alpha = 1 - torch.exp(-functional.softplus(raw.view(depth.shape) - 1) * step[:, None])
        before = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], 1), 1)[:, :-1]
        weight = alpha * before
        rgb = (weight[..., None] * colour.view(*depth.shape, 3)).sum(1)
        image[chunk] = torch.cat([rgb, weight.sum(1, keepdim=True)], 1)
    return image.view(window[3], window[2], 4)

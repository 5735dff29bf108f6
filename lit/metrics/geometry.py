"""Scores of depth maps: non-flatness (3DGP) and depth accuracy (G3DR).

Both are computed map by map in float64 and averaged last. Depth is whatever unit ``near`` and ``far`` are in; a mask is
True where a pixel counts, and what lies outside it may hold anything.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from datamodules.errors import InputError

Maps = Tensor | np.ndarray
LANES = 4  # histograms filled in turn: neighbouring pixels often share a bin, and each would wait for the last


def non_flatness_score(depth: Maps, near: float, far: float, bins: int = 64, mask: Maps | None = None) -> float:
    """Non-flatness score, 1 (every map flat) to ``bins``: the mean of :func:`non_flatness_scores`.

    Source: I. Skorokhodov et al., "3D generation on ImageNet" (3DGP), ICLR 2023, section 4, and its released code.
    """
    return float(non_flatness_scores(depth, near, far, bins, mask).mean())


def non_flatness_scores(depth: Maps, near: float, far: float, bins: int = 64, mask: Maps | None = None) -> Tensor:
    """Exponential of the entropy of each depth map's histogram: ``exp(-sum p ln(p + 1e-12))``.

    Depth is clamped to [near, far], which also takes care of infinite values, and counted in equal bins over that range
    by the rule of ``torch.histc`` in the maps' own precision (float32 for half precision). There is no min-max scaling
    per map, and the exponential is taken before any mean; G3DR's text says "average entropy", its numbers are this.

    Args:
        depth: (..., H, W) maps.
        near: lower bound of the histogram.
        far: upper bound.
        bins: number of bins.
        mask: (..., H, W) bool, True where a pixel counts; None for all.

    Returns:
        (N,) float64, one score a map, on the CPU.

    Raises:
        InputError: near >= far, no maps, shapes that differ, NaN inside the mask, or a map that is all masked.
    """
    depth, mask = torch.as_tensor(depth), None if mask is None else torch.as_tensor(mask)
    if not (np.isfinite(near) and np.isfinite(far) and near < far):
        raise InputError(f"near {near}, far {far}: expected finite depths with near < far; state the cameras' range")
    if bins < 1:
        raise InputError(f"bins {bins}: expected at least 1; 3DGP uses 64")
    maps, inside = _maps(depth, "depth"), _mask(mask, depth)
    if maps.dtype not in (np.float32, np.float64):
        maps = maps.astype(np.float64 if np.issubdtype(maps.dtype, np.integer) else np.float32)
    low, high = maps.dtype.type(near), maps.dtype.type(far)
    if not low < high:
        raise InputError(f"near {near}, far {far}: one number in {maps.dtype}; use float64 maps or a wider range")
    counts = np.zeros((len(maps), bins), np.int64)
    undefined = _histograms(maps, inside, low, high, maps.dtype.type(bins), counts)
    if undefined >= 0:
        raise InputError(f"depth: map {undefined} holds NaN inside the mask; mask those pixels or repair the map")
    total = counts.sum(1, keepdims=True)
    if not total.all():
        raise InputError(f"mask: map {int(total.argmin())} has no pixel inside it; leave such maps out of the set")
    share = counts / total
    return torch.from_numpy(np.exp(-(share * np.log(share + 1e-12)).sum(1)))


def depth_accuracy(pred: Maps, target: Maps, mask: Maps | None = None) -> float:
    """Depth accuracy, 0 (equal up to scale and shift) to 4, lower is better: the mean of :func:`depth_errors`."""
    return float(depth_errors(pred, target, mask).mean())


def depth_errors(pred: Maps, target: Maps, mask: Maps | None = None) -> Tensor:
    """Mean squared error of each depth map after both were normalised to mean 0 and standard deviation 1.

    G3DR (P. Reddy et al., CVPR 2024) reports "depth accuracy" against pseudo ground truth and gives no formula; this
    is our reading of its text. With the population's standard deviation it equals 2 (1 - r), r Pearson's correlation.

    Args:
        pred: (..., H, W) maps.
        target: (..., H, W) maps they are compared with, in any unit.
        mask: (..., H, W) bool, True where a pixel counts; None for all.

    Returns:
        (N,) float64, one error a map, on the CPU.

    Raises:
        InputError: no maps, shapes that differ, a value inside the mask that is not finite, a map that is all masked,
            or one that is flat inside the mask: it has no normalised form.
    """
    pred, target = torch.as_tensor(pred), torch.as_tensor(target)
    mask = None if mask is None else torch.as_tensor(mask)
    if pred.shape != target.shape:
        raise InputError(f"pred {tuple(pred.shape)}, target {tuple(target.shape)}: expected equal shapes; resize one")
    inside = _mask(mask, pred)
    pairs = [_maps(values, name).astype(np.float64) for values, name in ((pred, "pred"), (target, "target"))]
    errors = np.empty(len(pairs[0]))
    for index in range(len(errors)):
        chosen = inside[index] if len(inside) else slice(None)
        scores = [_standard(values[index][chosen], name, index) for values, name in zip(pairs, ("pred", "target"))]
        errors[index] = np.square(scores[0] - scores[1]).mean()
    return torch.from_numpy(errors)


def _standard(values: np.ndarray, name: str, index: int) -> np.ndarray:
    """Values (P,) with mean 0 and population standard deviation 1."""
    if not len(values):
        raise InputError(f"mask: map {index} has no pixel inside it; leave such maps out of the set")
    if not np.isfinite(values).all():
        raise InputError(f"{name}: map {index} holds values that are not finite inside the mask; mask those pixels")
    scale = np.abs(values).max() or 1.0  # squares of very large or very small depths would leave float64's range
    centred = values / scale - (values / scale).mean()
    deviation = np.sqrt(np.square(centred).mean())
    if values.min() == values.max() or deviation == 0:
        raise InputError(f"{name}: map {index} is flat inside the mask, its z-score is undefined; leave it out")
    return centred / deviation


def _maps(depth: Tensor, name: str) -> np.ndarray:
    """Maps (..., H, W) as an array (N, P)."""
    if depth.ndim < 2:
        raise InputError(f"{name} {tuple(depth.shape)}: expected maps (..., H, W); add the missing axes")
    if depth.numel() == 0:
        raise InputError(f"{name} {tuple(depth.shape)}: holds no pixels; expected at least one map")
    if depth.is_complex() or depth.dtype == torch.bool:
        raise InputError(f"{name}: {depth.dtype}, expected real numbers; convert the maps")
    flat = depth.detach().cpu().reshape(-1, depth.shape[-2] * depth.shape[-1])
    return (flat.float() if flat.dtype == torch.bfloat16 else flat).contiguous().numpy()


def _mask(mask: Tensor | None, depth: Tensor) -> np.ndarray:
    """A mask (..., H, W) as bool (N, P); (0, 0) stands for none, so that the compiled code has one type."""
    if mask is None:
        return np.zeros((0, 0), np.bool_)
    if mask.shape != depth.shape or mask.dtype != torch.bool:
        found = f"{mask.dtype} {tuple(mask.shape)}"
        raise InputError(f"mask: {found}, expected bool {tuple(depth.shape)} as the maps; compare or resize it")
    return mask.detach().cpu().reshape(-1, depth.shape[-2] * depth.shape[-1]).contiguous().numpy()


@njit(nogil=True, cache=True)
def _histograms(
    maps: np.ndarray, mask: np.ndarray, low: float, high: float, bins: float, counts: np.ndarray
) -> int:  # fmt: skip
    """Fill ``counts`` (N, bins) with the histograms of ``maps`` (N, P); the first map with NaN inside, or -1.

    The rule is that of torch.histc, operation for operation in the maps' precision: ``(x - low) * bins / (high - low)``
    cut to an integer, the upper bound in the last bin. The mask is applied as one more bin that nobody reads.
    """
    width, last, pixels = high - low, counts.shape[1], maps.shape[1]
    places = np.empty(pixels, np.int32)
    tables = np.empty((LANES, last + 2), np.int64)
    for index in range(maps.shape[0]):
        undefined = 0
        if mask.shape[0]:
            for pixel in range(pixels):
                value, counted = maps[index, pixel], mask[index, pixel]
                undefined += counted & (value != value)
                value = value if value >= low else low  # NaN becomes low: as an integer it is no place in the table
                value = value if value <= high else high
                places[pixel] = np.int32((value - low) * bins / width) if counted else last + 1
        else:
            for pixel in range(pixels):
                value = maps[index, pixel]
                undefined += value != value
                value = value if value >= low else low
                value = value if value <= high else high
                places[pixel] = np.int32((value - low) * bins / width)
        if undefined:
            return index
        tables[:] = 0
        whole = pixels - pixels % LANES
        for pixel in range(0, whole, LANES):
            for lane in range(LANES):
                tables[lane, places[pixel + lane]] += 1
        for pixel in range(whole, pixels):
            tables[0, places[pixel]] += 1
        for lane in range(LANES):
            for place in range(last):
                counts[index, place] += tables[lane, place]
            counts[index, last - 1] += tables[lane, last]
    return -1

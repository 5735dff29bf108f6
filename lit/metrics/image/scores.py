"""Image quality from features of two sets of images: FID, KID, Inception score, precision and recall.

Pure functions in float64; features of any dtype are converted first. What the figure is worth depends on the network
and the resize that made the features: :mod:`lit.metrics.image.metrics` names both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.metrics.image import frechet

Features = Tensor | np.ndarray
VERSION = "1"  # recorded beside every figure; changes when a figure could
BLOCK = 2048  # rows of a kernel or distance matrix at a time: 50,000 x 50,000 float64 would be 20 GB


def frechet_distance(x: Features, y: Features) -> float:
    """Frechet distance of two sets of features (Heusel et al. 2017, Eq. 6), covariances with ddof 1.

    Args:
        x: (n, d) features, n >= 2.
        y: (m, d) features, m >= 2.

    Returns:
        The squared distance. Not clamped: identical sets may give a small negative value, which is rounding.

    Raises:
        InputError: no matrix, fewer than two rows, values that are not finite, or different d.
    """
    first, second = _pair(x, y, 2)
    return frechet.distance(frechet.from_rows(first), frechet.from_rows(second))


def frechet_from_moments(mean1: Features, cov1: Features, mean2: Features, cov2: Features) -> float:
    """:func:`frechet_distance` of published statistics: means (d,) and covariances (d, d), converted to float64.

    Raises:
        InputError: wrong shapes, values that are not finite, or an asymmetric covariance.
    """
    gaussians = []
    for mean, cov, name in ((mean1, cov1, "first"), (mean2, cov2, "second")):
        mean, cov = _tensor(mean).double(), _tensor(cov).double()
        frechet.check_moments(mean, cov, name)
        gaussians.append(frechet.from_moments(mean, cov))
    _same_dims(len(gaussians[0].mean), len(gaussians[1].mean))
    return frechet.distance(*gaussians)


def kernel_distance(x: Features, y: Features, subsets: int = 1, subset_size: int | None = None, seed: int = 0) -> float:
    """KID: the mean of :func:`kernel_distances`; by default one subset that holds everything."""
    return float(np.mean(kernel_distances(x, y, subsets, subset_size, seed)))


def kernel_distances(
    x: Features, y: Features, subsets: int = 1, subset_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Squared maximum mean discrepancy with the kernel ``(a·b/d + 1)³``, unbiased (Bińkowski et al. 2018, Eq. 4).

    The sums within x and within y leave the diagonal out, the sum between x and y keeps it.

    Args:
        x: (n, d) features.
        y: (m, d) features.
        subsets: how many subsets to average over; one without a size is everything at once.
        subset_size: rows a subset, drawn from each set without replacement; None for all rows, with one subset.
        seed: of the subsets; they depend on nothing else, so that all processes draw the same.

    Returns:
        (subsets,) float64, the distance of each subset.

    Raises:
        InputError: unusable features, a subset larger than a set, or fewer than two rows.
    """
    first, second = _pair(x, y, 2)
    if subsets < 1:
        raise InputError(f"subsets is {subsets}: expected at least 1")
    if subset_size is None:
        if subsets > 1:
            raise InputError(f"{subsets} subsets without a size: give subset_size, or 1 subset for everything at once")
        return np.array([_discrepancy(first, second)])
    smallest = min(len(first), len(second))
    if not 2 <= subset_size <= smallest:
        raise InputError(
            f"subset_size is {subset_size} with sets of {len(first)} and {len(second)} images: "
            f"expected 2 to {smallest}; lower it or add images"
        )
    values = []
    for subset in range(subsets):
        rng = derive(seed, subset, "kernel distance")
        parts = [rows[_to(rng.permutation(len(rows))[:subset_size], rows)] for rows in (first, second)]
        values.append(_discrepancy(parts[0], parts[1]))
    return np.array(values)


def inception_score(probs: Features, splits: int = 10) -> float:
    """Inception score: the mean of :func:`inception_scores`, between 1 and the number of classes."""
    return float(np.mean(inception_scores(probs, splits)))


def inception_scores(probs: Features, splits: int = 10) -> np.ndarray:
    """``exp(mean KL(p(c|x) ‖ p(c)))`` a split (Salimans et al. 2016).

    Split i holds rows ``i N // splits`` to ``(i + 1) N // splits``, as the original code; splitting into chunks of
    equal length leaves fewer, or very short, splits and another value when N is no multiple.

    Args:
        probs: (N, C) class probabilities, in an order that says nothing about the class.
        splits: number of splits.

    Returns:
        (splits,) float64, the score of each split, between 1 and C.

    Raises:
        InputError: fewer rows than splits, or rows that are no probabilities.
    """
    rows = _rows(probs, "probabilities", 1).double()
    if not 1 <= splits <= len(rows):
        raise InputError(f"{len(rows)} images in {splits} splits: expected 1 to {len(rows)} splits; add images")
    if float(rows.min()) < 0:
        raise InputError(f"probabilities hold {float(rows.min()):.3g}: expected no negative value; apply a softmax")
    sums = rows.sum(1)
    if not torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-3):
        worst = float(sums[(sums - 1).abs().argmax()])
        raise InputError(f"a row of probabilities sums to {worst:.6g}: expected 1; apply a softmax to the logits")
    rows = rows / sums[:, None]  # float32 softmax is off by 1e-7
    scores = []
    for split in range(splits):
        part = rows[split * len(rows) // splits : (split + 1) * len(rows) // splits]
        entropy = torch.special.entr(part).sum(1).mean()
        scores.append(math.exp(float(torch.special.entr(part.mean(0)).sum() - entropy)))
    return np.array(scores)


def precision_recall(real: Features, fake: Features, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, Eq. 1 and 2).

    Precision is the share of generated images within the distance of some real image to its k-th nearest other real
    image; recall is the same with the sets exchanged.

    Args:
        real: (n, d) features, n > k.
        fake: (m, d) features, m > k.
        k: which neighbour.

    Returns:
        Precision and recall in [0, 1].

    Raises:
        InputError: unusable features, k below 1, or k not below both sizes.
    """
    first, second = (rows.double() for rows in _pair(real, fake, 1))
    if not 1 <= k < min(len(first), len(second)):
        sizes = f"{len(first)} real and {len(second)} generated images"
        raise InputError(f"k is {k} with {sizes}: expected 1 to {min(len(first), len(second)) - 1}; add images")
    centre = first.mean(0)  # distances do not change, and cancel less
    first, second = first - centre, second - centre
    return _share_inside(second, first, k), _share_inside(first, second, k)


def _share_inside(points: Tensor, support: Tensor, k: int) -> float:
    """Share of the points that lie in the ball of some support row that reaches to its k-th nearest other row."""
    radii = torch.cat([part.kthvalue(k + 1, dim=1).values for part in _distances(support, support)])  # itself is one
    inside = [(part <= radii).any(1) for part in _distances(points, support)]
    return float(torch.cat(inside).double().mean())


def _distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Squared distances (n, m) in blocks of rows; what rounding leaves between equal rows is 0."""
    squares = y.square().sum(1)
    for part in x.split(BLOCK):
        scale = part.square().sum(1)[:, None] + squares
        found = torch.addmm(scale, part, y.T, alpha=-2)
        yield torch.where(found > 1e-13 * scale, found, 0.0)


def _discrepancy(x: Tensor, y: Tensor) -> float:
    n, m = len(x), len(y)
    within = _kernel_sum(x, x, diagonal=False) / (n * (n - 1)) + _kernel_sum(y, y, diagonal=False) / (m * (m - 1))
    return within - 2 * _kernel_sum(x, y, diagonal=True) / (n * m)


def _kernel_sum(x: Tensor, y: Tensor, diagonal: bool) -> float:
    """Sum of ``(x·y/d + 1)³`` over all pairs of rows, in blocks."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK].double()
        for other in range(0, len(y), BLOCK):
            kernel = (part @ y[other : other + BLOCK].double().T / x.shape[1] + 1) ** 3
            if not diagonal and start == other:
                kernel.fill_diagonal_(0)
            total += float(kernel.sum())
    return total


def _pair(x: Features, y: Features, least: int) -> tuple[Tensor, Tensor]:
    first, second = _rows(x, "first features", least), _rows(y, "second features", least)
    _same_dims(first.shape[1], second.shape[1])
    return first, second.to(first.device)


def _same_dims(first: int, second: int) -> None:
    if first != second:
        raise InputError(f"features of {first} and {second} dimensions: expected both sets from one extractor")


def _rows(values: Features, name: str, least: int) -> Tensor:
    """The values as a tensor (n, d), checked; their dtype is kept, so that large sets are converted in pieces."""
    rows = _tensor(values)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{name} have the shape {tuple(rows.shape)}: expected (images, dimensions)")
    if len(rows) < least:
        raise InputError(f"{name} hold {len(rows)} images: expected at least {least}; add images")
    if rows.is_complex():
        raise InputError(f"{name} are {rows.dtype}: expected real numbers")
    if not all(bool(torch.isfinite(part).all()) for part in rows.split(BLOCK)):
        raise InputError(f"{name} hold NaN or infinite values; check the images and the extractor's weights")
    return rows


def _tensor(values: Features) -> Tensor:
    return values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))


def _to(index: np.ndarray, rows: Tensor) -> Tensor:
    return torch.from_numpy(index).to(rows.device)

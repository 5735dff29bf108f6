"""FID, KID, IS, precision and recall against closed forms, high precision and direct loops."""

from __future__ import annotations

import math

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torchmetrics.image.inception import InceptionScore as TorchmetricsScore

from datamodules.errors import InputError
from lit.metrics.image.scores import (
    frechet,
    frechet_distance,
    frechet_from_moments,
    inception_score,
    kernel_distance,
    kernel_distances,
    precision_recall,
)


def features(seed: int, count: int, dims: int, spread: float = 1.0) -> np.ndarray:
    """Correlated features with a mean."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dims)) @ rng.normal(size=(dims, dims)) * spread + rng.normal(size=dims)


def traces(*sets: np.ndarray) -> float:
    """Sum of all variances, which sets the scale of rounding."""
    return sum(float(rows.var(0).sum()) for rows in sets)


def precise(x: np.ndarray, y: np.ndarray) -> float:
    """The distance with 60 digits: eigenvalues of F1 S2 F1ᵀ, F the centred rows, exact for singular covariances."""
    with mpmath.workdps(60):
        centred, means = [], []
        for rows in (x, y):
            matrix = mpmath.matrix(rows.tolist())
            n, d = rows.shape
            mean = [mpmath.fsum(matrix[i, j] for i in range(n)) / n for j in range(d)]
            scale = mpmath.sqrt(n - 1)
            centred.append(mpmath.matrix(n, d))
            for i in range(n):
                for j in range(d):
                    centred[-1][i, j] = (matrix[i, j] - mean[j]) / scale
            means.append(mean)
        cross = centred[0] * centred[1].T
        if cross.rows > cross.cols:
            cross = cross.T
        roots = mpmath.fsum(mpmath.sqrt(max(v, 0)) for v in mpmath.eigsy(cross * cross.T, eigvals_only=True))
        variance = mpmath.fsum(v * v for part in centred for v in part)
        return float(mpmath.fsum((a - b) ** 2 for a, b in zip(*means)) + variance - 2 * roots)


@pytest.mark.parametrize(("n", "m", "d"), [(24, 19, 5), (5, 7, 11), (4, 20, 9), (20, 4, 9), (9, 9, 9), (2, 2, 6)])
def test_frechet_distance_to_sixty_digits(n: int, m: int, d: int) -> None:
    """Every form: rows on both sides, on one, moments; many more and fewer images than dimensions."""
    x, y = features(1, n, d), features(2, m, d, 0.5)
    assert frechet_distance(x, y) == pytest.approx(precise(x, y), rel=1e-9, abs=1e-11 * traces(x, y))


def test_frechet_distance_of_commuting_covariances() -> None:
    """Diagonal covariances: |m1 - m2|² + Σ (σ1 - σ2)²."""
    sigma, tau = np.array([1.0, 1e-3, 7.0, 0.0]), np.array([2.0, 5.0, 7.0, 0.3])
    mean = np.array([1.0, 0.0, -2.0, 0.5])
    expected = mean @ mean + ((sigma - tau) ** 2).sum()
    found = frechet_from_moments(mean, np.diag(sigma**2), np.zeros(4), np.diag(tau**2))
    assert found == pytest.approx(expected, rel=1e-12)
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=float)
    found = frechet_distance(signs * [1, 2, 3] + 1, signs * [2, 2, 5])
    assert found == pytest.approx(3 + 8 / 7 * (1 + 0 + 4), rel=1e-12)  # variance of ±1 with ddof 1


def test_frechet_distance_as_scipy() -> None:
    x, y = features(3, 300, 40), features(4, 260, 40, 1.2)
    covs = [np.cov(rows.T) for rows in (x, y)]
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(covs[0] + covs[1] - 2 * sqrtm(covs[0] @ covs[1]).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_from_moments(x.mean(0), covs[0], y.mean(0), covs[1]) == pytest.approx(expected, rel=1e-9)


def test_features_that_never_change() -> None:
    """A singular covariance although images outnumber dimensions: dead and doubled features."""
    x, y = features(5, 40, 6), features(6, 50, 6)
    wide = [np.column_stack([rows, np.full(len(rows), 3.0), rows[:, 0]]) for rows in (x, y)]
    assert frechet_distance(*wide) == pytest.approx(precise(*wide), rel=1e-6)
    assert frechet_distance(np.full((9, 3), 2.0), np.full((8, 3), 4.0)) == pytest.approx(12.0, rel=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 30), st.integers(1, 12), st.floats(-50, 50))
def test_frechet_distance_properties(seed: int, n: int, m: int, d: int, shift: float) -> None:
    x, y = features(seed, n, d), features(seed + 1, m, d)
    scale = traces(x, y) + shift**2 * d
    value = frechet_distance(x, y)
    assert value == pytest.approx(frechet_distance(y, x), abs=1e-7 * scale)
    assert value == pytest.approx(frechet_distance(x + shift, y + shift), abs=1e-6 * scale)
    assert value >= -1e-7 * scale
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7 * scale)
    assert frechet_distance(x, x + shift) == pytest.approx(shift**2 * d, abs=1e-7 * scale)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, abs=1e-6 * scale)


def test_shards_added_up_equal_one_set() -> None:
    x, y = torch.from_numpy(features(7, 90, 8)), torch.from_numpy(features(8, 70, 8))
    parts = x.split([1, 40, 0, 49])
    total, outer = (torch.stack(list(sums)).sum(0) for sums in zip(*((p.sum(0), p.T @ p) for p in parts)))
    merged = frechet.from_sums(90, total, outer)
    assert frechet.distance(merged, frechet.from_rows(y)) == pytest.approx(frechet_distance(x, y), rel=1e-11)


def test_a_mean_of_shards_is_another_number() -> None:
    x, y = features(9, 40, 6), features(10, 40, 6)
    shards = np.mean([frechet_distance(x[:20], y[:20]), frechet_distance(x[20:], y[20:])])
    assert shards > 1.05 * frechet_distance(x, y)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_any_dtype_is_computed_in_float64(dtype: torch.dtype) -> None:
    x, y = (torch.from_numpy(features(seed, 30, 4) * 10 + 100).clamp(0, 250).to(dtype) for seed in (1, 2))
    assert frechet_distance(x, y) == frechet_distance(x.double(), y.double())
    assert kernel_distance(x, y) == kernel_distance(x.double(), y.double())
    assert precision_recall(x, y) == precision_recall(x.double(), y.double())


def kernel_loops(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate pair by pair."""
    d = x.shape[1]
    sums = {"xx": 0.0, "yy": 0.0, "xy": 0.0}
    for name, first, second in (("xx", x, x), ("yy", y, y), ("xy", x, y)):
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                if name == "xy" or i != j:
                    sums[name] += (float(a @ b) / d + 1) ** 3
    n, m = len(x), len(y)
    return sums["xx"] / (n * (n - 1)) + sums["yy"] / (m * (m - 1)) - 2 * sums["xy"] / (n * m)


def test_kernel_distance_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(11, 23, 5), features(12, 31, 5)
    assert kernel_distance(x, y) == pytest.approx(kernel_loops(x, y), rel=1e-11)
    monkeypatch.setattr("lit.metrics.image.scores.BLOCK", 7)  # 23 and 31 are no multiples
    assert kernel_distance(x, y) == pytest.approx(kernel_loops(x, y), rel=1e-11)


def test_kernel_distance_of_subsets() -> None:
    x, y = features(13, 40, 5), features(14, 50, 5)
    values = kernel_distances(x, y, subsets=50, subset_size=30)
    assert kernel_distance(x, y, 50, 30) == values.mean()
    assert kernel_distance(x, y, 50, 30, seed=1) != values.mean()
    assert abs(values.mean() - kernel_distance(x, y)) < 3 * values.std()
    assert kernel_distances(x, y[:40], 5, 40) == pytest.approx([kernel_loops(x, y[:40])] * 5, abs=1e-9)


def test_inception_score_splits_as_the_original() -> None:
    """23 rows in 10 splits: rows i N // k, where torch.chunk would make 8 splits of 3."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(23, 7)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scores = []
    for split in range(10):
        part = probs[split * 23 // 10 : (split + 1) * 23 // 10]
        scores.append(math.exp(np.mean((part * (np.log(part) - np.log(part.mean(0)))).sum(1))))
    assert inception_score(probs, 10) == pytest.approx(np.mean(scores), rel=1e-12)
    other = TorchmetricsScore(feature=torch.nn.Identity(), splits=10)
    other.features.append(torch.from_numpy(logits))
    assert abs(float(other.compute()[0]) - np.mean(scores)) > 0.01


def test_inception_score_at_its_ends() -> None:
    assert inception_score(np.eye(6)[np.arange(60) % 6], 10) == pytest.approx(6)
    assert inception_score(np.full((20, 6), 1 / 6), 10) == pytest.approx(1)
    assert inception_score(np.eye(6)[:1].repeat(10, 0), 1) == pytest.approx(1)


def inside(points: np.ndarray, support: np.ndarray, k: int) -> float:
    hits = 0
    for point in points:
        for i, centre in enumerate(support):
            others = sorted(np.linalg.norm(centre - other) for j, other in enumerate(support) if j != i)
            if np.linalg.norm(point - centre) <= others[k - 1]:
                hits += 1
                break
    return hits / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_point_by_point(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = features(15, 37, 4), features(15, 41, 4, 0.6) + 0.8
    expected = (inside(fake, real, k), inside(real, fake, k))
    assert 0 < min(expected) <= max(expected) < 1 or k == 3
    assert precision_recall(real, fake, k) == expected
    monkeypatch.setattr("lit.metrics.image.scores.BLOCK", 10)
    assert precision_recall(real, fake, k) == expected


def test_precision_and_recall_of_copies() -> None:
    """Repeated rows make balls of radius 0, which hold exact copies only."""
    real = np.repeat(features(16, 5, 3) + 1e3, 4, axis=0)
    assert precision_recall(real, real[::-1].copy()) == (1, 1)
    assert precision_recall(real, real + 1e-2) == (0, 0)


GOOD = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.where(GOOD == 5, np.nan, GOOD), "NaN or infinite"),
        (np.where(GOOD == 5, -np.inf, GOOD), "NaN or infinite"),
        (GOOD[:0], "hold 0 images"),
        (GOOD[:1], "hold 1 images: expected at least 2"),
        (GOOD[:, :2], "2 and 3 dimensions"),
        (GOOD[0], "shape"),
        (GOOD[None], "shape"),
        (GOOD[:, :0], "shape"),
        (GOOD * 1j, "complex"),
    ],
)
def test_unusable_features_are_refused(bad: np.ndarray, says: str) -> None:
    for metric in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match=says):
            metric(bad, GOOD)
    with pytest.raises(InputError, match=says.split("hold 1")[0] or "k is 3"):
        precision_recall(bad, GOOD)


def test_unusable_options_are_refused() -> None:
    cases = [
        (lambda: kernel_distance(GOOD, GOOD, 2), "2 subsets without a size"),
        (lambda: kernel_distance(GOOD, GOOD, 2, 5), "subset_size is 5 with sets of 4 and 4 images: expected 2 to 4"),
        (lambda: kernel_distance(GOOD, GOOD, 0), "subsets is 0"),
        (lambda: precision_recall(GOOD, GOOD, 4), "k is 4 .* expected 1 to 3"),
        (lambda: precision_recall(GOOD, GOOD, 0), "k is 0"),
        (lambda: inception_score(np.full((9, 2), 0.5), 10), "9 images in 10 splits"),
        (lambda: inception_score(np.full((20, 2), 0.6)), "sums to 1.2"),
        (lambda: inception_score(np.tile([1.5, -0.5], (20, 1))), "no negative value"),
        (lambda: inception_score(np.full((20, 2), np.nan)), "NaN"),
        (lambda: frechet_from_moments(np.zeros(3), np.eye(2), np.zeros(3), np.eye(3)), "first: mean"),
        (lambda: frechet_from_moments(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), "2 and 3 dimensions"),
        (lambda: frechet_from_moments(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2) * np.nan), "second: .*NaN"),
        (lambda: frechet_from_moments(np.zeros(2), np.array([[1, 2], [0, 1.0]]), np.zeros(2), np.eye(2)), "symmetric"),
    ]
    for call, says in cases:
        with pytest.raises(InputError, match=says) as caught:
            call()
        assert "\n" not in str(caught.value)

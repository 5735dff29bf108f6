"""Frechet distance between two Gaussians, from rows or from sums, also where a covariance is singular.

``|m1 - m2|² + tr S1 + tr S2 - 2 tr √(S1 S2)`` (Dowson and Landau 1982; FID: Heusel et al. 2017, Eq. 6), float64 and
ddof 1. Only the last trace is expensive; with ``S = FᵀF`` it is the nuclear norm of ``F1 F2ᵀ``:

* both sets have at most d rows: F is the centred rows over √(n - 1), and the singular values of an n1 × n2 matrix are
  exact to rounding although both covariances are singular;
* one set has: the singular values of ``F1 L2``, with a Cholesky factor ``L2 L2ᵀ`` of the other's covariance;
* neither has: a Cholesky factor of S1 and ``Σ √eig(L1ᵀ S2 L1)``, three times cheaper than the eigenvalues of the
  unsymmetric ``S1 S2``. A covariance that is singular all the same (a feature that never changes) has no Cholesky
  factor: then both are factored by their eigenvectors, without those of rounding size.

The value is not clamped: two identical sets may give a small negative number (rounding, 1e-12 of the traces).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import InputError

PANELS = 8  # of a triangular product
CHUNK = 4096  # rows converted to float64 at a time: half and float sets never exist twice as a whole


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of a set of features.

    Attributes:
        mean: (d,) float64.
        variance: trace of the covariance.
        rows: (n, d) centred rows over √(n - 1), whose Gram matrix is the covariance; None when ``cov`` is given.
        cov: (d, d) covariance; None when ``rows`` is given.
    """

    mean: Tensor
    variance: float
    rows: Tensor | None = None
    cov: Tensor | None = None


def from_rows(rows: Tensor) -> Gaussian:
    """The Gaussian of features (n, d) with n >= 2; centred rows while those are no larger than the covariance."""
    count, dims = rows.shape
    mean = torch.stack([part.double().sum(0) for part in rows.split(CHUNK)]).sum(0) / count
    if count <= dims:
        centred = (rows.double() - mean) / (count - 1) ** 0.5
        return Gaussian(mean, float(centred.square().sum()), rows=centred)
    cov = torch.zeros(dims, dims, dtype=torch.float64, device=rows.device)
    for part in rows.split(CHUNK):
        centred = part.double() - mean
        add_gram(cov, centred)
    return from_moments(mean, mirrored(cov) / (count - 1))


def from_sums(count: Tensor | int, total: Tensor, outer: Tensor) -> Gaussian:
    """The Gaussian of sums over rows: their count, Σx (d,) and the lower triangle of Σxxᵀ (d, d), float64."""
    mean = total / count
    return from_moments(mean, torch.addr(mirrored(outer), total, mean, alpha=-1) / (count - 1))


def add_gram(lower: Tensor, rows: Tensor) -> None:
    """Add ``rowsᵀ rows`` to the lower triangle of (d, d), in place.

    In panels, which leave out what lies above them: 56 % of the products. What stands above the diagonal means nothing.
    """
    dims, width = len(lower), max(-(-len(lower) // PANELS), 1)
    for start in range(0, dims, width):
        panel = slice(start, start + width)
        lower[start:, panel].addmm_(rows[:, start:].T, rows[:, panel])


def mirrored(lower: Tensor) -> Tensor:
    """The symmetric matrix of a lower triangle."""
    return lower.tril() + lower.tril(-1).T


def from_moments(mean: Tensor, cov: Tensor) -> Gaussian:
    """The Gaussian of a mean (d,) and a symmetric covariance (d, d)."""
    return Gaussian(mean, float(cov.trace()), cov=cov)


def distance(first: Gaussian, second: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians of the same dimension."""
    shift = float((first.mean - second.mean).square().sum())
    return shift + first.variance + second.variance - 2 * _root_trace(first, second)


def _root_trace(first: Gaussian, second: Gaussian) -> float:
    """``tr √(S1 S2)``."""
    if first.rows is not None and second.rows is not None:
        return _nuclear_norm(first.rows @ second.rows.T)
    if first.rows is None and second.rows is not None:
        first, second = second, first
    cov = second.cov
    assert cov is not None
    if first.rows is not None:
        lower = _cholesky(cov)  # singular values, for centred rows add up to 0: rounding of that eigenvalue has a root
        return _nuclear_norm(first.rows @ (_spectral_factor(cov).T if lower is None else lower))
    assert first.cov is not None
    lower, other = _cholesky(first.cov), _cholesky(cov)
    if lower is None or other is None:
        return _nuclear_norm(_spectral_factor(first.cov) @ _spectral_factor(cov).T)
    return float(torch.linalg.eigvalsh(_congruent(cov, lower), UPLO="L").clamp_min(0).sqrt().sum())


def _cholesky(cov: Tensor) -> Tensor | None:
    """The lower factor, or None for a covariance that is singular to rounding: its last pivots are noise."""
    lower, failed = torch.linalg.cholesky_ex(cov)
    pivots = lower.diagonal().square()
    singular = bool(failed) or bool(pivots.min() <= _noise(cov) * cov.diagonal().max())
    return None if singular else lower


def _spectral_factor(cov: Tensor) -> Tensor:
    """F (r, d) with ``FᵀF = cov`` up to eigenvalues of rounding size."""
    values, vectors = torch.linalg.eigh(cov)
    kept = values > _noise(cov) * values[-1].clamp_min(0)
    return (vectors[:, kept] * values[kept].sqrt()).T


def _noise(cov: Tensor) -> float:
    return len(cov) * torch.finfo(torch.float64).eps


def _congruent(cov: Tensor, lower: Tensor) -> Tensor:
    """The lower triangle of ``Lᵀ S L``, in panels that skip L's zeros and the upper triangle: 40 % of the products."""
    dims, width = len(cov), max(-(-len(cov) // PANELS), 1)
    starts = range(0, dims, width)
    product = torch.empty_like(cov)
    for start in starts:
        panel = slice(start, start + width)
        torch.mm(cov[:, start:], lower[start:, panel], out=product[:, panel])
    found = torch.zeros_like(cov)
    for start in starts:
        stop = min(start + width, dims)
        found[start:stop, :stop] = lower[start:, start:stop].T @ product[start:, :stop]
    return found


def _nuclear_norm(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix).sum()) if matrix.numel() else 0.0


def check_moments(mean: Tensor, cov: Tensor, name: str) -> None:
    """Refuse a mean that is no (d,) or a covariance that is no symmetric (d, d), and values that are not finite.

    Raises:
        InputError: names what was found.
    """
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
        shapes = f"mean {tuple(mean.shape)} and covariance {tuple(cov.shape)}"
        raise InputError(f"{name}: {shapes}, expected (d,) and (d, d) of one feature extractor")
    if not (torch.isfinite(mean).all() and torch.isfinite(cov).all()):
        raise InputError(
            f"{name}: mean or covariance holds NaN or infinite values; recompute them from finite features"
        )
    if not torch.allclose(cov, cov.T, rtol=1e-6, atol=1e-9 * float(cov.diagonal().abs().max().clamp_min(1e-300))):
        raise InputError(f"{name}: the covariance is not symmetric; expected the covariance of features (n, d)")

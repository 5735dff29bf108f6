"""``bench``: processor time of the Frechet distance against torchmetrics', from accumulated state to the number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lit.commands.bench.timing import one_thread, timed
from lit.metrics.image.metrics import FrechetDistance

DIMS = 2048  # of pool3, the features of every published FID
SIZES = {"2048": 5000, "1000": 1000}  # images a side: more than the dimensions, and fewer


class _Ready(nn.Module):
    """Stands in for an extractor: hands features through, which arrive as images of d pixels (B, 3, 1, d)."""

    name, version, dims, classes, num_features = "ready", "1", DIMS, 0, DIMS

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, d)."""
        return images[:, 0, 0]

    def both(self, images: Tensor) -> tuple[Tensor, None]:
        """Features (B, d), and no logits."""
        return self(images), None


def measure() -> dict[str, Any]:
    """Time both metrics' ``compute`` on the same features, one thread, processor time.

    Timed on either side is ``compute()`` after all ``update()`` calls, that is everything between what the metric has
    accumulated and the number. With 5,000 images a side both hold float64 sums (this suite's also up to 128 rows that
    it adds to them within the timed part); torchmetrics holds the same sums with 1,000 images, where this suite's
    metric still holds the rows. ``update`` is timed apart, summed over both sides, because the two divide the work
    differently: ``total_ratio_*`` is the ratio of update and compute together. The extractor is a dummy in both. The
    features are float32, positive, correlated and of decaying variance, as pool3's are. The timed computation is each
    metric's second, after one on other data of 300 images.

    Returns:
        For each size: ``fid_ratio_*`` (torchmetrics / ours), ``fid_seconds_*``, ``fid_torchmetrics_seconds_*``, the
        same of updates, ``total_ratio_*``, and ``fid_relative_difference_*`` of the two values.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    def reference() -> FrechetInceptionDistance:
        return FrechetInceptionDistance(feature=_Ready(), input_img_size=(3, 1, DIMS))

    measured: dict[str, Any] = {}
    with one_thread():
        warm = _sets(300)
        for build in (lambda: FrechetDistance(_Ready()), reference):
            _timed(build(), warm)
        for label, count in SIZES.items():
            sets = _sets(count)
            ours, update, compute = _timed(FrechetDistance(_Ready()), sets)
            theirs, their_update, their_compute = _timed(reference(), sets)
            measured |= {
                f"fid_ratio_{label}": their_compute / compute,
                f"fid_seconds_{label}": compute,
                f"fid_torchmetrics_seconds_{label}": their_compute,
                f"fid_update_seconds_{label}": update,
                f"fid_torchmetrics_update_seconds_{label}": their_update,
                f"total_ratio_{label}": (their_update + their_compute) / (update + compute),
                f"fid_relative_difference_{label}": abs(ours - theirs) / abs(theirs),
            }
    return measured


def _sets(count: int) -> tuple[Tensor, Tensor]:
    """Two sets of features (count, 3, 1, d), as images whose channels are equal."""
    generator = torch.Generator().manual_seed(count)
    mixing = torch.randn(256, DIMS, generator=generator) * torch.linspace(1, 0.01, 256)[:, None] / 16
    found = []
    for shift in (0.0, 0.1):
        latent = torch.randn(count, 256, generator=generator) + shift
        noise = 0.2 * torch.randn(count, DIMS, generator=generator)
        found.append((0.4 + latent @ mixing + noise).clamp_min(0)[:, None, None].expand(-1, 3, 1, -1))
    return found[0], found[1]


def _timed(metric: Any, sets: tuple[Tensor, Tensor]) -> tuple[float, float, float]:
    """The value, and the seconds of all updates (batches of 250) and of compute."""
    update = timed(lambda: [metric.update(b, real=r) for r, s in zip((True, False), sets) for b in s.split(250)])[1]
    value, compute, _ = timed(metric.compute)
    return float(value), update, compute

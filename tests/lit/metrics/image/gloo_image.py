"""Worker of the image metrics' tests: two gloo processes see parts of one set, with padded repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics import Metric

from lit.features.random_extractor import RandomExtractor
from lit.metrics.image.diversity import SampleDiversity
from lit.metrics.image.metrics import FrechetDistance, InceptionScore, KernelDistance, PrecisionRecall

COUNTS = {"real": 41, "fake": 37}
BATCH = 5


def images(side: str) -> Tensor:
    """The whole set of a side, uint8 (N, 3, 16, 16): smooth blobs, whose colours differ between the sides."""
    generator = torch.Generator().manual_seed(len(side) + COUNTS[side])
    coarse = torch.rand(COUNTS[side], 3, 4, 4, generator=generator) * (1.0 if side == "real" else 0.8)
    return (torch.nn.functional.interpolate(coarse, size=16, mode="bilinear") * 255).byte()


def metrics() -> dict[str, Callable[[], Metric]]:
    """Metrics to compare; the FID of wide features stays rows, that of narrow ones becomes sums."""
    return {
        "fid_rows": lambda: FrechetDistance(RandomExtractor(0, width=16)),
        "fid_sums": lambda: FrechetDistance(RandomExtractor(0, width=2)),
        "kid": lambda: KernelDistance(RandomExtractor(0), subsets=4, subset_size=20),
        "is": lambda: InceptionScore(RandomExtractor(0), splits=3),
        "pr": lambda: PrecisionRecall(RandomExtractor(0)),
    }


def feed(metric: Metric, parts: dict[str, list[int]]) -> Metric:
    """Update with the images at some positions of each side, in batches."""
    for side, positions in parts.items():
        everything = images(side)
        for start in range(0, len(positions), BATCH):
            batch = positions[start : start + BATCH]
            metric.update(everything[batch], real=side == "real", sample_ids=[f"{side}{k}" for k in batch])
    return metric


def padded(rank: int, count: int) -> list[int]:
    """What DistributedSampler gives a rank of two: an odd set is padded with its first sample."""
    return [*range(rank, count, 2), *([0] if rank and count % 2 else [])]


def scores(condition: int) -> Tensor:
    """Samples (1, 4, 3, 64, 64) of a condition for the diversity."""
    generator = torch.Generator().manual_seed(condition)
    return torch.rand(1, 4, 3, 64, 64, generator=generator)


def work(rank: int, folder: str) -> None:
    """Compute every metric on a padded split and with an empty rank, and write the figures."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=90)
    )
    try:
        figures = measure(rank)
    finally:
        torch.distributed.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))


def measure(rank: int) -> dict[str, list[float]]:
    """Figures of every metric and split, the same on both ranks."""
    figures: dict[str, list[float]] = {}
    splits = {
        "padded": {side: padded(rank, count) for side, count in COUNTS.items()},
        "empty": {side: [] if rank == 0 else [*range(count), 3, 4] for side, count in COUNTS.items()},
        "one side": {"real": [*range(41)] if rank else [], "fake": [] if rank else [*range(37)]},
    }
    for name, build in metrics().items():
        for split, parts in splits.items():
            metric = feed(build(), parts)
            metric.compute()
            metric._computed = None  # the state has to survive a first computation
            value = metric.compute()
            figures[f"{name}/{split}"] = list(value) if isinstance(value, tuple) else [value]
    nameless = FrechetDistance(RandomExtractor(0, width=2))  # its rows go into the sums at once, but 3 stay
    for side in COUNTS:
        part = images(side)[:30] if rank == 0 else images(side)[30:]
        for batch in part.split(BATCH if rank == 0 else 3):
            nameless.update(batch, real=side == "real")
    figures["fid_sums/nameless"] = [nameless.compute()]
    diversity = SampleDiversity(seed=1, pairs=3)
    for condition in padded(rank, 3):
        diversity.update(scores(condition), [f"condition{condition}"])
    figures["diversity"] = [diversity.compute()]
    return figures

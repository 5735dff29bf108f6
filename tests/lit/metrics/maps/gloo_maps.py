"""One seeded set of maps, poses and views; every metric over some of it, in this process or in two spawned ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torchmetrics import Metric

from lit.metrics.maps.alignment_metrics import (
    EdgeAveragePrecision,
    PoseAccuracy,
    ReconstructionScores,
    SegmentationScore,
)
from lit.metrics.maps.geometry_metrics import DepthAccuracy, NonFlatnessScore
from lit.metrics.maps.views import ViewScores

SAMPLES = 31


def build() -> dict[str, Metric]:
    """A fresh metric of every kind."""
    return {
        "nfs": NonFlatnessScore(0.1, 0.9, 16),
        "depth": DepthAccuracy(),
        "segmentation": SegmentationScore(4, ignore_index=9),
        "edges": EdgeAveragePrecision(),
        "coarse edges": EdgeAveragePrecision(),
        "poses": PoseAccuracy(),
        "views": ReconstructionScores(),
    }


def arguments(chosen: list[int]) -> dict[str, tuple[Any, ...]]:
    """What each metric's ``update`` takes for some samples, besides their ids."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, SAMPLES, 8, 8, generator=generator)
    labels = torch.randint(0, 3, (2, SAMPLES, 8, 8), generator=generator)
    labels[0, :, 0, 0] = 9
    edges = torch.rand(SAMPLES, 8, 8, generator=generator) < 0.2 + 0.3 * maps[0]
    yaws = (torch.rand(2, SAMPLES, generator=generator) - 0.5) * math.pi
    views = torch.rand(2, SAMPLES, 12, 12, 4, generator=generator)
    rows = torch.tensor(chosen, dtype=torch.int64)
    return {
        "nfs": (maps[0, rows],),
        "depth": (maps[0, rows], maps[1, rows]),
        "segmentation": (labels[0, rows], labels[1, rows]),
        "edges": (maps[0, rows], edges[rows]),
        "coarse edges": ((maps[0, rows] * 7).int(), edges[rows]),
        "poses": (yaws[0, rows], yaws[1, rows]),
        "views": (views[0, rows], views[1, rows]),
    }


def update(metrics: dict[str, Metric], chosen: list[int]) -> None:
    """Add some samples to every metric."""
    ids = [f"sample {index}" for index in chosen]
    for name, values in arguments(chosen).items():
        metrics[name].update(*values, sample_ids=ids)


def score_views(chosen: list[int]) -> dict[str, Any]:
    """Figures and counts of some objects' views by the callback's scorer; every other object has depth."""
    scores = ViewScores(sheet_objects=2, extractor="random:0", kid_subsets=3, kid_subset_size=20)
    for index in chosen:
        generator = torch.Generator().manual_seed(index)
        rendered, observed = torch.rand(2, 2, 12, 12, 4, generator=generator)
        projection = torch.tensor([[10.0, 0, 6, 48], [0, 10, 6, 48], [0.5, 0, 0.5, 8]]).expand(2, 3, 4)
        depth = 7 + 2 * torch.rand(2, 12, 12, generator=generator) if index % 2 == 0 else None
        ids = [f"{index}/{view}" for view in range(2)]
        scores.add(rendered, (observed * 255).byte(), ids, depth, projection)
    return {"figures": scores.means(), "evaluator": scores.evaluator, "sheet": scores.sheet() is not None}


def work(rank: int, folder: str, cases: dict[str, list[list[int]]]) -> None:
    """Score each case's shard of this rank, and write the figures; and twice, to see that computing left no trace."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for case, shards in cases.items():
        metrics: dict[str, Any] = {**build()}
        shard = shards[rank]
        for batch in (shard[: len(shard) // 2], shard[len(shard) // 2 :]):
            if batch:  # a rank without data never calls update
                update(metrics, batch)
        figures = {name: metric.compute() for name, metric in metrics.items()}
        counted = {name: metric.counted() for name, metric in metrics.items() if hasattr(metric, "counted")}
        held = {"sizes": int(sum(map(len, metrics["edges"].sizes))), "distinct": counted}
        update(metrics, [0])  # a repeat for one of them at least
        again = {name: metric.compute() for name, metric in metrics.items()}
        text = json.dumps({"figures": figures, "again": again, "views": score_views(shard), **held})
        (Path(folder) / f"{case}{rank}.json").write_text(text)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()

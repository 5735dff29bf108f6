"""Runs the nuScenes metric and the gathering of submissions on two gloo processes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing

from lit.commands.bench.nuscenes import draw_samples
from lit.metrics.nuscenes.evaluation import NuscenesDetection, gather_samples

SAMPLES = 31


def _worker(rank: int, folder: str, cases: dict[str, list[list[int]]]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    truths, preds = draw_samples(SAMPLES, 12, 20, seed=4)
    tokens = list(truths)
    for case, shards in cases.items():
        metric = NuscenesDetection()
        chosen = [tokens[k] for k in shards[rank]]
        if chosen:  # a rank without data never calls update
            metric.update(chosen, [truths[token] for token in chosen], [preds[token] for token in chosen])
        (Path(folder) / f"{case}{rank}.json").write_text(json.dumps(metric.compute(), allow_nan=False))
        gathered = list(gather_samples({token: preds[token] for token in chosen}))
        (Path(folder) / f"{case}{rank}.tokens.json").write_text(json.dumps(gathered))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def run_two(folder: Path, cases: dict[str, list[list[int]]]) -> None:
    """Write ``<case><rank>.json`` and ``<case><rank>.tokens.json`` for shards of sample numbers."""
    multiprocessing.spawn(_worker, (str(folder), cases), nprocs=2)

"""Scores of one made-up set of conditional samples, in this process or in two spawned ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lit.metrics.maps.conditional_scores import ConditionalScores
from lit.metrics.maps.edge_strength import edge_strength

MAPS, SIZE = 7, 16


def score(chosen: list[int], edges: bool) -> dict[str, Any]:
    """Figures of some label maps with three samples each, and of a second round that keeps the reference."""
    scores = ConditionalScores(lpips=None, kid_subsets=2, kid_subset_size=5)
    for _ in range(2):
        scores.start(None if edges else 3, edge_strength if edges else None)
        if not scores.reference:
            for index in chosen:
                real = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(index)) * 2 - 1
                scores.add_reference(real, [f"map{index}"])
            scores.keep_reference()
        for index in chosen:
            generator = torch.Generator().manual_seed(100 + index)
            images = list(torch.rand(3, 1, 3, SIZE, SIZE, generator=generator) * 2 - 1)
            if edges:
                labels = torch.rand(1, 1, SIZE, SIZE, generator=generator) * 2 - 1
                rendered = [labels + torch.randn(labels.shape, generator=generator) for _ in range(3)]
            else:
                labels = torch.randint(0, 3, (1, SIZE, SIZE), generator=generator)
                rendered = list(torch.randn(3, 1, 3, SIZE, SIZE, generator=generator))
            scores.add(labels, images[0], [f"map{index}"], images, rendered)
        figures = scores.means()
    return {"figures": figures, "counts": scores.counts}


def work(rank: int, folder: str, shards: list[list[int]]) -> None:
    """Score this rank's shard and write the figures."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = [score(shards[rank], edges) for edges in (True, False)]
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()

"""Runs a plan of trainer commands, one after the other: started as one process, Lightning starts the others beside it.

A plan is a JSON list of argument lists.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from datamodules.objects.posed_rays import RayBatch
from datamodules.scene import Batch
from lit.cli import main


class Seen(pl.Callback):
    """Writes what each step of this process trained on, a text a sample, and its logged losses.

    Args:
        folder: a file a process goes there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.steps: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any) -> None:
        self.steps.append({"samples": described(batch)})

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.steps[-1]["losses"] = {name: value for name, value in logged.items() if name.startswith("train/")}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(self.steps))


class KilledOnce(pl.Callback):
    """Ends one process the hard way after a step, the first time that the training comes there.

    Args:
        folder: a file there says that it has happened.
        rank: of the process.
        step: after which it ends.
    """

    def __init__(self, folder: str, rank: int = 1, step: int = 3) -> None:
        self.mark, self.rank, self.step = Path(folder) / "killed", rank, step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if (trainer.global_rank, trainer.global_step) == (self.rank, self.step) and not self.mark.exists():
            self.mark.touch()
            os._exit(9)


def described(batch: Any) -> list[str]:
    """A text for each sample of a batch, which tells it from any other."""
    if isinstance(batch, Batch):
        return [
            f"{name} {digest(image)} {objects.provenance.tolist()} {objects.boxes.center.round(6).tolist()}"
            for name, image, objects in zip(batch.sample_ids, batch.images, batch.objects)
        ]
    if isinstance(batch, RayBatch):
        columns = (batch.objects, batch.origins, batch.directions, batch.rgba, batch.background)
        return [" ".join(map(digest, row)) for row in zip(*columns)]
    names = getattr(batch, "ids", None) or map(digest, batch.labels)
    return [f"{name} {digest(image)}" for name, image in zip(names, batch.images)]


def digest(values: torch.Tensor) -> str:
    """Checksum of a tensor."""
    return f"{zlib.crc32(np.ascontiguousarray(values.cpu().numpy()).tobytes()):08x}"


def run(plan: list[list[str]]) -> None:
    """Run the commands of a plan; stop at the first that fails."""
    torch.set_num_threads(1)
    for words in plan:
        began = time.perf_counter()
        code = main(words)
        print(f"{words[0]} {Path(words[2]).stem}: {time.perf_counter() - began:.1f} s", flush=True)
        if code != 0:
            sys.exit(f"{code}: {' '.join(words)}")


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text()))

"""Where a run is: which process, under which seed, how far in training. Lightning is asked here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from lightning.pytorch import LightningDataModule


@dataclass(frozen=True)
class Position:
    """Decides, with the data, what is read next.

    Attributes:
        rank: this process.
        world: number of processes.
        seed: of all draws.
        batches: batches trained on so far, those before a resumed checkpoint included; None outside a training.
        step: batches begun in the current epoch, likewise.
    """

    rank: int = 0
    world: int = 1
    seed: int = 0
    batches: int | None = None
    step: int = 0

    @staticmethod
    def of(data: LightningDataModule, seed: int | None) -> Position:
        """The present position of a data module's trainer.

        Args:
            data: without a trainer, the process group decides, and without one this process is alone.
            seed: the module's; None takes the one given to ``seed_everything``, else 0.
        """
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        if data.trainer is not None:
            done = data.trainer.fit_loop.epoch_loop.batch_progress
            counts: tuple[int, int] = done.total.processed, done.current.ready  # type: ignore[attr-defined]  # of the private _ProcessedTracker
            return Position(data.trainer.global_rank, data.trainer.world_size, seed, *counts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return Position(torch.distributed.get_rank(), torch.distributed.get_world_size(), seed)
        return Position(seed=seed)

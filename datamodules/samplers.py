"""Which samples a rank draws, in which order: a function of the seed and of the position in the run, nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Sampler

from datamodules.errors import InputError
from datamodules.randomness import derive


@dataclass(frozen=True)
class Position:
    """Where a run is. Lightning is asked for it here and nowhere else.

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

    def places(self, step: int, batch: int) -> np.ndarray:
        """(batch,) places of this process's part of a step's batch, in the order that all processes share."""
        first = (step * self.world + self.rank) * batch
        return np.arange(first, first + batch)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (pass, index) of this rank's share of an endless stream of passes over the data.

    The order of each pass is a permutation drawn from (seed, pass). Batches take the stream without a gap, across the
    ends of passes and of epochs, and ranks take turns within a batch: their number changes who draws a sample but not
    what is drawn.
    """

    def __init__(
        self,
        length: int,
        samples: int,
        batch_size: int,
        position: Callable[[], Position] = Position,
    ) -> None:
        """Configure.

        Args:
            length: frames of the data set.
            samples: frames an epoch over all ranks, rounded down to whole batches.
            batch_size: frames a rank and batch.
            position: of the run, asked again when an epoch begins, so that a resumed run goes on with the very next
                sample; where it counts no batches, :meth:`set_epoch` counts whole epochs.
        """
        self.length, self.batch_size, self.position = length, batch_size, position
        self.batches = samples // (batch_size * position().world)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; only counts where the position counts no batches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        here = self.position()
        done = self.epoch * self.batches if here.batches is None else here.batches
        start = done * self.batch_size * here.world
        current, order = -1, np.zeros(0, np.int64)
        for turn in range(start + here.rank, start + len(self) * here.world, here.world):
            pass_, place = divmod(turn, self.length)
            if pass_ != current:
                current, order = pass_, derive(here.seed, pass_, "order").permutation(self.length)
            yield pass_, int(order[place])


def endless_order(count: int, places: np.ndarray, seed: int, epoch: int, what: str) -> np.ndarray:
    """(N,) rows at N places of an endless stream of an epoch's permutations: none waits longer than two of them."""
    rounds = {int(turn): derive(seed, epoch, int(turn), what).permutation(count) for turn in set(places // count)}
    return np.array([rounds[int(place // count)][place % count] for place in places])


def even_batches(count: int, batch: int, position: Position, what: str) -> list[np.ndarray]:
    """This process's part of 0..count - 1, in order, in as many batches as every other process has, none empty.

    Args:
        count: samples of all processes.
        batch: most samples a batch.
        position: of the run.
        what: the samples' name, for the message: "held-out pictures".

    Raises:
        InputError: fewer samples than processes.
    """
    ranks = position.world
    if count < ranks:
        raise InputError(f"{count} {what} for {ranks} processes: expected one each; hold out more")
    batches = min(-(-count // (ranks * batch)), count // ranks)
    own = np.array_split(np.arange(count), ranks)[position.rank]
    if (batches - 1) * batch < len(own) <= batches * batch:
        return [own[step * batch : (step + 1) * batch] for step in range(batches)]
    return np.array_split(own, batches)


class StepSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, step) for the steps of the current epoch; Lightning calls :meth:`set_epoch`.

    Args:
        steps: steps an epoch.
        position: of the run, asked when an epoch begins, so that a fit resumed within one draws what it had not drawn.
    """

    def __init__(self, steps: int, position: Callable[[], Position] = Position) -> None:
        self.steps, self.epoch, self.position = steps, 0, position

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, step) for step in range(self.position().step % self.steps, self.steps))


class ShardSampler(Sampler[int]):
    """Each rank's share of all indices, taken in turns, with repeats so that all ranks get equally many.

    Distributed models broadcast their buffers in each forward, so a rank with fewer batches would leave the others
    waiting. Metrics key their rows by sample id and drop the repeats.
    """

    def __init__(self, length: int, position: Position) -> None:
        rank, world = position.rank, position.world
        self.indices = [(rank + turn * world) % length for turn in range(math.ceil(length / world))]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class ExactShards(ShardSampler):
    """Each rank's share without repeats, for what is written and not scored.

    Raises:
        InputError: a rank would have nothing, and the others would wait for it.
    """

    def __init__(self, length: int, position: Position) -> None:
        super().__init__(length, position)
        if length < position.world:
            raise InputError(
                f"{length} samples for {position.world} processes: expected one each; lower trainer.devices"
            )
        self.indices = list(range(position.rank, length, position.world))

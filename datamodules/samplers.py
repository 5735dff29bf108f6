"""Which samples a rank draws, in which order: a function of the seed and of the position in the run, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from datamodules.randomness import derive


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
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        batches_done: Callable[[], int] | None = None,
    ) -> None:
        """Configure.

        Args:
            length: frames of the data set.
            samples: frames an epoch over all ranks, rounded down to whole batches.
            seed: the run's seed.
            batch_size: frames a rank and batch.
            rank: this process.
            world: number of processes.
            batches_done: batches this run has trained on, asked when an epoch begins, so that a resumed run goes on
                with the very next sample; by default whole epochs as :meth:`set_epoch` counts them.
        """
        self.length, self.seed, self.batch_size, self.rank, self.world = length, seed, batch_size, rank, world
        self.batches = samples // (batch_size * world)
        self.batches_done = batches_done
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; only counts without ``batches_done``."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        done = self.epoch * self.batches if self.batches_done is None else self.batches_done()
        start = done * self.batch_size * self.world
        current, order = -1, np.zeros(0, np.int64)
        for position in range(start + self.rank, start + len(self) * self.world, self.world):
            pass_, place = divmod(position, self.length)
            if pass_ != current:
                current, order = pass_, derive(self.seed, pass_, "order").permutation(self.length)
            yield pass_, int(order[place])


class ShardSampler(Sampler[int]):
    """Every ``world``-th index from ``rank`` on, in order, with repeats so that all ranks get equally many.

    Distributed models broadcast their buffers in each forward, so a rank with fewer batches would leave the others
    waiting. Metrics key their rows by sample id and drop the repeats.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self.indices = [(rank + turn * world) % length for turn in range(math.ceil(length / world))]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

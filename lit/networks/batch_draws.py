"""Random numbers of a batch of which every process holds a part, the same as one process would draw for all of it.

Every process draws for the whole batch from equal generators and takes its own rows: the first has the first so many,
and so on. That costs processes-fold draws, which next to a network are nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_part: ContextVar[tuple[int, int]] = ContextVar("part", default=(0, 1))


@contextmanager
def part_of_batch(rank: int, ranks: int) -> Iterator[None]:
    """Within, :func:`batch_draw` returns the part of process ``rank`` of ``ranks``."""
    token = _part.set((rank, ranks))
    try:
        yield
    finally:
        _part.reset(token)


def batch_draw(draw: Callable[[int], Tensor], count: int, dim: int = 0, even: bool = True) -> Tensor:
    """This process's part of a draw for the whole batch.

    Args:
        draw: returns random numbers for so many rows.
        count: rows of this process.
        dim: where the rows are in what it returns.
        even: all processes have as many; otherwise they are asked, which takes a message.
    """
    rank, ranks = _part.get()
    if ranks == 1:
        return draw(count)
    if even:
        return draw(count * ranks).narrow(dim, rank * count, count)
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    counts = torch.zeros(ranks, dtype=torch.int64, device=device)
    counts[rank] = count
    torch.distributed.all_reduce(counts)
    return draw(int(counts.sum())).narrow(dim, int(counts[:rank].sum()), count)

from __future__ import annotations

import torch

from lit.networks.batch_draws import batch_draw, part_of_batch


def drawn(rank: int, ranks: int, count: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    with part_of_batch(rank, ranks):
        return [
            batch_draw(lambda n: torch.randn(n, 5, generator=draw), count),
            batch_draw(lambda n: torch.rand(2, n, generator=draw), count, dim=1),
            torch.rand(1, generator=draw),  # what is drawn once for the batch is the same on all
        ]


def test_processes_draw_the_parts_of_one_batch() -> None:
    whole, parts = drawn(0, 1, 6), [drawn(rank, 3, 2) for rank in range(3)]
    for number, dim in ((0, 0), (1, 1)):
        assert torch.equal(torch.cat([part[number] for part in parts], dim), whole[number])
    assert all(torch.equal(part[2], whole[2]) for part in parts)


def test_outside_everything_is_this_processes() -> None:
    with part_of_batch(1, 2):
        pass
    assert len(batch_draw(torch.rand, 4)) == 4

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from lit.adversarial.rank_average import average_gradients


def test_gradients_that_are_not_finite_do_not_end_the_training() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.tensor([[float("nan"), 1.0]])
    average_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, torch.tensor([[0.0, 1.0]]))
    assert layer.bias.grad is None


def test_a_loss_scaler_sees_what_is_not_finite() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.tensor([[float("inf"), 1.0]])
    average_gradients(layer.parameters(), finite=False)
    assert torch.equal(layer.weight.grad, torch.tensor([[float("inf"), 1.0]]))


def process(rank: int, folder: Path) -> None:
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    layer, coin = nn.Linear(2, 3), nn.Parameter(torch.zeros(2))
    layer.weight.grad = torch.arange(6.0).view(3, 2) * (1 + rank)
    coin.grad = torch.ones(2) if rank == 0 else None  # only one process used it
    average_gradients([coin, *layer.parameters()])
    torch.save((layer.weight.grad, layer.bias.grad, coin.grad), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_hold_the_mean_of_their_gradients(tmp_path: Path) -> None:
    spawn(process, (tmp_path,), nprocs=2)
    for rank in range(2):
        weight, bias, coin = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(weight, torch.arange(6.0).view(3, 2) * 1.5)
        assert bias is None
        assert torch.equal(coin, torch.full((2,), 0.5))

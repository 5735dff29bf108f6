"""A run's position outside a trainer; what a trainer says is tested by resuming real runs (test_resume)."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from datamodules.errors import InputError
from datamodules.samplers import ExactShards, Position, ShardSampler, StepSampler


def test_the_modules_own_seed_comes_before_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pl.LightningDataModule()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert Position.of(data, None) == Position(0, 1, 0)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert Position.of(data, None) == Position(0, 1, 7)
    assert Position.of(data, 3) == Position(0, 1, 3)


def test_without_a_trainer_the_process_group_decides(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert Position.of(pl.LightningDataModule(), 3) == Position(0, 1, 3)
    finally:
        torch.distributed.destroy_process_group()


def test_shards_for_scores_repeat_and_shards_for_files_do_not() -> None:
    shares = [[list(kind(5, Position(rank, 3))) for rank in range(3)] for kind in (ShardSampler, ExactShards)]
    assert shares == [[[0, 3], [1, 4], [2, 0]], [[0, 3], [1, 4], [2]]]
    with pytest.raises(InputError, match="2 samples for 3 processes"):
        ExactShards(2, Position(0, 3))


def test_a_fit_resumed_within_an_epoch_draws_the_rest_of_it() -> None:
    sampler = StepSampler(4, lambda: Position(step=7))
    sampler.set_epoch(2)
    assert list(sampler) == [(2, 3)]
    assert list(StepSampler(2)) == [(0, 0), (0, 1)]

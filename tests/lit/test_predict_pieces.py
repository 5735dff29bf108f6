"""A bank that is predicted in pieces is the one that a single process predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.assets.bank import AssetBank
from datamodules.assets.bank_pieces import PIECE, join_pieces
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.samplers import ExactShards, Position
from lit import predict_pieces
from lit.cli import main
from lit.predict_pieces import draw_piece

OBJECTS = 5
CONFIG = """
model: {class_path: tests.lit.test_predict_pieces.ToyBaker}
data: {class_path: tests.lit.test_predict_pieces.ToyObjects}
trainer:
  accelerator: cpu
  enable_progress_bar: false
  callbacks: [{class_path: lit.callbacks.bank_writer.BankWriter, init_args: {folder: FOLDER, licence: CC0-1.0}}]
"""


class ToyObjects(pl.LightningDataModule):
    """Numbers, shared by the processes."""

    def predict_dataloader(self) -> DataLoader[int]:
        sampler = ExactShards(OBJECTS, Position.of(self, 0))
        return DataLoader(range(OBJECTS), batch_size=None, sampler=sampler)  # type: ignore[arg-type]


class ToyBaker(pl.LightningModule):
    """A grid a number, and with the first one this process's share of three new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> list[VoxelAsset]:
        new = range(self.global_rank, 3, self.trainer.world_size) if batch_idx == 0 else ()
        names = [(f"car-{int(batch):03d}", int(batch)), *((f"new-{number:03d}", 100 + number) for number in new)]
        dims = np.array([4.0, 1.5, 1.7])
        return [VoxelAsset(name, "Car", dims, np.full((8, 6, 6, 4), value, np.uint8)) for name, value in names]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The working directory, with a checkpoint; the words that name it."""
    monkeypatch.chdir(tmp_path)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.strategy.connect(ToyBaker())
    trainer.save_checkpoint("baker.ckpt", weights_only=True)
    return ["--ckpt_path", "baker.ckpt"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_pieces_joined_are_the_bank_of_one_process(
    tmp_path: Path, weights: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "one", "three"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.replace("FOLDER", name))
    assert main(["predict", "-c", "whole.yaml", *weights]) == 0
    for name, count in (("one", 1), ("three", 3)):
        for number in range(count):
            monkeypatch.setenv(PIECE, f"{number}/{count}")
            assert main(["predict", "-c", f"{name}.yaml", *weights]) == 0
        monkeypatch.delenv(PIECE)
        join_pieces(name, count)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    whole, three = AssetBank("whole"), AssetBank("three")
    assert whole.hash == three.hash
    assert three.ids == [*(f"car-{number:03d}" for number in range(OBJECTS)), "new-000", "new-001", "new-002"]


def test_a_prediction_asks_for_as_many_pieces_as_there_is_room_and_work_for(
    tmp_path: Path, weights: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bank.yaml").write_text(CONFIG.replace("FOLDER", "bank"))
    asked: list[int] = []

    def here(job: object, numbers: range, *_: object, gpus: float) -> list[None]:
        asked.append(len(numbers))
        for number in numbers:
            monkeypatch.setenv(PIECE, f"{number}/{len(numbers)}")
            assert main(["predict", "-c", "bank.yaml", *weights]) == 0
        monkeypatch.delenv(PIECE)
        return [None for _ in numbers]

    monkeypatch.setattr(predict_pieces, "spread_jobs", here)
    monkeypatch.setenv("LIFTBENCH_RAY", "")
    for cores in (2, 64):
        monkeypatch.setattr(predict_pieces, "cluster_room", lambda address, cores=cores: (cores, 0))
        assert main(["predict", "-c", "bank.yaml", "--ray", "elsewhere:6379", *weights]) == 0
    assert asked == [2, OBJECTS]
    assert "bank: bank (5 pieces)" in capsys.readouterr().out
    assert not (tmp_path / ".bank.pieces").exists()
    assert main(["predict", "-c", "bank.yaml", "--ray"]) == 2
    assert "--ray: expected an address" in capsys.readouterr().err


def test_a_piece_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode = 2

    def refused(words: list[str], stdout: Any, **_: object) -> Done:
        print("error: no such weights", file=stdout)
        return Done()

    monkeypatch.setattr(predict_pieces.subprocess, "run", refused)
    with pytest.raises(InputError, match=r"piece 1 of 2 of the bank .*bank: no such weights"):
        draw_piece(1, ["predict"], 2, str(tmp_path / "bank"))

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.assets.bank import AssetBank
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from lit.callbacks.bank_writer import BankWriter, hash_of


class Baker(pl.LightningModule):
    """Predicts one grid filled with the number of the batch; fails at ``fail_at``."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.fail_at = fail_at
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> list[VoxelAsset]:
        if batch_idx == self.fail_at:
            raise RuntimeError("killed")
        grid = np.full((8, 6, 6, 4), int(batch), np.uint8)
        return [VoxelAsset(f"car{int(batch)}", "Car", np.array([4.0 + float(batch), 1.5, 1.7]), grid)]


def predict(model: Baker, folder: Path) -> None:
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = pl.Trainer(callbacks=[BankWriter(str(folder), licence="CC0-1.0", seed=5)], **settings)
    loader: DataLoader = DataLoader(torch.arange(3), batch_size=None)  # type: ignore[arg-type]  # any sequence will do
    trainer.predict(model, loader, return_predictions=False)


def test_bank_holds_every_prediction(tmp_path: Path) -> None:
    predict(Baker(), tmp_path / "bank")
    bank = AssetBank(tmp_path / "bank")
    assert bank.ids == ["car0", "car1", "car2"]
    asset = bank[2]
    assert isinstance(asset, VoxelAsset)
    assert (asset.grid == 2).all()
    index = json.loads((tmp_path / "bank" / "bank.json").read_text())
    assert index["generator"] == "baker"
    assert index["licence"] == "CC0-1.0"
    assert index["seed"] == 5
    assert index["classes"]["Car"]["mean"] == pytest.approx([5.0, 1.5, 1.7])


class Captioner(Baker):
    """Says what its assets show."""

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> list[Any]:
        return [
            (asset, {"caption": f"block {batch_idx}", "score": 0.5}) for asset in super().predict_step(batch, batch_idx)
        ]


def test_rows_keep_what_a_step_says_of_its_assets(tmp_path: Path) -> None:
    predict(Captioner(), tmp_path / "bank")
    rows = AssetBank(tmp_path / "bank").index.assets
    assert [(row.caption, row.score, row.licence) for row in rows] == [(f"block {i}", 0.5, "CC0-1.0") for i in range(3)]


def test_hash_depends_on_weights_and_nothing_else(tmp_path: Path) -> None:
    hashes = []
    for name, weight in (("a", 0.0), ("b", 0.0), ("c", 1.0)):
        model = Baker()
        model.weight.data.fill_(weight)
        predict(model, tmp_path / name)
        hashes.append(AssetBank(tmp_path / name).hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_run_that_fails_leaves_the_old_bank_alone(tmp_path: Path) -> None:
    predict(Baker(), tmp_path / "bank")
    before = AssetBank(tmp_path / "bank").hash
    with pytest.raises(RuntimeError, match="killed"):
        predict(Baker(fail_at=1), tmp_path / "bank")
    assert AssetBank(tmp_path / "bank").hash == before
    with pytest.raises(RuntimeError, match="killed"):
        predict(Baker(fail_at=1), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_configuration_hash_ignores_order() -> None:
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1}) != hash_of({"a": 1, "b": [3]})

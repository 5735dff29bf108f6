"""Times of a training's steps: they count after the warm ones, and their parts make the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from datamodules.scene import Batch
from lit.callbacks.step_times import StepTimes, pictures_of
from tests.lit.toy_training import ToyDataModule, ToyModel


class Manual(ToyModel):
    """The same with two steps of the optimiser that it takes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        optimizer: Any = self.optimizers()
        for _ in range(2):
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()
        return loss


@pytest.mark.parametrize("model", [ToyModel, Manual])
def test_parts_make_the_whole(model: type[ToyModel], tmp_path: Path) -> None:
    times = StepTimes(str(tmp_path / "times.json"), warm=2, parts=True)
    trainer = pl.Trainer(
        max_epochs=3, callbacks=[times], logger=False, accelerator="cpu", enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model(), ToyDataModule())
    found = json.loads((tmp_path / "times.json").read_text())
    assert (found["steps"], found["pictures"]) == (4, 16)  # six steps of four pictures, two of them warm
    assert found["pictures_per_second"] == pytest.approx(4 / found["seconds_per_step"])
    assert found["peak_memory_mb"] > 10
    assert set(found["share"]) == {"data", "forward", "backward", "optimiser", "other"}
    assert all(share > 0 for share in found["share"].values())
    assert sum(found["share"].values()) == pytest.approx(1, abs=1e-3)


def test_pictures_of_rays_are_those_they_count_for() -> None:
    class Rays:
        images = 4

    assert pictures_of(Rays()) == 4
    assert pictures_of(torch.zeros(3, 2)) == 3

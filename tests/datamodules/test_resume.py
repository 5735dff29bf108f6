"""A run resumed from any checkpoint sees the batches it would have seen, under the real trainer."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.base import normalise
from datamodules.kitti.datamodule import KittiDataModule
from datamodules.scene import Batch
from tests.datamodules.kitti_scenes import small_kitti

STEPS = 8
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Recorder(pl.LightningModule):
    """One layer that keeps the ids of its batches and its losses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 2, 3, 4)
        self.seen: list[tuple[str, ...]] = []
        self.losses: list[float] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = self.layer(normalise(batch)).square().mean()
        self.seen.append(batch.sample_ids)
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(
    root: Path, folder: Path | None = None, ckpt: Path | None = None, workers: int = 0, every: int | None = 1
) -> Recorder:
    """Train 8 steps of three batches an epoch, validation included; from ``ckpt`` when given."""
    saving: list[pl.Callback] = []
    if folder is not None:
        saving = [ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=every)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        max_epochs=-1,
        use_distributed_sampler=False,
        logger=False,
        callbacks=saving,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Recorder()
    data = KittiDataModule(str(root), batch_size=2, workers=workers, seed=3)
    trainer.fit(model, data, ckpt_path=ckpt)
    return model


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")  # a resumed run saves nothing here
@pytest.mark.parametrize("every", [1, None], ids=["every step", "after validation"])
def test_resumed_runs_go_on_with_the_next_batch(tmp_path: Path, every: int | None) -> None:
    root = small_kitti(tmp_path / "kitti")
    whole = fit(root, tmp_path / "ckpt", every=every)
    assert len(whole.seen) == STEPS
    saved = sorted((tmp_path / "ckpt").glob("*.ckpt"))
    assert len(saved) >= 2
    for path in saved:
        done = int(path.stem.split("=")[1])
        if done == STEPS:
            continue
        resumed = fit(root, ckpt=path, workers=2 if done == 3 else 0)
        assert resumed.seen == whole.seen[done:], path
        assert resumed.losses == pytest.approx(whole.losses[done:], rel=1e-5)

"""Scores of generated views: of the field in validation and test, of the baked assets in prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from datamodules.posed_rays import PosedObject
from datamodules.voxel_render import render_voxels
from lit.metrics.views import ViewScores, write_png
from lit.results import write_json


class GenerationMetrics(pl.Callback):
    """Logs ``val/psnr``, ``val/psnr_object``, ``val/mask_iou``, ``val/lpips``, and contact sheets to TensorBoard.

    ``validation_step`` and ``test_step`` have to return premultiplied RGBA views (V, S, S, 4) of one object. In
    prediction the assets themselves are drawn by the voxel renderer and scored on the held-out views, and the result is
    printed. Sheet and scores are also written as ``views_<stage>.png`` and ``views_<stage>.json``.

    Args:
        vgg16: see :class:`lit.metrics.views.ViewScores`.
        sheet_objects: objects on the contact sheet.
        folder: where sheet and scores are written; None for the run's folder.
    """

    def __init__(self, vgg16: str | None = None, sheet_objects: int = 8, folder: str | None = None) -> None:
        self.scores = ViewScores(vgg16, sheet_objects)
        self.folder = folder

    def _finish(self, trainer: pl.Trainer, stage: str) -> dict[str, float]:
        means = self.scores.means()
        if means and trainer.is_global_zero and not trainer.sanity_checking:
            sheet = self.scores.sheet()
            experiment: Any = getattr(trainer.logger, "experiment", None)
            if hasattr(experiment, "add_image"):
                experiment.add_image(f"{stage}/views", sheet, trainer.global_step, dataformats="HWC")
            if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning's setup, not declared
                target = Path(self.folder or trainer.default_root_dir)
                write_png(target / f"views_{stage}.png", sheet)
                write_json(target / f"views_{stage}.json", means)
        return means

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.scores.reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: PosedObject,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.scores.add(outputs, batch.rgba)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = self._finish(trainer, "val")
        pl_module.log_dict({f"val/{k}": v for k, v in means.items()}, sync_dist=True, prog_bar=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = self._finish(trainer, "test")
        pl_module.log_dict({f"test/{k}": v for k, v in means.items()}, sync_dist=True)

    on_predict_epoch_start = on_validation_epoch_start

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: PosedObject,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        size = batch.rgba.shape[1]
        views = [render_voxels(outputs[0].grid, p, 0, 0, size, size)[0] for p in batch.projection.cpu().numpy()]
        self.scores.add(torch.from_numpy(np.stack(views)).float() / 255, batch.rgba.cpu())

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = self._finish(trainer, "bank")
        if trainer.is_global_zero:
            print("baked assets on held-out views: " + ", ".join(f"{k} {v:.4g}" for k, v in means.items()))

"""Scores of generated views: of the field in validation and test, of the baked assets in prediction."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from datamodules.assets.voxels.voxel_render import render_voxels
from lit.callbacks.sheet import leave_sheet
from lit.metrics.maps.views import ViewScores
from lit.rendering.rendered_views import RenderedViews


class GenerationMetrics(pl.Callback):
    """Logs ``val/psnr``, ``val/psnr_object``, ``val/mask_iou``, ``val/ssim``, ``val/lpips``, and contact sheets.

    Works with every generator whose ``validation_step`` and ``test_step`` return views of one posed object, as
    :class:`lit.rendering.rendered_views.RenderedViews` or as premultiplied RGBA alone, (V, S, S, 4) in [0, 1]. Where
    there is depth, ``val/nfs`` is logged too, and with an extractor ``val/fid`` and ``val/kid``; see
    :class:`lit.metrics.maps.views.ViewScores`. A step that returns nothing, or a batch without observed views, is left
    out.

    In prediction the voxel assets themselves are drawn by the voxel renderer and scored on the held-out views, and the
    result is printed. Sheet and scores are also written as ``views_<stage>.png`` and ``views_<stage>.json``, with the
    number of views and the evaluator; :class:`lit.callbacks.record.Record` takes both into ``result.json``. All
    processes hold the same figures, those of all distinct views; the sheet shows the first process's objects.

    Args:
        folder: where sheet and scores are written; None for the run's folder.
        scores: see :class:`lit.metrics.maps.views.ViewScores`.
    """

    def __init__(self, folder: str | None = None, **scores: Any) -> None:
        self.scores, self.folder = ViewScores(**scores), folder

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores, and how many views it scored; the run's record asks for it."""
        return self.scores.evaluator

    def _finish(self, trainer: pl.Trainer, stage: str) -> dict[str, float]:
        means = self.scores.means()
        if means and trainer.is_global_zero and not trainer.sanity_checking:
            stated = self.scores.evaluator
            figures = {**means, "counts": stated.pop("counts"), "evaluator": stated}
            leave_sheet(trainer, stage, "views", self.scores.sheet(), figures, self.folder)
        return means

    def _score(self, views: RenderedViews, batch: Any) -> None:
        ids = [f"{batch.id}/{view}" for view in range(len(views.rgba))]
        self.scores.add(views.rgba, batch.rgba.to(views.rgba.device), ids, views.depth, batch.projection)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.scores.reset(pl_module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        views = RenderedViews(outputs) if isinstance(outputs, torch.Tensor) else outputs
        if isinstance(views, RenderedViews) and hasattr(batch, "rgba"):
            self._score(views, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stage = "test" if trainer.testing else "val"
        means = self._finish(trainer, stage)
        pl_module.log_dict({f"{stage}/{k}": v for k, v in means.items()}, sync_dist=True, prog_bar=True)

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        grid = getattr(outputs[0], "grid", None) if outputs else None
        if grid is None or not hasattr(batch, "rgba"):
            return
        size = batch.rgba.shape[1]
        drawn = [render_voxels(grid, p, 0, 0, size, size) for p in batch.projection.cpu().numpy()]
        rgba, depth = (torch.from_numpy(np.stack(images)) for images in zip(*drawn))
        self._score(RenderedViews(rgba.float() / 255, depth), batch)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = self._finish(trainer, "bank")
        if means and trainer.is_global_zero:
            print("baked assets on held-out views: " + ", ".join(f"{k} {v:.4g}" for k, v in means.items()))

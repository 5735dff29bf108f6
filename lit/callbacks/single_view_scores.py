"""Scores and a sheet of generators that make fields of single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from datamodules.objects.photos.photo import PhotoBatch, PhotoViews
from datamodules.randomness import derive
from lit.callbacks.sheet import leave_sheet
from lit.metrics.alignment import composite
from lit.metrics.maps.single_view import YAW_RANGES, SingleViewFigures
from lit.metrics.maps.views import premultiplied
from lit.pictures.yaw_curves import yaw_plot
from lit.rendering.rendered_views import RenderedViews

GREY = 0.5
SHOWN = (-50.0, -25.0, 0.0, 25.0, 50.0)  # degrees of yaw on the sheet


class SingleViewScores(pl.Callback):
    """Logs depth accuracy, NFS, PSNR and FID of views at stated yaws; see
    :class:`lit.metrics.maps.single_view.SingleViewFigures`.

    Works with every generator that has ``turned(batch, yaw)``, radians from the photograph's own view, and whose
    ``validation_step`` returns :class:`RenderedViews`: of the true views where a batch is
    :class:`datamodules.objects.photos.photo.PhotoViews`, else of the photograph's own. ``single_view_STAGE.png`` shows
    each photograph, its depth, and colour and depth from five sides; ``single_view_STAGE.json`` states the figures.
    ``yaw_STAGE.png`` plots FID, Inception score and NFS against the yaw, ``yaw_STAGE.json`` is their table.

    Args:
        ranges: degrees; a view from a yaw drawn uniformly within each is scored.
        extractor: features of FID, such as "random:0" or "inception"; None leaves it out.
        weights: file of the extractor's weights.
        sheet_photos: photographs on the sheet.
        folder: where sheet and figures are written; None for the run's folder.
        splits: of the Inception score, which needs as many photographs.
    """

    def __init__(
        self,
        ranges: Sequence[float] = YAW_RANGES,
        extractor: str | None = None,
        weights: str | None = None,
        sheet_photos: int = 6,
        folder: str | None = None,
        splits: int = 10,
    ) -> None:
        self.figures = SingleViewFigures(ranges, extractor, weights, splits)
        self.sheet_photos, self.folder = sheet_photos, folder
        self.rows: list[np.ndarray] = []

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores; the run's record asks for it."""
        return self.figures.evaluator

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.figures.reset(pl_module.device)
        self.rows = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        photo = batch.photo if isinstance(batch, PhotoViews) else batch
        if not isinstance(photo, PhotoBatch) or not isinstance(outputs, RenderedViews):
            return
        generator: Any = pl_module
        name, target = photo.ids[0], _shown(photo)
        ranges = self.figures.ranges
        yaws = [float(derive(0, name, f"yaw {degrees:g}").uniform(-degrees, degrees)) for degrees in ranges]
        views = generator.turned(photo, np.deg2rad([0.0, *yaws]).tolist())
        assert views.depth is not None
        shown = composite(views.rgba, GREY) if photo.masked else views.rgba[..., :3]
        self.figures.add_own(name, shown[0], target, views.depth[0], photo.depth[0])
        centre = float(photo.projection[0, 2, 3])
        for degrees, picture, depth, opacity in zip(ranges, shown[1:], views.depth[1:], views.rgba[1:, ..., 3]):
            self.figures.add_turned(name, degrees, picture, target, depth - centre, opacity)
        if isinstance(batch, PhotoViews) and outputs.depth is not None:
            found, truth = composite(outputs.rgba, GREY), composite(premultiplied(batch.rgba), GREY)
            known = torch.where(batch.rgba[..., 3] > 127, batch.depth, torch.full_like(batch.depth, float("nan")))
            for view, turn in enumerate(batch.turn.tolist()):
                sides = found[view], truth[view], outputs.depth[view], known[view]
                self.figures.add_truth(f"{name}/{view}", turn, *sides)
        if len(self.rows) < self.sheet_photos:
            self._draw(generator, photo, target)

    def _draw(self, generator: Any, photo: PhotoBatch, target: Tensor) -> None:
        views = generator.turned(photo, np.deg2rad(SHOWN).tolist())
        centre = float(photo.projection[0, 2, 3])
        shown = composite(views.rgba, GREY) if photo.masked else views.rgba[..., :3]
        colour = torch.cat([target, *shown], 1)
        known = torch.nan_to_num(photo.depth[0] - centre, nan=1.0)
        depth = torch.cat([known, *(d - centre + 2 * (1 - a) for d, a in zip(views.depth, views.rgba[..., 3]))], 1)
        near = ((1 - depth) / 2).clamp(0, 1).unsqueeze(-1).expand(-1, -1, 3)  # bright is near
        self.rows.append((torch.cat([colour.clamp(0, 1), near], 0) * 255).round().byte().cpu().numpy())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stage = "test" if trainer.testing else "val"
        means = self.figures.means()
        pl_module.log_dict({f"{stage}/{name}": value for name, value in means.items()}, sync_dist=True)
        if trainer.is_global_zero and not trainer.sanity_checking and self.rows:
            figures = {**means, "evaluator": self.evaluator}
            leave_sheet(trainer, stage, "single_view", np.concatenate(self.rows), figures, self.folder)
            table = self.figures.by_yaw(means)
            plot = yaw_plot({type(pl_module).__name__: table}) if len(self.figures.ranges) > 1 else None
            leave_sheet(trainer, stage, "yaw", plot, {**table, "evaluator": self.evaluator}, self.folder)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def _shown(photo: PhotoBatch) -> Tensor:
    """(S, S, 3) what a photograph shows, on mid-grey where it has a mask."""
    alpha = photo.alpha[0].unsqueeze(-1)
    return photo.images[0].permute(1, 2, 0).float() / 255 * alpha + GREY * (1 - alpha)

"""Score and sample sheet of generators of plain images."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lit.callbacks.sheet import leave_sheet
from lit.features.build import build_extractor
from lit.metrics.image.metrics import FrechetDistance
from lit.networks.image_range import to_pixels
from lit.pictures.pictures import stacked


class ImageSamples(pl.Callback):
    """Logs ``val/fid`` between the validation images and as many generated ones, and draws some of both.

    Works with every generator whose ``validation_step`` returns images (B, 3, R, R) uint8 or in about [-1, 1], or
    something with such an ``image``, given batches with ``images`` of that form; with ``ids`` (or ``keys``), repeats
    count once. The figure is that of all processes. What a step returns may name the ``real`` images itself, and
    ``tiles``, generated and real ones, that the sheet shows in their place.
    ``samples_<stage>.png`` shows generated images above real ones, ``samples_<stage>.json`` states figure, evaluator
    and counts.

    Args:
        extractor: features, such as "random:0" or "inception" (:func:`lit.features.build.build_extractor`).
        weights: file of the extractor's weights.
        columns: images a row of the sheet.
        rows: rows of generated images; half as many of real ones.
        scale: whole factor by which the sheet enlarges pixels.
        folder: where sheet and figure are written; None for the run's folder.
    """

    def __init__(
        self,
        extractor: str = "random:0",
        weights: str | None = None,
        columns: int = 12,
        rows: int = 6,
        scale: int = 1,
        folder: str | None = None,
    ) -> None:
        self.fid = FrechetDistance(build_extractor(extractor, weights))
        self.columns, self.rows, self.scale, self.folder = columns, rows, scale, folder
        self._start("cpu")

    @property
    def evaluator(self) -> dict[str, Any]:
        """Name and version of what scores, and the images behind the figure on this process."""
        return {**self.fid.evaluator, "counts": {"images": self.images}}

    def _start(self, device: torch.device | str) -> None:
        self.fid.reset()
        self.fid.to(device)
        self.kept: dict[str, list[Tensor]] = {"fake": [], "real": []}
        self.images = 0

    def _keep(self, side: str, images: Tensor, most: int) -> None:
        self.kept[side] += list(images[: max(most - len(self.kept[side]), 0)].cpu())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stage = "test" if trainer.testing else "val"
        if self.images < 2 and trainer.world_size == 1:
            return
        figure = self.fid.compute()
        pl_module.log(f"{stage}/fid", figure, prog_bar=True, sync_dist=True)
        if not trainer.is_global_zero or trainer.sanity_checking or not self.kept["fake"]:
            return
        shown = [i.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2) for i in self.tiles()]
        sheet = stacked([image.permute(1, 2, 0).numpy() for image in shown], self.columns, 2)
        figures = {"fid": float(figure), "evaluator": self.evaluator}
        leave_sheet(trainer, stage, "samples", sheet, figures, self.folder)

    def tiles(self) -> list[Tensor]:
        """Whole rows of generated images, then of real ones, (3, R, R) uint8; fewer when there are not enough."""
        whole = [images[: len(images) // self.columns * self.columns] or images for images in self.kept.values()]
        return [image for images in whole for image in images]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(pl_module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        made = outputs if isinstance(outputs, Tensor) else getattr(outputs, "image", None)
        if not isinstance(made, Tensor) or not hasattr(batch, "images"):
            return
        plain = isinstance(outputs, Tensor)  # whose own attribute ``real`` means another thing
        known = batch.images if plain else getattr(outputs, "real", batch.images)
        fake, real = (x if x.dtype == torch.uint8 else to_pixels(x) for x in (made, known))
        ids = getattr(batch, "ids", getattr(batch, "keys", None))
        self.fid.update(real, True, ids)
        self.fid.update(fake, False, ids)
        self.images += len(fake)
        drawn, seen = (fake, real) if plain else getattr(outputs, "tiles", (fake, real))
        self._keep("fake", drawn, self.columns * self.rows)
        self._keep("real", seen, self.columns * max(self.rows // 2, 1))

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

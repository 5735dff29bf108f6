"""KITTI AP of what a detector predicts, and its result files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from datamodules.kitti.format import write_label
from datamodules.scene import Batch, Objects
from lit.callbacks.frame_names import leave_frames
from lit.metrics.kitti.curve_files import RecordedFrames, write_curves
from lit.metrics.kitti.evaluation import VERSION, KittiAP, flatten
from lit.metrics.sample_keys import sample_key


class KittiMetrics(pl.Callback):
    """Scores the predictions that ``validation_step`` and ``test_step`` return, over all ranks, by sample id.

    Logs "car/3d/moderate/0.7" and its like. ``test`` and ``predict`` also write one result file a frame. Beside the
    run's record it leaves what each frame adds to the AP of cars (``frame_curves_val_*.npz``,
    ``frame_curves_test_*.npz``; see :mod:`lit.metrics.kitti.curve_files`), from which intervals over frames or drives
    are computed.

    Args:
        extra_ious: further IoU limits by class.
        depth_ranges: [near, far] in metres, far null for no end; logs "car/3d/moderate/0.5/20-40m" and its like at the
            extra limits of cars. See :mod:`lit.metrics.kitti.figures`.
        reference_width: width in pixels that image boxes are scaled to before the evaluation, so that KITTI's least box
            heights (25 and 40 pixels at 1242 pixels of width) leave out the same objects of a smaller image; None
            evaluates the pixels as they are. 3D boxes are not touched.
        folder: where result files go; None means ``results`` in the run's folder.
        prefixes: log only figures whose name starts with one of these; None logs all.

    Attributes:
        raw: on rank zero, split ("val", "test") to ``{"file": name in the run's folder, "sha256": of its content}``.
    """

    def __init__(
        self,
        extra_ious: dict[str, list[float]] | None = None,
        reference_width: int | None = None,
        folder: str | None = None,
        prefixes: Sequence[str] | None = None,
        depth_ranges: list[list[float | None]] | None = None,
    ) -> None:
        self.extra_ious = {"car": [0.5, 0.3]} if extra_ious is None else extra_ious
        self.reference_width, self.folder = reference_width, folder
        self.prefixes = tuple(prefixes) if prefixes is not None else None
        self.metric = KittiAP(self.extra_ious, depth_ranges, traced=True)
        self.names: dict[int, str] = {}
        self.raw: dict[str, dict[str, str]] = {}
        name = "kitti" if reference_width is None else f"kitti, boxes scaled to {reference_width} pixels of image width"
        self.evaluator = {"name": name, "version": VERSION}

    def _scaled(self, objects: Sequence[Objects], batch: Batch) -> list[Objects]:
        if self.reference_width is None:
            return list(objects)
        scales = [self.reference_width / camera.width for camera in batch.cameras]
        return [replace(o, bbox=o.bbox * scale) for o, scale in zip(objects, scales)]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metric.reset()
        self.metric.to(pl_module.device)
        self.names = {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        self.metric.update(batch.sample_ids, self._scaled(batch.objects, batch), self._scaled(outputs, batch))
        self.names.update({sample_key(sample_id): sample_id for sample_id in batch.sample_ids})

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        folder = Path(self.folder) if self.folder is not None else Path(trainer.default_root_dir) / "results"
        for sample_id, objects in zip(batch.sample_ids, outputs):
            write_label(folder / f"{sample_id}.txt", objects)

    def on_test_batch_end(self, *step: Any) -> None:
        self.on_validation_batch_end(*step)
        self.on_predict_batch_end(*step)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "test")

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        figures = flatten(self.metric.compute())
        if self.prefixes is not None:
            figures = {name: value for name, value in figures.items() if name.startswith(self.prefixes)}
        pl_module.log_dict(figures, sync_dist=True)  # all ranks hold the same figures
        traced = self.names, self.metric.trace, self.evaluator
        if left := leave_frames(trainer, f"frame_curves_{split}", *traced, RecordedFrames, write_curves):
            self.raw[split] = left

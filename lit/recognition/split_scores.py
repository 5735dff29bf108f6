"""Scores of classifiers and pose estimators on each test split, and their mean over those unlike the training."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
from torch import Tensor

from datamodules.recognition.class_images import ClassBatch, ClassImages
from lit.metrics.maps.alignment_metrics import PoseAccuracy
from lit.metrics.maps.single_view import MeanRow
from lit.proxies.pose_estimator import rotations_of

LIKE = "id"  # the split that is like the training pictures


class SplitScores(pl.Callback):
    """Logs ``SPLIT/accuracy`` of logits, or ``SPLIT/accuracy_30deg``, ``_10deg``, ``median_deg`` and so on of poses.

    ``ood/...`` is the mean over all splits but "id". Works with every module whose ``validation_step`` returns logits
    (B, classes) or rotations (B, 3, 3); each picture counts once over all processes.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, MeanRow | PoseAccuracy] = {}

    @property
    def evaluator(self) -> dict[str, Any] | None:
        """Name and version of what scores; the run's record asks for it."""
        return next((dict(metric.evaluator) for metric in self.metrics.values()), None)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metrics = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(outputs, Tensor) or not isinstance(batch, ClassBatch) or not isinstance(data, ClassImages):
            return
        name = list(data.splits)[dataloader_idx]
        if outputs.ndim == 2:
            shares = self.metrics.setdefault(name, MeanRow("top-1 accuracy"))
            assert isinstance(shares, MeanRow)
            shares.update((outputs.argmax(1) == batch.labels).double().cpu(), batch.ids)
        else:
            poses = self.metrics.setdefault(name, PoseAccuracy())
            assert isinstance(poses, PoseAccuracy)
            poses.update(outputs.cpu(), rotations_of(batch.pose[:, :3].cpu()), batch.ids)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures: dict[str, float] = {}
        for name, metric in self.metrics.items():
            found = metric.compute()
            scores = found if isinstance(found, dict) else {"accuracy": found}
            figures |= {f"{name}/{key}": value for key, value in scores.items()}
        others = [name for name in self.metrics if name != LIKE]
        for key in {key.partition("/")[2]: None for key in figures} if others else ():
            figures[f"ood/{key}"] = float(np.mean([figures[f"{name}/{key}"] for name in others]))
        pl_module.log_dict(figures, sync_dist=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

"""LitDetector: trains any detector and hands its predictions to callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from datamodules.base import normalise
from datamodules.scene import Batch, Objects
from detectors.base import Detector


class LitDetector(pl.LightningModule):
    """AdamW with a schedule by step around a :class:`detectors.base.Detector`.

    ``validation_step``, ``test_step`` and ``predict_step`` return the predictions (a list of ``Objects``, one a frame);
    metrics, drawings and result files are callbacks.

    Args:
        detector: the network.
        lr: (peak) learning rate.
        weight_decay: of weight matrices; biases and normalisation are left alone.
        schedule: "one_cycle" rises for ``warmup`` and falls to zero along a cosine; "multi_step" rises for ``warmup``
            and then falls by ``gamma`` at each milestone; "constant" only rises.
        warmup: share of all steps.
        milestones: shares of all steps ("multi_step").
        gamma: factor at each milestone.
        channels_last: store weights and images channels-last (faster on the CPU in bfloat16 and on tensor cores).
    """

    detector: nn.Module

    def __init__(
        self,
        detector: nn.Module,
        lr: float = 3e-4,
        weight_decay: float = 1e-5,
        schedule: Literal["one_cycle", "multi_step", "constant"] = "one_cycle",
        warmup: float = 0.1,
        milestones: Sequence[float] = (0.8, 0.9),
        gamma: float = 0.1,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.detector = detector.to(memory_format=torch.channels_last) if channels_last else detector
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule
        self.warmup, self.milestones, self.gamma = warmup, tuple(milestones), gamma

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The detector's outputs for a batch of uint8 images."""
        return self._network(normalise(batch), batch.projections)

    @property
    def _network(self) -> Detector:
        assert isinstance(self.detector, Detector)
        return self.detector

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the detector's losses."""
        outputs = self(batch)
        losses = self._network.loss(outputs, batch)
        total = torch.stack(list(losses.values())).sum()
        logged = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict({**logged, "train/loss": total.detach()}, batch_size=len(batch))
        return total

    def _predict(self, batch: Batch) -> list[Objects]:
        return self._network.decode(self(batch), batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> list[Objects]:  # type: ignore[override]  # callbacks take it
        """Predictions of one batch."""
        return self._predict(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> list[Objects]:  # type: ignore[override]  # callbacks take it
        """Predictions of one batch."""
        return self._predict(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Objects]:
        """Predictions of one batch."""
        return self._predict(batch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and a schedule over all steps of the run."""
        weights = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler: LRScheduler
        if self.schedule == "one_cycle":
            share = min(max(self.warmup, 1.5 / max(steps, 2)), 0.9)  # a rise of one step is a division by zero
            scheduler = OneCycleLR(optimizer, self.lr, total_steps=max(steps, 2), pct_start=share, cycle_momentum=False)
        else:
            scheduler = LambdaLR(optimizer, lambda step: self.factor(step / max(steps, 1)))
        return {"optimizer": optimizer, "lr_scheduler": LRSchedulerConfigType(scheduler=scheduler, interval="step")}

    def factor(self, progress: float) -> float:
        """Learning rate over its peak at a share of the run, for "multi_step" and "constant"."""
        rise = min(1.0, max(progress, 1e-3) / self.warmup) if self.warmup > 0 else 1.0
        passed = sum(progress >= m for m in self.milestones) if self.schedule == "multi_step" else 0
        return float(rise * self.gamma**passed)

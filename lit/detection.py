"""LitDetector: trains any detector and hands its predictions to callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from datamodules.base import normalise
from datamodules.errors import InputError
from datamodules.files.weight_files import read_state
from datamodules.scene import Batch, Objects
from detectors.base import Detector, require_learning
from detectors.compiling import compile_in_place
from detectors.rank_counts import align_buffers, batch_line, effective_batch, mean_over_ranks
from lit.weights.fitting import fit_state


class LitDetector(pl.LightningModule):
    """An optimiser with a schedule by step around a :class:`detectors.base.Detector`.

    ``validation_step``, ``test_step`` and ``predict_step`` return the predictions (a list of ``Objects``, one a frame);
    metrics, drawings and result files are callbacks.

    Args:
        detector: the network.
        lr: (peak) learning rate.
        weight_decay: with AdamW of weight matrices, biases and normalisation are left alone; with SGD of all but
            biases.
        schedule: "one_cycle" rises for ``warmup`` and falls to zero along a cosine; "multi_step" rises for ``warmup``
            and then falls by ``gamma`` at each milestone; "constant" only rises.
        warmup: share of all steps.
        warmup_steps: steps, in the place of the share.
        warmup_factor: the rise begins at this share of the peak ("multi_step", "constant").
        milestones: shares of all steps ("multi_step").
        gamma: factor at each milestone.
        optimizer: "sgd" has momentum 0.9 and the groups of :func:`bias_groups`, mmdetection3d's recipe for its camera
            detectors.
        scale_lr: how ``lr`` follows the pictures of a step over all processes (``data.batch_size`` is one process's):
            "linear" multiplies it by their number over ``reference_batch`` (mmdetection's auto-scale-lr, whose
            base_batch_size that is), "sqrt" by the root of this ratio, "none" leaves it. None leaves it too, and with
            several processes says so.
        reference_batch: pictures a step that ``lr`` was chosen for.
        start_from: checkpoint of another training of the same detector (``runs/NAME/last.ckpt``) whose weights this
            one starts with: learned on another data set, say. A training that goes on has its own.
        channels_last: store weights and images channels-last (faster on the CPU in bfloat16 and on tensor cores).
        compiled: backend of ``torch.compile`` for the network, "inductor" as a rule; the first steps then wait for the
            compiler. None leaves it as it is.

    Attributes:
        effective_batch: pictures a step over all processes, as far as the data module states its ``batch_size``.

    Raises:
        InputError: a rule without the batch it refers to, or ``start_from`` is no checkpoint of this detector.
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
        warmup_steps: int | None = None,
        warmup_factor: float = 0.0,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        channels_last: bool = True,
        scale_lr: Literal["none", "linear", "sqrt"] | None = None,
        reference_batch: int | None = None,
        start_from: str | None = None,
        compiled: str | None = None,
    ) -> None:
        super().__init__()
        if scale_lr in ("linear", "sqrt") and (reference_batch or 0) < 1:
            raise InputError(
                f"scale_lr {scale_lr} with reference_batch {reference_batch}: expected the pictures a step that lr was "
                "chosen for; set model.reference_batch"
            )
        self.detector = detector.to(memory_format=torch.channels_last) if channels_last else detector
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule
        self.warmup, self.milestones, self.gamma = warmup, tuple(milestones), gamma
        self.warmup_steps, self.warmup_factor, self.optimizer = warmup_steps, warmup_factor, optimizer
        self.scale_lr, self.reference_batch, self.compiled = scale_lr, reference_batch, compiled
        if start_from is not None:
            network = "this detector, as another of its trainings leaves them in last.ckpt"
            fit_state(self, read_state(start_from, network), start_from, network)

    def setup(self, stage: str) -> None:
        """Refuse what torch would end with a traceback, and compile the network where that is asked for.

        Raises:
            InputError: batch statistics of all processes are asked for where there is no GPU; or nothing compiles.
        """
        if self.compiled is not None:
            compile_in_place(self.detector, self.compiled, self.trainer.strategy.root_device)
        asked = getattr(self.trainer.strategy, "_layer_sync", None) is not None  # Lightning keeps it nowhere else
        if stage == "fit" and asked and self.trainer.world_size > 1 and self.trainer.strategy.root_device.type == "cpu":
            raise InputError("trainer.sync_batchnorm true on CPUs: torch has it for GPUs; set it to false")

    def on_fit_start(self) -> None:
        """Refuse a network that cannot learn; by now a checkpoint's weights are in it."""
        require_learning(self.detector)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The detector's outputs for a batch of uint8 images."""
        return self._network(normalise(batch), batch.projections)

    @property
    def _network(self) -> Detector:
        assert isinstance(self.detector, Detector)
        return self.detector

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the detector's losses; logged are those of all processes."""
        outputs = self(batch)
        losses = self._network.loss(outputs, batch)
        values = torch.stack(list(losses.values()))
        total = values.sum()
        whole = mean_over_ranks(torch.cat([values, total[None]]).detach())
        names = [f"train/{name}" for name in (*losses, "loss")]
        self.log_dict(dict(zip(names, whole)), batch_size=len(batch))
        return total

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Objects]:
        """Predictions of one batch."""
        return self._network.decode(self(batch), batch)

    validation_step = test_step = predict_step  # type: ignore[assignment]  # callbacks take it

    def on_train_end(self) -> None:
        align_buffers(self)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser and a schedule over all steps of the run."""
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = self._optimizer(self.scaled_lr())
        scheduler: LRScheduler
        if self.schedule == "one_cycle":
            warm = self._warm(steps)
            share = min(max(warm, 1.5 / max(steps, 2)), 0.9)  # a rise of one step is a division by zero
            peaks = [group["lr"] for group in optimizer.param_groups]
            scheduler = OneCycleLR(optimizer, peaks, total_steps=max(steps, 2), pct_start=share, cycle_momentum=False)
        else:
            scheduler = LambdaLR(optimizer, lambda step: self.factor(step / max(steps, 1), self._warm(steps)))
        return {"optimizer": optimizer, "lr_scheduler": LRSchedulerConfigType(scheduler=scheduler, interval="step")}

    @property
    def effective_batch(self) -> int | None:
        return effective_batch(self.trainer)

    def scaled_lr(self) -> float:
        """The (peak) learning rate of this run's batch; said once where nobody has chosen a rule for many processes.

        Raises:
            InputError: the data does not say how many pictures a step has.
        """
        batch, reference = self.effective_batch, self.reference_batch
        if self.scale_lr is None and self.trainer.world_size > 1 and self.trainer.is_global_zero:
            print(
                batch_line(batch, self.lr, "model.scale_lr may be linear or sqrt (of model.reference_batch), or none")
            )
        if self.scale_lr in (None, "none") or reference is None:
            return self.lr
        if batch is None:
            raise InputError(f"scale_lr {self.scale_lr}: the data has no batch_size; set model.scale_lr to none")
        return self.lr * (batch / reference) ** (1.0 if self.scale_lr == "linear" else 0.5)

    def _optimizer(self, lr: float) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(bias_groups(self, lr, self.weight_decay), lr=lr, momentum=0.9)
        weights = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=lr)

    def _warm(self, steps: int) -> float:
        """Share of all steps that the rise takes."""
        return self.warmup if self.warmup_steps is None else self.warmup_steps / max(steps, 1)

    def factor(self, progress: float, warm: float) -> float:
        """Learning rate over its peak at a share of the run, for "multi_step" and "constant"."""
        start = min(1e-3, 0.2 * warm) * (self.warmup_factor == 0)  # a first step at rate 0 would be lost
        rise = min(1.0, max(progress, start) / warm) if warm > 0 else 1.0
        passed = sum(progress >= m for m in self.milestones) if self.schedule == "multi_step" else 0
        return float((self.warmup_factor + (1 - self.warmup_factor) * rise) * self.gamma**passed)


def bias_groups(model: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of mmengine's ``paramwise_cfg`` with ``bias_lr_mult`` 2 and ``bias_decay_mult`` 0.

    Biases do not decay, and learn twice as fast unless they belong to a normalisation. Layers that predict deformable
    offsets count as weights.
    """
    norms = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for prefix, layer in model.named_modules():
        for name, parameter in layer.named_parameters(recurse=False):
            bias = name == "bias" and "conv_offset" not in prefix
            setting = (2 * lr if bias and not isinstance(layer, norms) else lr, 0.0 if bias else weight_decay)
            if parameter.requires_grad:
                groups.setdefault(setting, []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]

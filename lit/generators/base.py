"""What all generators share: a count of training images that drives the learning rate and ends the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from detectors.rank_counts import batch_line
from lit.adversarial.rank_average import average_gradients


class Generator(LightningModule):
    """Counts the images it has trained on, because Lightning's ``global_step`` counts every optimiser's steps.

    The count is what loggers draw everything over: Lightning takes a value logged as "step" for the x axis.

    Under ``strategy: ddp`` every process averages the gradients itself: DDP's own hooks expect that each backward pass
    goes through all parameters, and a stage of a training may leave some alone.

    Args:
        total_images: training stops after so many images; learning rates fall along a half cosine until then.
        final_lr: share of the learning rate that is left at the end.
        warmup: share of the training in which learning rates rise linearly.

    Attributes:
        images_seen: images of all processes so far.
        effective_batch: images a step over all processes; None before the first.

    Raises:
        InputError: a training of no images.
    """

    def __init__(self, total_images: int, final_lr: float = 0.05, warmup: float = 0.02) -> None:
        super().__init__()
        if total_images < 1:
            raise InputError(f"model.total_images {total_images}: expected at least 1 image to learn from")
        self.images_seen = 0
        self.effective_batch: int | None = None
        self.noted: dict[str, Any] = {}
        self.total_images, self.final_lr, self.warmup = total_images, final_lr, warmup

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return min(self.images_seen / self.total_images, 1.0)

    def lr_scale(self) -> float:
        """Factor on every learning rate at this point of the training."""
        fall = self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * self.progress))
        return fall * min(1.0, (self.progress + 1e-3) / self.warmup) if self.warmup else fall

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step at the learning rate of this image count (a group's own is kept as ``base_lr``)."""
        scale = self.lr_scale()
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * scale
        strategy = self.trainer.strategy
        own = strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()
        with own:  # on_after_backward averages
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_after_backward(self) -> None:
        """Average the gradients of all processes, before a loss scaler looks at them."""
        if self.automatic_optimization and self.trainer.world_size > 1:
            average_gradients((p for p in self.parameters() if p.requires_grad), finite=False)

    def count_images(self, images: int) -> None:
        """Count one step's images (of all ranks) and stop when the training is complete."""
        if self.effective_batch is None and self.trainer.world_size > 1 and self.trainer.is_global_zero:
            group = self.trainer.optimizers[0].param_groups[0]
            rate = group.get("base_lr", group["lr"])
            print(batch_line(images * self.trainer.world_size, rate, "the data's batch and model.lr change both"))
        self.effective_batch = images * self.trainer.world_size
        self.images_seen += self.effective_batch
        self.log("images", float(self.images_seen), prog_bar=True, logger=False)
        self.log("step", float(self.images_seen))
        if self.images_seen >= self.total_images:
            self.trainer.should_stop = True

    def note(self, name: str, values: Tensor, ids: Sequence[str]) -> None:
        """Keep figures (B,) of held-out samples. When the epoch ends their mean is logged as ``val/NAME`` or
        ``test/NAME``; each sample counts once, also where processes saw it twice to have as many.
        """
        from lit.metrics.maps.single_view import MeanRow  # only for who scores

        if name not in self.noted:
            self.noted[name] = MeanRow(name).to(self.device)
        self.noted[name].update(values, ids)

    def on_validation_epoch_start(self) -> None:
        self.noted = {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        self.log("step", float(self.images_seen))
        stage = "test" if self.trainer.testing else "val"
        for name, figure in self.noted.items():
            self.log(f"{stage}/{name}", figure.compute(), sync_dist=True)

    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["images_seen"] = self.images_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.images_seen = int(checkpoint.get("images_seen", 0))


def step_draw(module: Generator, stream: str) -> torch.Generator:
    """What draws a training step's random numbers: known from the seed and the images seen, so that a resumed run and
    all processes draw alike.
    """
    seed = int(derive(module.hparams["seed"], module.images_seen, stream).integers(2**62))
    return torch.Generator(module.device).manual_seed(seed)

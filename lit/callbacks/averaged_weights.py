"""Averages of a network's weights over its training: they are what is evaluated and what ``last.ckpt`` holds.

Sources: Polyak and Juditsky 1992 (averages of iterates); Izmailov et al. 2018 (the tail's equal weights); Tarvainen and
Valpola 2017 (exponential averages with a warm-up).
"""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.weight_files import mismatch_in

KEY = "averaged_weights"  # of the training's own weights and the count of averaged steps in a checkpoint
WARM = 9.0  # after n steps an exponential average keeps at most (1 + n) / (1 + n + WARM) of itself


class AveragedWeights(pl.Callback):
    """Follows the training step by step, lends the average to every evaluation, and leaves it at the end.

    Running statistics of batch normalisation are averaged as the weights are: they are those of networks of nearly the
    average's weights. Counters are taken as they stand. A checkpoint's ``state_dict`` is the average, which is what
    ``validate`` takes; the training's own weights lie beside it, so that a stopped run goes on as if nothing had been.

    Args:
        kind: "exponential" forgets older steps; "tail" gives all steps from ``start`` on the same weight.
        decay: share of an exponential average that a step keeps; 0.999 looks back over some thousand steps.
        start: share of all steps before which nothing is averaged and evaluations see the training's own weights.

    Raises:
        InputError: a share out of its range.
    """

    def __init__(
        self, kind: Literal["exponential", "tail"] = "exponential", decay: float = 0.999, start: float = 0.0
    ) -> None:
        for name, value in {"decay": decay, "start": start}.items():
            if not 0 <= value < 1:
                raise InputError(f"{name} {value} of AveragedWeights: expected a share from 0 to below 1; correct it")
        self.kind, self.decay, self.start = kind, decay, start
        self.count = 0  # steps in the average
        self._step = 0  # the last one looked at
        self._lent = False  # whether the network holds the average, and ``_other`` the training's weights
        self._other: dict[str, Tensor] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """A training begins, with an average of nothing."""
        if stage == "fit":
            self.count, self._step, self._lent, self._other = 0, 0, False, {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average where the network is by now."""
        own = pl_module.state_dict()
        self._other = {name: self._other.get(name, value).detach().to(value, copy=True) for name, value in own.items()}
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take the step into the average; accumulated batches are one step."""
        if trainer.global_step <= self._step:
            return
        self._step = trainer.global_step
        if not self.start or self._step > self.start * int(trainer.estimated_stepping_batches):
            self._follow(pl_module)

    @torch.no_grad()
    def _follow(self, module: pl.LightningModule) -> None:
        share = 1 / (self.count + 1)
        if self.kind == "exponential" and self.count:
            share = 1 - min(self.decay, (1 + self.count) / (1 + self.count + WARM))
        for name, value in module.state_dict().items():
            mean = self._other[name]
            mean.lerp_(value, share) if mean.is_floating_point() else mean.copy_(value)
        self.count += 1

    @torch.no_grad()
    def _swap(self, module: pl.LightningModule) -> None:
        for name, value in module.state_dict().items():
            kept = value.clone()
            value.copy_(self._other[name])
            self._other[name].copy_(kept)
        self._lent = not self._lent

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lend the average to an evaluation within the training."""
        if trainer.state.fn == TrainerFn.FITTING and self.count and not self._lent:
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it back."""
        if trainer.state.fn == TrainerFn.FITTING and self._lent:
            self._swap(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the network."""
        if self.count and not self._lent:
            self._swap(pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Likewise for a run that went on from its own last step: no step, and no end of a training, came."""
        self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average as the network, the training's own weights beside it."""
        if not self._other:
            return
        own, other = dict(checkpoint["state_dict"]), dict(self._other)
        average, training = (own, other) if self._lent else (other, own)
        checkpoint["state_dict"] = average if self.count else training
        checkpoint[KEY] = {"count": self.count, "training": training}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the training's own weights.

        Raises:
            InputError: the run had no average, or the checkpoint's is damaged.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        kept = checkpoint.get(KEY)
        if not isinstance(kept, dict) or not isinstance(kept.get("count"), int):
            raise InputError(
                "the checkpoint is of a training without AveragedWeights: expected one with it; take it out of "
                "trainer.callbacks, or train anew without --ckpt_path"
            )
        training = kept.get("training")
        if not isinstance(training, dict) or (problem := mismatch_in(training, pl_module.state_dict())):
            told = problem if isinstance(training, dict) else "training weights are missing"
            raise InputError(f"the checkpoint's {told}; expected a checkpoint of this configuration")
        self.count = kept["count"]
        self._other = {name: value.clone() for name, value in checkpoint["state_dict"].items()}
        pl_module.load_state_dict(training)

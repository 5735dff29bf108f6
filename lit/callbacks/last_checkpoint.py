"""Keeps ``last.ckpt``, from which ``--ckpt_path last`` resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from datamodules.errors import InputError
from datamodules.files.weight_files import mismatch_in
from lit.callbacks.averaged_weights import KEY, AveragedWeights


class LastCheckpoint(ModelCheckpoint):
    """Saves at ends of epochs, at most every ``seconds``, and at the end of the training.

    Between epochs a run resumes exactly: the next epoch's order, injections and augmentations follow from the seed and
    the epoch alone. Best-by-metric checkpoints are Lightning's ModelCheckpoint, added to ``trainer.callbacks``.

    Args:
        dirpath: folder; the run's folder by default.
        seconds: least time between two saves; short epochs would otherwise spend their time writing.
    """

    def __init__(self, dirpath: str | None = None, seconds: float = 60.0) -> None:
        super().__init__(dirpath, save_last=True, save_top_k=0, enable_version_counter=False)
        self.seconds = seconds
        self._saved = time.monotonic()

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: Any) -> None:
        """Compare kinds of numbers: PyTorch turns whole numbers into floats without a word.

        Raises:
            InputError: a tensor holds another kind than the network's, or a training would go on from an average.
        """
        if problem := mismatch_in(checkpoint["state_dict"], pl_module.state_dict()):
            raise InputError(f"the checkpoint's {problem}; expected a checkpoint of this configuration")
        averages = any(isinstance(callback, AveragedWeights) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if trainer.state.fn == TrainerFn.FITTING and KEY in checkpoint and not averages:
            raise InputError(
                "the checkpoint holds averaged weights, expected the training's own to go on from; add "
                "lit.callbacks.averaged_weights.AveragedWeights to trainer.callbacks, as the run had it"
            )

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Nothing: within an epoch there is no exact state to save."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: training decides when to save, not validation."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = time.monotonic() - self._saved >= self.seconds
        if trainer.strategy.broadcast(due):  # saving waits for all processes: the first one's clock decides for them
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write ``last.ckpt``, whole or not at all; see :class:`lit.checkpoint_files.AtomicCheckpoints`."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning's setup, not declared
            return
        trainer.save_checkpoint(Path(str(self.dirpath)) / "last.ckpt")
        self._saved = time.monotonic()

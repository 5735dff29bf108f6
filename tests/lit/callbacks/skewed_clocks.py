"""A callback for a run whose processes disagree about how long ago they saved."""

from __future__ import annotations

import lightning.pytorch as pl

from lit.callbacks.last_checkpoint import LastCheckpoint


class SkewedClocks(pl.Callback):
    """Each process after the first believes that it saved 1,000 seconds earlier than the one before it."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # of the callback connector
            if isinstance(callback, LastCheckpoint):
                callback._saved -= 1000.0 * trainer.global_rank

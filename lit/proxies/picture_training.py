"""What trainings over single pictures share on many processes: the batch of all, and the line that says it."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from detectors.rank_counts import align_buffers, batch_line, effective_batch


class PictureTraining(LightningModule):
    """A module whose learning rate is taken as given, whatever the number of processes."""

    @property
    def effective_batch(self) -> int | None:
        """Pictures a step over all processes."""
        return effective_batch(self.trainer)

    def on_train_end(self) -> None:
        align_buffers(self)

    def say_batch(self, lr: float) -> None:
        """Print, once and where there are several processes, what they change of the recipe."""
        if self.trainer.world_size > 1 and self.trainer.is_global_zero:
            print(batch_line(self.effective_batch, lr, "data.batch_size and model.lr change both"))

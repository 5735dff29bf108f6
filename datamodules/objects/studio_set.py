"""The embedded posed image set: studio cars, rendered the first time somebody asks for them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.samplers import Position, StepSampler


def render_when_missing(folder: str | Path, objects: int, views: int, size: int, seed: int = 0) -> None:
    """Write the studio's set into a folder that holds no posed image set; otherwise do nothing.

    Runs that start at the same moment share what the first of them writes.

    Args:
        folder: of the set.
        objects: cars.
        views: views of each.
        size: pixels a side.
        seed: same seed, same cars.
    """
    if (Path(folder) / "posed.json").exists():
        return
    from datamodules.objects.studio import write_posed_images  # Embree and the meshes only where they are needed

    write_posed_images(folder, objects=objects, views=views, size=size, seed=seed, wait=True)


class StudioSet(LightningDataModule):
    """Data of generators: batches by (epoch, step) from a posed image set. Subclasses save their hyperparameters."""

    def prepare_data(self) -> None:
        """Render the embedded set when there is none."""
        h: Any = self.hparams
        if h.get("create"):  # photographs of other sources have nothing to render
            render_when_missing(h.folder, h.create_objects, h.create_views, h.create_size, h.seed)

    def step_loader(self, batches: Dataset[Any]) -> DataLoader[Any]:
        """The training loader over whole batches.

        Raises:
            InputError: an epoch of none.
        """
        h: Any = self.hparams
        if h.steps_per_epoch < 1:
            raise InputError(f"steps_per_epoch {h.steps_per_epoch}: expected at least 1; correct data.steps_per_epoch")
        sampler = StepSampler(h.steps_per_epoch, partial(Position.of, self, h.seed))
        workers = {"num_workers": h.num_workers, "persistent_workers": h.num_workers > 0}
        return DataLoader(batches, batch_size=None, sampler=sampler, **workers)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """What is held out: the bank writer's contact sheets compare with it."""
        return self.val_dataloader()

"""A model and a datamodule small enough to train in milliseconds, for tests of the command line and of sweeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Batch, Frame, Objects, collate

CAMERA = Camera(np.array([[50.0, 0, 31.5, 0], [0, 50.0, 15.5, 0], [0, 0, 1, 0]]), 64, 32)


class ToyInjection:
    """Marks one box a frame as injected."""

    def __init__(self, probability: float = 1.0, count: tuple[int, int] = (1, 3)) -> None:
        self.probability, self.count = probability, count


class ToyDataModule(pl.LightningDataModule):
    """Frames with one real box, and one injected box more when an injection is given."""

    def __init__(
        self,
        root: str = ".",
        name: str = "toy",
        train_frames: int | None = None,
        injection: ToyInjection | None = None,
        broken: bool = False,
    ) -> None:
        super().__init__()
        self.dataset = name
        self.train_frames, self.injection, self.broken = train_frames, injection, broken

    def frames(self, injected: bool) -> list[Frame]:
        provenance = ["real", "bank/7"] if injected else ["real"]
        n = len(provenance)
        boxes = Boxes3D(np.tile([0.0, 1, 8], (n, 1)), np.tile([4.0, 1.5, 1.7], (n, 1)), np.zeros(n))
        zero = np.zeros(n)
        objects = Objects(
            boxes, np.array(["Car"] * n), np.zeros((n, 4)), zero, zero.astype(int), zero, None, np.array(provenance)
        )
        return [Frame(np.full((3, 32, 64), i, np.uint8), CAMERA, objects, f"{i:06d}") for i in range(8)]

    def train_dataloader(self) -> DataLoader[Frame]:
        if self.broken:
            raise InputError("label_2/000003.txt:2: 14 columns, expected 15; repair or delete the row")
        return DataLoader(self.frames(self.injection is not None), batch_size=4, collate_fn=collate)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[Frame]:
        return self.val_dataloader()

    def val_dataloader(self) -> DataLoader[Frame]:
        return DataLoader(self.frames(False), batch_size=4, collate_fn=collate)  # type: ignore[arg-type]


class ToyModel(pl.LightningModule):
    """One weight; its metric tells the seed and the arm apart."""

    def __init__(self, rate: float = 0.1, bonus: float = 0.0, fail: bool = False, hang: bool = False) -> None:
        super().__init__()
        self.rate, self.bonus, self.fail, self.hang = rate, bonus, fail, hang
        self.weight = torch.nn.Parameter(torch.rand(1))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if self.fail:
            raise RuntimeError("the loss is not finite")
        while self.hang:
            torch.zeros(1)
        loss = (self.weight * batch.images.float().mean()).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("car/3d/moderate/0.5", self.weight.sum() + self.bonus, batch_size=len(batch))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate * 1e-6)


EXPERIMENT = """
model: {class_path: tests.lit.toy_training.ToyModel}
data: {class_path: tests.lit.toy_training.ToyDataModule}
trainer: {max_steps: 4, accelerator: cpu, enable_progress_bar: false, num_sanity_val_steps: 0}
"""


class DiesOnce(pl.Callback):
    """Writes down each step, and ends the process the hard way after the third one, the first time.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        steps = self.path.read_text().split() if self.path.exists() else []
        self.path.write_text(" ".join([*steps, str(trainer.global_step)]))
        if trainer.global_step == 3 and "3" not in steps:
            os._exit(9)


class LossLog(pl.Callback):
    """Appends each step's loss to a file; can end the process the hard way after a step.

    Args:
        path: the file.
        kill_after: step after which the process dies without any cleaning up.
    """

    def __init__(self, path: str, kill_after: int | None = None) -> None:
        self.path, self.kill_after = Path(path), kill_after

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        with self.path.open("a") as stream:
            stream.write(f"{trainer.global_step} {float(outputs['loss']):.9g}\n")
        if trainer.global_step == self.kill_after:
            os._exit(9)


GRID = """
experiment: toy.yaml
seeds: [0, 1]
arms:
  none: {frames: [50, 100]}
  lift3d: {frames: [50], options: {model.bonus: 40.0, data.injection: tests.lit.toy_training.ToyInjection}}
"""

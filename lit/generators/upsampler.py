"""Training of a super-resolution network on pictures that the suite renders: 128 to 256 pixels for G3DR's renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.object_images import ImageBatch
from detectors.rank_counts import mean_over_ranks
from lit.generators.base import Generator, step_draw
from lit.metrics.alignment import psnr
from lit.networks.batch_draws import batch_draw, part_of_batch
from lit.networks.rcan import Rcan, bicubic
from lit.weights.fitting import restore


class Upsampler(Generator):
    """Absolute error between pictures and their shrunk selves enlarged again (RCAN's loss and data).

    Pictures are shrunk by antialiased cubic interpolation and rounded to 8 bits. Validation logs the PSNR beside that
    of cubic enlargement, in dB over all colours of a picture, and the difference as ``val/psnr_gain``.

    Args:
        scale, features, groups, blocks, reduction, bicubic: see :class:`lit.networks.rcan.Rcan`.
        patch: pixels of the shrunk patches that a step looks at; None for whole pictures.
        turn: mirror patches and exchange rows with columns at random.
        lr: of Adam, which falls along half a cosine (the paper halves it every 200,000 steps).
        total_images: training stops after so many.
        seed: of patches and turns.

    Raises:
        InputError: a patch below one pixel.
    """

    def __init__(
        self,
        scale: int = 2,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
        bicubic: bool = False,
        patch: int | None = 48,
        turn: bool = True,
        lr: float = 1e-4,
        total_images: int = 16_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(total_images)
        self.save_hyperparameters()
        if patch is not None and patch < 1:
            raise InputError(f"patch {patch}: expected at least 1 pixel, or null for whole pictures")
        self.network = Rcan(scale, features, groups, blocks, reduction, bicubic)

    @staticmethod
    def load(path: str | Path) -> Upsampler:
        """A trained network in evaluation mode.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """
        return restore(Upsampler, path, "a checkpoint of conf/experiment/rcan.yaml; train one with it")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["lr"])

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, scale H, scale W) of images (B, 3, H, W), both floats in [0, 1]."""
        enlarged: Tensor = self.network(images)
        return enlarged.clamp(0, 1)

    def shrunk(self, images: Tensor) -> Tensor:
        """What is enlarged again: (B, 3, S / scale, S / scale) floats in [0, 1] of images (B, 3, S, S) in [0, 1].

        Raises:
            InputError: a side that the scale does not divide.
        """
        if images.shape[2] % self.network.scale or images.shape[3] % self.network.scale:
            raise InputError(f"pictures of {images.shape[3]} x {images.shape[2]}: expected multiples of model.scale")
        return (bicubic(images, 1 / self.network.scale) * 255).round() / 255

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        with part_of_batch(self.trainer.global_rank, self.trainer.world_size):
            images = self.patches(batch.images.float() / 255, step_draw(self, "patches"))
        loss = (self.network(self.shrunk(images)) - images).abs().mean()
        self.log("train/absolute_error", mean_over_ranks(loss.detach().clone()))
        self.count_images(len(images))
        return loss

    def patches(self, images: Tensor, draw: torch.Generator) -> Tensor:
        """A drawn patch (B, 3, P, P) of each image (B, 3, S, S), drawn to be mirrored or transposed."""
        h: Any = self.hparams
        count, side = len(images), images.shape[2]
        wide = side if h.patch is None else h.patch * h.scale
        if wide > min(images.shape[2:]):
            raise InputError(f"pictures of {side} pixels: expected {wide} or more; lower model.patch")
        chance = batch_draw(lambda rows: torch.rand(rows, 5, generator=draw, device=images.device), count)
        found = []
        for image, (x, y, left, up, over) in zip(images, chance.tolist()):
            row, column = int(y * (image.shape[1] - wide + 1)), int(x * (image.shape[2] - wide + 1))
            patch = image[:, row : row + wide, column : column + wide]
            if h.turn:
                patch = patch.flip([axis for axis, value in ((2, left), (1, up)) if value < 0.5])
                patch = patch.transpose(1, 2) if over < 0.5 else patch
            found.append(patch)
        return torch.stack(found)

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The pictures shrunk and enlarged again, (B, 3, S, S) uint8."""
        images = batch.images.float() / 255
        small = self.shrunk(images)
        enlarged = {"psnr": self(small), "psnr_bicubic": bicubic(small, self.network.scale)}
        pixels = {name: (found * 255).round() for name, found in enlarged.items()}
        figures = {name: psnr(found / 255, images) for name, found in pixels.items()}
        figures["psnr_gain"] = figures["psnr"] - figures["psnr_bicubic"]
        for name, values in figures.items():
            self.note(name, values, batch.ids)
        return pixels["psnr"].to(torch.uint8)

    test_step = validation_step

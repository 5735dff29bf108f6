"""A small network that tells from which side an object is seen, trained on pictures whose pose is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from datamodules.objects.object_images import ImageBatch
from detectors.rank_counts import mean_over_ranks
from lit.networks.image_range import from_pixels
from lit.proxies.picture_training import PictureTraining
from lit.weights.fitting import restore


def azimuth_error(first: Tensor, second: Tensor) -> Tensor:
    """Smallest angle in [0, 180] between azimuths of any shape, degrees."""
    return ((first - second + 180) % 360 - 180).abs()


class PoseRegressor(PictureTraining):
    """Cosine and sine of the azimuth, and the elevation, of a single object's picture.

    Args:
        width: channels of the first convolution; each next has twice as many, up to eight times.
        layers: convolutions of stride 2.
        lr: AdamW's learning rate, which falls along a half cosine over the training.
    """

    def __init__(self, width: int = 24, layers: int = 4, lr: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        widths = [3, *(width * min(2**i, 8) for i in range(layers))]
        steps: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            steps += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        # 4 x 4 cells: which side the front is on is a matter of place, and a global mean would lose it
        head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(widths[-1] * 16, 128), nn.ReLU(), nn.Linear(128, 3)]
        self.network = nn.Sequential(*steps, *head)

    @staticmethod
    def load(path: str | Path) -> PoseRegressor:
        """A trained regressor in evaluation mode.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """
        return restore(PoseRegressor, path, "a checkpoint of conf/experiment/pose_regressor.yaml; train one with it")

    def forward(self, images: Tensor) -> Tensor:
        """Cosine and sine of the azimuth, and the sine of the elevation, (B, 3), of images (B, 3, S, S) uint8."""
        values: Tensor = self.network(from_pixels(images))
        return values

    @torch.no_grad()
    def pose(self, images: Tensor) -> Tensor:
        """Azimuth in [0, 360) and elevation (B, 2), degrees, of images (B, 3, S, S) uint8."""
        cosine, sine, height = self(images).float().unbind(1)
        azimuth = torch.rad2deg(torch.atan2(sine, cosine)) % 360
        return torch.stack([azimuth, torch.rad2deg(torch.asin(height.clamp(-1, 1)))], 1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        self.say_batch(self.hparams["lr"])
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams["lr"], weight_decay=1e-3)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        angles = torch.deg2rad(batch.pose)
        target = torch.stack([angles[:, 0].cos(), angles[:, 0].sin(), angles[:, 1].sin()], 1)
        loss = F.smooth_l1_loss(self(batch.images), target, beta=0.1)
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        return loss

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        found = self.pose(batch.images)
        error, count = azimuth_error(found[:, 0], batch.pose[:, 0]), len(found)
        figures = {
            "azimuth_error": error.mean(),  # degrees, as the next but one
            "azimuth_within_20": (error < 20).float().mean(),
            "elevation_error": (found[:, 1] - batch.pose[:, 1]).abs().mean(),
        }
        named = {f"val/{name}": value for name, value in figures.items()}
        self.log_dict(named, batch_size=count, sync_dist=True, prog_bar=True)

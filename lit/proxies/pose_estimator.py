"""A pose estimator by classification: three binned angles on any timm backbone, as 3D-DST filters and measures with.

Source: 3D-DST's code: ResNet-50, 41 bins each of azimuth, elevation and in-plane rotation, the sum of three
cross-entropies; after Zhou et al., "StarMap", and Wang et al., NeMo, whose ResNet baseline it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from datamodules.errors import InputError
from detectors.backbones import build_backbone
from lit.features.layered_network import statistics_of
from lit.weights.fitting import restore

ANGLE_RANGES = (
    (0.0, 360.0),
    (-90.0, 90.0),
    (-180.0, 180.0),
)  # degrees: azimuth, elevation, rotation in the picture's plane


def bins_of(angles: Tensor, bins: int) -> Tensor:
    """(B, 3) int64 bins of angles (B, 3) in degrees; azimuth and roll go round, elevation ends at its range."""
    found = []
    for column, (low, high) in zip(angles.unbind(1), ANGLE_RANGES):
        share = (column - low) / (high - low)
        found.append(share % 1 if high - low == 360 else share)
    return (torch.stack(found, 1) * bins).floor().long().clamp(0, bins - 1)


def centres_of(cells: Tensor, bins: int) -> Tensor:
    """(B, 3) degrees in the middle of bins (B, 3)."""
    low, high = (torch.tensor(side, device=cells.device) for side in zip(*ANGLE_RANGES))
    return low + (cells + 0.5) / bins * (high - low)


def rotations_of(angles: Tensor) -> Tensor:
    """(B, 3, 3) float64 rotations from object to camera of azimuth, elevation and roll (B, 3) in degrees.

    Frames as in :mod:`datamodules.objects.studio`; roll turns the picture from right towards down.
    """
    azimuth, elevation, roll = torch.deg2rad(angles.double()).unbind(1)
    zero, one = torch.zeros_like(azimuth), torch.ones_like(azimuth)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1).reshape(-1, 3, 3)

    yaw = azimuth + torch.pi / 2
    turn = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    tilt = matrix(one, zero, zero, zero, elevation.cos(), -elevation.sin(), zero, elevation.sin(), elevation.cos())
    spin = matrix(roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one)
    return spin @ tilt @ turn


class PoseEstimator(LightningModule):
    """Azimuth, elevation and in-plane rotation of a single object's picture, by the likeliest of ``bins`` each.

    Args:
        backbone: a timm model with feature maps.
        weights: "timm" for its ImageNet weights, a file with its state dict, or "none" for random ones.
        options: further arguments of ``timm.create_model``.
        stride: of the feature map that is read; 32 is the last of a ResNet.
        pool: cells a side that the map is averaged to. 1 as in the original; small networks need to know where.
        bins: an angle.
        size: pixels that pictures are resized to.
        lr: of SGD, a tenth of it after each ``decay_every`` epochs.
        momentum, weight_decay: of SGD.
        decay_every: epochs.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = None,
        options: dict[str, Any] | None = None,
        stride: int = 32,
        pool: int = 1,
        bins: int = 41,
        size: int = 256,
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        decay_every: int = 50,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, value, low in (
            ("bins", bins, 2),
            ("pool", pool, 1),
            ("size", size, 16),
            ("decay_every", decay_every, 1),
        ):
            if value < low:
                raise InputError(f"pose estimator's {name} {value}: expected at least {low}")
        if not lr > 0:
            raise InputError(f"pose estimator's lr {lr:g}: expected a rate above 0, such as 0.01")
        self.backbone, channels = build_backbone(backbone, options or {}, weights, stride)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(pool), nn.Flatten(), nn.Linear(channels[0] * pool**2, 3 * bins))
        for name, values in zip(("mean", "std"), statistics_of(self.backbone)):
            self.register_buffer(name, values, persistent=False)
        self.bins, self.size = bins, size
        self.mean: Tensor
        self.std: Tensor

    @staticmethod
    def load(path: str | Path) -> PoseEstimator:
        """A trained estimator in evaluation mode; its backbone's first weights are not read again.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """

        def build(**settings: Any) -> PoseEstimator:
            return PoseEstimator(**{**settings, "weights": "none"})

        return restore(build, path, "a checkpoint of a pose estimator; train one with prepare dst-filter --save")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 3, bins) of images (B, 3, S, S) uint8."""
        values = (images.float() - self.mean) / self.std
        if values.shape[-2:] != (self.size, self.size):
            values = F.interpolate(values, (self.size, self.size), mode="bilinear", antialias=True)
        logits: Tensor = self.head(self.backbone(values)[0])
        return logits.float().reshape(len(images), 3, self.bins)

    def losses(self, images: Tensor, angles: Tensor) -> Tensor:
        """(B,) sum of the three cross-entropies of images (B, 3, S, S) uint8 and angles (B, 3) degrees."""
        logits, target = self(images), bins_of(angles, self.bins)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").reshape(-1, 3).sum(1)

    @torch.no_grad()
    def pose(self, images: Tensor) -> Tensor:
        """Azimuth, elevation and roll (B, 3), degrees, of images (B, 3, S, S) uint8."""
        return centres_of(self(images).argmax(-1), self.bins)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        h: Any = self.hparams
        optimizer = torch.optim.SGD(self.parameters(), h.lr, h.momentum, weight_decay=h.weight_decay)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, h.decay_every)}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(*batch).mean()
        self.log("train/loss", loss)
        return loss

"""What networks over pictures by class share: names of the classes, where the weights start, the optimiser."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.features.layered_network import IMAGENET_MEAN, IMAGENET_STD
from lit.proxies.picture_training import PictureTraining
from lit.weights.files import read_state
from lit.weights.fitting import fit_state


class Recogniser(PictureTraining):
    """Learns by AdamW, whose rate rises over the first twentieth of the steps and falls along a half cosine.

    Args:
        classes: names in the order of the labels' numbers: alphabetical, as the folders of the training pictures.
        lr: peak learning rate.
        weight_decay: of AdamW.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: list[str], lr: float, weight_decay: float) -> None:
        super().__init__()
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise InputError(f"classes {classes}: expected two or more different names; correct model.classes")
        self.classes, self.lr, self.weight_decay = list(classes), lr, weight_decay
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None] * 255, persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None] * 255, persistent=False)

    def start(self, path: str | None) -> None:
        """Take over the weights of another training of the same network, on other pictures.

        Raises:
            InputError: no such file, or weights of another network.
        """
        if path is not None:
            network = "this network, as another of its trainings leaves them in last.ckpt"
            fit_state(self, read_state(path, network), path, network)

    def setup(self, stage: str) -> None:
        """Compare the data's classes with the network's.

        Raises:
            InputError: they differ.
        """
        found = getattr(getattr(self.trainer, "datamodule", None), "classes", self.classes)
        if list(found) != self.classes:
            raise InputError(
                f"model.classes {', '.join(self.classes)}: the training pictures show {', '.join(found)}, expected the "
                "same in the same order; set model.classes"
            )

    def normalised(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) float of uint8 images, with ImageNet's mean and deviation."""
        return (images.float() - self.mean) / self.std

    def configure_optimizers(self) -> Any:
        self.say_batch(self.lr)
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = max(steps // 20, 1)

        def scale(step: int) -> float:
            return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

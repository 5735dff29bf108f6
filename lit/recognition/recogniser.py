"""What networks over pictures by class share: names of the classes, where the weights start, the optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from datamodules.files.weight_files import shortened
from datamodules.recognition.class_images import ClassImages
from lit.features.layered_network import statistics_of
from lit.proxies.picture_training import PictureTraining
from lit.weights.files import read_state
from lit.weights.fitting import fit_state

MOST_NAMED = 12  # classes that a message names


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
        if not (0 <= lr < math.inf and 0 <= weight_decay < math.inf):
            raise InputError(f"lr {lr:g}, weight_decay {weight_decay:g}: expected 0 or more; correct model.lr")
        self.classes, self.lr, self.weight_decay = list(classes), lr, weight_decay

    def see_as(self, network: nn.Module) -> None:
        """Take pictures as a timm model's weights do: :meth:`normalised` by its mean and deviation."""
        for name, values in zip(("mean", "std"), statistics_of(network)):
            self.register_buffer(name, values, persistent=False)

    def start(self, path: str | None) -> None:
        """Take over the weights of another training of the same network, on other pictures.

        Raises:
            InputError: no such file, or weights of another network.
        """
        if path is not None:
            network = "this network with as many classes, as another of its trainings leaves them in last.ckpt"
            fit_state(self, read_state(path, network), path, network)

    def setup(self, stage: str) -> None:
        """Compare the data's classes with the network's, and show it a picture of their size.

        Raises:
            InputError: the classes differ, or the network takes no pictures of this size.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ClassImages):
            return
        if list(data.classes) != self.classes:
            raise InputError(
                f"model.classes {_listed(self.classes)}: the training pictures show {_listed(data.classes)}, expected "
                f"the same in the same order{_first_difference(self.classes, data.classes)}; set model.classes"
            )
        self.try_size(int(data.hparams["size"]))

    def try_size(self, size: int) -> None:
        """Show the network one square picture, before a training begins: some take certain sizes only.

        Raises:
            InputError: it does not take it.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()  # batch statistics stay as they are
        try:
            with torch.no_grad():
                self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=self.device))
        except InputError:
            raise
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"data.size {size}: the network takes no pictures of {size} x {size} ({type(error).__name__}: "
                f"{shortened(error)}); set data.size to what it was made for, or change model.options"
            ) from error
        finally:
            for module, mode in modes:
                module.training = mode

    def normalised(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) float of uint8 images, with the mean and deviation of :meth:`see_as`."""
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


def _listed(names: Sequence[str]) -> str:
    """The first names, of a thousand not all."""
    return ", ".join(names[:MOST_NAMED]) + (f", ... ({len(names)})" if len(names) > MOST_NAMED else "")


def _first_difference(stated: Sequence[str], shown: Sequence[str]) -> str:
    """Where two lists part, if what is named of them does not show it."""
    if max(len(stated), len(shown)) <= MOST_NAMED:
        return ""
    place = next((k for k, pair in enumerate(zip(stated, shown)) if pair[0] != pair[1]), min(len(stated), len(shown)))
    one, other = (repr(names[place]) if place < len(names) else "nothing" for names in (stated, shown))
    return f" (number {place + 1} is {one}, {other} among the pictures)"

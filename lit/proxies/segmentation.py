"""Segmenters on segmentation-models-pytorch: any of its architectures on any of its encoders, classes by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from datamodules.errors import InputError, closest
from datamodules.objects.mask_images import IGNORED, MaskBatch
from detectors.rank_counts import mean_over_ranks, share_of, sum_over_ranks
from lit.features.layered_network import IMAGENET_MEAN, IMAGENET_STD
from lit.proxies.picture_training import PictureTraining
from lit.weights.files import read_state, require_file
from lit.weights.fitting import fit_state, restore

STRIDE = 32  # images are padded to multiples of the coarsest feature map's stride
PIXEL_MEAN, PIXEL_STD = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))


class Segmenter(PictureTraining):
    """Per-pixel classes of images, trained by cross-entropy and soft Dice.

    Args:
        classes: names in the order of the labels' numbers.
        architecture: of segmentation-models-pytorch, such as "Unet" or "FPN".
        encoder: one of its encoders ("resnet18"), or "tu-" and a timm model ("tu-hrnet_w18").
        encoder_weights: file with the encoder's state dict; None starts at random. Nothing is downloaded.
        options: further arguments of the architecture, such as ``encoder_depth``.
        lr: AdamW's peak learning rate; it rises over the first twentieth of the steps and falls along a half cosine.
        weight_decay: AdamW's.
        dice_weight: weight of the Dice loss beside the cross-entropy.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: list[str],
        architecture: str = "Unet",
        encoder: str = "resnet18",
        encoder_weights: str | None = None,
        options: dict[str, Any] | None = None,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        dice_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise InputError(f"classes {classes}: expected two or more different names; correct model.classes")
        self.save_hyperparameters(ignore=["encoder_weights"])
        self.classes = list(classes)
        self.network = build_network(architecture, encoder, len(classes), options or {})
        if encoder_weights is not None:
            load_encoder(self.network.get_submodule("encoder"), encoder_weights, encoder)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        self.iou = MulticlassJaccardIndex(len(classes), average="none", ignore_index=IGNORED)

    @staticmethod
    def load(path: str | Path) -> Segmenter:
        """A trained segmenter in evaluation mode, from a checkpoint of the trainer.

        Raises:
            InputError: the file is missing, is no checkpoint of a segmenter, or does not match its own settings.
        """
        return restore(Segmenter, path, "a segmenter's checkpoint such as runs/NAME/last.ckpt")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of uint8 RGB images (B, 3, H, W) of any size."""
        height, width = images.shape[-2:]
        x = (images.float() - self.mean) / self.std
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        logits: Tensor = self.network(x)[..., :height, :width]
        return logits

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities (B, classes, H, W) in [0, 1] of uint8 RGB images (B, 3, H, W)."""
        return self(images.to(self.device)).softmax(1)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, and soft Dice averaged over the classes that the batch (of all processes) shows."""
        logits = self(images)
        known = labels != IGNORED
        pixels = known.sum().float()
        entropy = F.cross_entropy(logits, labels, ignore_index=IGNORED) * (pixels / share_of(pixels))
        wanted = F.one_hot(labels.where(known, 0), len(self.classes)).movedim(-1, 1) * known[:, None]
        likely = logits.softmax(1) * known[:, None]
        areas = [values.sum((0, 2, 3)) for values in (likely * wanted, likely + wanted, wanted.to(likely))]
        both, total, area = sum_over_ranks(torch.stack(areas))
        shown = area > 0
        dice = 1 - (2 * both[shown] + 1) / (total[shown] + 1)
        return {"entropy": entropy, "dice": self.hparams["dice_weight"] * dice.mean()}

    def training_step(self, batch: MaskBatch, batch_idx: int) -> Tensor:
        losses = self.loss(batch.images, batch.labels)
        whole = mean_over_ranks(torch.stack(list(losses.values())).detach())
        self.log_dict({f"train/{name}": value for name, value in zip(losses, whole)})
        return losses["entropy"] + losses["dice"]

    def validation_step(self, batch: MaskBatch, batch_idx: int) -> None:
        self.iou.update(self(batch.images).argmax(1), batch.labels)

    def on_validation_epoch_end(self) -> None:
        values = self.iou.compute()
        self.iou.reset()
        self.log_dict({f"val/iou/{name}": value for name, value in zip(self.classes, values)})
        self.log("val/iou", values.mean(), prog_bar=True)

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        self.say_batch(self.hparams["lr"])
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams["lr"], weight_decay=self.hparams["weight_decay"])
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = max(steps // 20, 1)

        def scale(step: int) -> float:
            return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def build_network(architecture: str, encoder: str, classes: int, options: dict[str, Any]) -> nn.Module:
    """A network of segmentation-models-pytorch without pretrained weights.

    Raises:
        InputError: it knows no such architecture or encoder, or refuses an option.
    """
    base = smp.base.SegmentationModel
    known = sorted(name for name, kind in vars(smp).items() if isinstance(kind, type) and issubclass(kind, base))
    if architecture not in known:
        raise InputError(
            f"architecture {architecture}: expected one of {', '.join(known)}{closest(architecture, known)}"
        )
    try:
        network: nn.Module = getattr(smp, architecture)(encoder, encoder_weights=None, classes=classes, **options)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        hint = closest(encoder, smp.encoders.get_encoder_names())
        raise InputError(
            f"segmenter {architecture} on {encoder}: {' '.join(str(error).split())[:200]}; expected an encoder of "
            f"segmentation-models-pytorch or tu-TIMM_MODEL{hint}"
        ) from error
    return network


def load_encoder(encoder: nn.Module, path: str, name: str) -> None:
    """Fill an encoder from a state dict file (timm's and torchvision's classifier keys are left out).

    Raises:
        InputError: no such file, or a key is missing or of another shape.
    """
    file = require_file(path, f"encoder {name}", "the state dict of the same encoder, saved once on a machine with it")
    state = {key.removeprefix("model."): value for key, value in read_state(file, name).items()}
    own = encoder.state_dict()
    prefix = "model." if all(key.startswith("model.") for key in own) else ""  # timm encoders are wrapped
    fit_state(encoder, {prefix + key: value for key, value in state.items() if prefix + key in own}, file, name)

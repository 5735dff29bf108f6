"""Which class a picture shows, by any timm model."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from datamodules.recognition.class_images import ClassBatch
from detectors.rank_counts import mean_over_ranks
from lit.recognition.classifier_network import build_classifier
from lit.recognition.recogniser import Recogniser


class ImageClassifier(Recogniser):
    """Cross-entropy over the classes.

    Args:
        classes: see :class:`lit.recognition.recogniser.Recogniser`.
        network: a timm model.
        weights: "timm" for its pretrained weights, a file with its state dict or ``last.ckpt`` of another training of
            this class, or "none" for random ones; where a file has other classes the last layer starts anew.
        options: further arguments of ``timm.create_model``, such as ``img_size`` of a transformer.
        lr, weight_decay: see :class:`lit.recognition.recogniser.Recogniser`.
        smoothing: share of each label that is spread over all classes.
        start_from: ``last.ckpt`` of another training of the same network, on pictures to pretrain on that show the same
            classes.
    """

    def __init__(
        self,
        classes: list[str],
        network: str = "deit_small_patch16_224",
        weights: str | None = None,
        options: dict[str, Any] | None = None,
        lr: float = 5e-4,
        weight_decay: float = 0.05,
        smoothing: float = 0.1,
        start_from: str | None = None,
    ) -> None:
        super().__init__(classes, lr, weight_decay)
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing {smoothing:g}: expected a share in [0, 1), such as 0.1")
        self.smoothing = smoothing
        self.network = build_classifier(network, options or {}, weights, len(classes))
        self.see_as(self.network)
        self.start(start_from)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, S, S) uint8.

        Raises:
            InputError: a network of patches that was built for pictures of another size, or one that names no class.
        """
        patches: Any = getattr(self.network, "patch_embed", None)
        wanted = getattr(patches, "img_size", None) if getattr(patches, "strict_img_size", False) else None
        if wanted is not None and tuple(wanted) != tuple(images.shape[-2:]):
            raise InputError(
                f"data.size {images.shape[-1]}: the network takes {wanted[1]} x {wanted[0]}, expected the same; set "
                "data.size, or img_size among model.options"
            )
        logits: Tensor = self.network(self.normalised(images))
        if tuple(logits.shape) != (len(images), len(self.classes)):
            raise InputError(
                f"network: gives {tuple(logits.shape[1:])} numbers a picture, expected one for each of "
                f"{len(self.classes)} classes; leave what changes that (global_pool, say) out of model.options"
            )
        return logits.float()

    def training_step(self, batch: ClassBatch, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch.images), batch.labels, label_smoothing=self.smoothing)
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        return loss

    def validation_step(self, batch: ClassBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits (B, classes), which :class:`lit.recognition.split_scores.SplitScores` takes."""
        logits: Tensor = self(batch.images)
        return logits

    test_step = validation_step

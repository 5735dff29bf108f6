"""From where an object is seen, by classification: a residual network over binned angles, one for all classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from datamodules.errors import InputError
from datamodules.recognition.class_images import ClassBatch, ClassImages
from detectors.rank_counts import mean_over_ranks
from lit.proxies.pose_estimator import PoseEstimator, rotations_of
from lit.recognition.recogniser import Recogniser


class PoseClassifier(Recogniser):
    """3D-DST's baseline: :class:`lit.proxies.pose_estimator.PoseEstimator`, trained on pictures of all classes.

    Args:
        classes: see :class:`lit.recognition.recogniser.Recogniser`.
        backbone, weights, options, stride, pool, bins, size: see
            :class:`lit.proxies.pose_estimator.PoseEstimator`.
        lr, weight_decay: see :class:`lit.recognition.recogniser.Recogniser`.
        start_from: ``last.ckpt`` of another training of the same network, on pictures to pretrain on.
    """

    def __init__(
        self,
        classes: list[str],
        backbone: str = "resnet50",
        weights: str | None = None,
        options: dict[str, Any] | None = None,
        stride: int = 32,
        pool: int = 1,
        bins: int = 41,
        size: int = 256,
        lr: float = 5e-4,
        weight_decay: float = 0.05,
        start_from: str | None = None,
    ) -> None:
        super().__init__(classes, lr, weight_decay)
        self.estimator = PoseEstimator(backbone, weights, options, stride, pool, bins, size)
        self.start(start_from)

    def setup(self, stage: str) -> None:
        """Check that there is something to learn.

        Raises:
            InputError: the poses of the pictures are not known, or their classes are others.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, ClassImages) and data.train_pictures is not None and data.train_pictures.camera is None:
            raise InputError("data.posed false: a pose classifier needs pictures whose poses are known; set it true")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 3, bins) of images (B, 3, S, S) uint8."""
        logits: Tensor = self.estimator(images)
        return logits

    def training_step(self, batch: ClassBatch, batch_idx: int) -> Tensor:
        loss = self.estimator.losses(batch.images, batch.pose[:, :3]).mean()
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        return loss

    def validation_step(self, batch: ClassBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Rotations (B, 3, 3) from object to camera, which :class:`lit.recognition.split_scores.SplitScores` takes."""
        return rotations_of(self.estimator.pose(batch.images))

    test_step = validation_step

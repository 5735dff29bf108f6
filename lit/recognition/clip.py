"""CLIP by open_clip: pictures and captions of one thing meet, those of different things part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.recognition.captioned_images import CaptionBatch
from detectors.rank_counts import mean_over_ranks
from lit.features.pretrained import build_clip, clip_preprocess
from lit.proxies.picture_training import PictureTraining

HOTTEST = math.log(100)  # of the logit scale, as open_clip's training has it


class Clip(PictureTraining):
    """open_clip's own model with its own loss, over the pictures of all processes.

    Its ``last.ckpt`` serves wherever weights of an open_clip model do (:func:`lit.features.pretrained.read_open_clip`).

    Args:
        architecture: see :func:`lit.features.pretrained.build_clip`.
        lr: peak learning rate of AdamW.
        weight_decay: of matrices; gains, biases and embeddings have none.
    """

    def __init__(self, architecture: dict[str, Any], lr: float = 1e-3, weight_decay: float = 0.1) -> None:
        super().__init__()
        from open_clip import SimpleTokenizer  # type: ignore[import-untyped]  # seconds to import; no type information

        self.save_hyperparameters()
        self.network = build_clip(architecture)
        self.preprocess = clip_preprocess(self.network)
        self.tokenizer = SimpleTokenizer(context_length=self.network.context_length)
        if self.network.vocab_size < self.tokenizer.vocab_size:
            raise InputError(
                f"architecture.text_cfg.vocab_size {self.network.vocab_size}: expected at least the "
                f"{self.tokenizer.vocab_size} tokens of open_clip's tokenizer"
            )

    def images(self, images: Tensor) -> Tensor:
        """(B, D) unit vectors of images (B, 3, S, S) uint8."""
        features: Tensor = self.network.encode_image(self.preprocess(images), normalize=True)
        return features

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(B, D) unit vectors of texts."""
        features: Tensor = self.network.encode_text(self.tokenizer(list(texts)).to(self.device), normalize=True)
        return features

    def loss(self, batch: CaptionBatch) -> Tensor:
        """open_clip's contrastive loss of a batch of all processes."""
        from open_clip import ClipLoss

        loss = ClipLoss(gather_with_grad=True, rank=self.global_rank, world_size=self._world)
        found: Tensor = loss(self.images(batch.images), self.texts(batch.captions), self.network.logit_scale.exp())
        return found

    @property
    def _world(self) -> int:
        return 1 if self._trainer is None else int(self._trainer.world_size)

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            self.network.logit_scale.clamp_(0, HOTTEST)

    def validation_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """Unit vectors of the pictures, which :class:`lit.recognition.caption_scores.CaptionScores` takes."""
        return self.images(batch.images)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        h: Any = self.hparams
        self.say_batch(h.lr)
        plain = [p for name, p in self.named_parameters() if p.ndim < 2 or "embedding" in name]
        known = {id(parameter) for parameter in plain}
        groups = [
            {"params": plain, "weight_decay": 0.0},
            {"params": [p for p in self.parameters() if id(p) not in known], "weight_decay": h.weight_decay},
        ]
        optimizer = torch.optim.AdamW(groups, h.lr, betas=(0.9, 0.98))
        steps = max(int(self.trainer.estimated_stepping_batches), 2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, h.lr, steps, pct_start=0.1, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

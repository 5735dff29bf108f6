"""Base of the image metrics: features of real and generated images, kept by sample id over any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from lit.features.extractors import Extractor
from lit.metrics.image.scores import VERSION
from lit.metrics.sample_keys import distinct, joined, sample_keys

SampleIds = Sequence[str] | Sequence[int] | Tensor | None
SIDES = ("real", "fake")


class FeatureMetric(Metric):
    """Base: gathers the features of real and generated images and drops repeats.

    Args:
        extractor: makes the features; its name becomes part of the metric's.
    """

    full_state_update = False
    is_differentiable = False
    kind = "features"
    sides: tuple[str, ...] = SIDES

    def __init__(self, extractor: Extractor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extractor = extractor
        for side in self.sides:
            self.add_state(f"{side}_keys", default=[], dist_reduce_fx="cat")  # int64 (n,)
            self.add_state(f"{side}_rows", default=[], dist_reduce_fx="cat")  # (n, d), the extractor's dtype

    @property
    def name(self) -> str:
        """Metric, network and resize, such as ``fid/fid-inception-cleanfid``."""
        return f"{self.kind}/{self.extractor.name}"

    @property
    def evaluator(self) -> dict[str, str]:
        """Name and version to record beside the figure; the version changes with the weights."""
        return {"name": self.name, "version": f"{VERSION}+{self.extractor.version}"}

    def update(self, images: Tensor, real: bool, sample_ids: SampleIds = None) -> None:
        """Add images.

        Args:
            images: (B, 3, H, W) RGB, uint8 or floats in [0, 1].
            real: whether they are real or generated.
            sample_ids: one id an image, so that repeats count once.

        Raises:
            InputError: images outside the declared range or dtype, or another number of ids than images.
        """
        side = SIDES[0] if real else SIDES[1]
        if side not in self.sides:
            return
        keys = sample_keys(sample_ids, len(images))
        if len(images):
            getattr(self, f"{side}_rows").append(self.extract(images))
            getattr(self, f"{side}_keys").append(keys.to(self.device))

    def extract(self, images: Tensor) -> Tensor:
        """Rows (B, d) to keep of some images."""
        return self.extractor(images.to(self.device))

    def held(self, side: str) -> tuple[Tensor, Tensor]:
        """Keys (n,) and rows (n, d) held on one side, whether lists of updates or what synchronising left."""
        keys, rows = getattr(self, f"{side}_keys"), getattr(self, f"{side}_rows")
        if isinstance(rows, list) and not rows:
            return self._empty()
        return joined(keys, keys), joined(rows, rows)

    def rows(self, side: str) -> Tensor:
        """Rows of all distinct samples, in the order of their ids."""
        keys, rows = self.held(side)
        return rows[distinct(keys)]

    def _empty(self) -> tuple[Tensor, Tensor]:
        keys = torch.zeros(0, dtype=torch.int64, device=self.device)
        return keys, self.extract(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))[:0]  # networks may fail on no image

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """Gather; a process without images takes part with empty tensors of the right shape and dtype."""
        for side in self.sides:
            keys, rows = self.held(side)
            setattr(self, f"{side}_keys", [keys])
            setattr(self, f"{side}_rows", [rows])
        super()._sync_dist(dist_sync_fn, process_group)

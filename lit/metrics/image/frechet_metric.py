"""FID over any number of processes: rows while they are few, float64 sums beyond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from datamodules.errors import InputError
from lit.features.extractors import Extractor
from lit.metrics.image import frechet
from lit.metrics.image.feature_metric import SIDES, FeatureMetric, SampleIds
from lit.metrics.sample_keys import UNKNOWN, distinct, joined, owned

FOLD = 128  # rows that are worth a pass over the d x d sums


class FrechetDistance(FeatureMetric):
    """FID; see :func:`lit.metrics.image.scores.frechet_distance`.

    Two forms of the same statistics. As long as a side holds no more rows than the d of its d × d moments, rows are
    the smaller form and the exact one: the distance comes from them. Beyond that they are folded into float64 sums
    (count, Σx, the lower triangle of Σxxᵀ), which add up over processes.

    A row in a sum cannot be taken back, so a row with an id is folded only when it is certain to count here: at once
    in a single process, where the ids seen tell; with several, in :meth:`compute`, after they exchanged their ids and
    each id went to the first process that has it. Until then such rows stay in memory (200 MB for 25,000 Inception
    features a process). Only ids and sums travel, and rows while they are few.

    Args:
        extractor: makes the features.
    """

    higher_is_better = False
    kind = "fid"

    def __init__(self, extractor: Extractor, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        dims = extractor.dims
        for side in SIDES:
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(dims, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(dims, dims, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_seen", default=[], dist_reduce_fx="cat")  # keys of the rows in the sums

    def update(self, images: Tensor, real: bool, sample_ids: SampleIds = None) -> None:
        """Add images; see :meth:`FeatureMetric.update`."""
        super().update(images, real, sample_ids)
        side = SIDES[0] if real else SIDES[1]
        limit = FOLD if getattr(self, f"{side}_count") else self.extractor.dims
        if sum(len(rows) for rows in getattr(self, f"{side}_rows")) > limit:
            nameless = all(bool((keys == UNKNOWN).all()) for keys in getattr(self, f"{side}_keys"))
            if nameless or not self.distributed_available_fn():
                self._fold(side, self._fresh(side))

    def compute(self) -> float:
        """The distance between all distinct real and generated images.

        Raises:
            InputError: fewer than two images on a side, or features that are not finite.
        """
        gaussians = [self._gaussian(side) for side in SIDES]
        return frechet.distance(gaussians[0], gaussians[1])

    def _gaussian(self, side: str) -> frechet.Gaussian:
        _, rows = self.held(side)
        kept = rows[self._fresh(side)]
        count = int(getattr(self, f"{side}_count"))
        if count + len(kept) < 2:
            raise InputError(f"{self.name}: {count + len(kept)} {side} images, expected at least 2; add images")
        if count:
            total, outer = getattr(self, f"{side}_sum"), getattr(self, f"{side}_outer")
            added = kept.double()
            outer, total, count = outer.clone(), total + added.sum(0), count + len(kept)  # the state stays
            frechet.add_gram(outer, added)
            gaussian = frechet.from_sums(count, total, outer)
        else:
            gaussian = frechet.from_rows(kept)
        if not (torch.isfinite(gaussian.mean).all() and torch.isfinite(torch.tensor(gaussian.variance))):
            raise InputError(f"{self.name}: {side} features hold NaN or infinite values; check images and weights")
        return gaussian

    def _fresh(self, side: str) -> Tensor:
        """Positions of the held rows that are no repeats, of each other or of what the sums hold."""
        keys, _ = self.held(side)
        seen = joined(getattr(self, f"{side}_seen"), keys[:0])
        first = distinct(keys)
        return first[~torch.isin(keys[first], seen[seen != UNKNOWN])]

    def _fold(self, side: str, kept: Tensor) -> None:
        """Move the held rows at some positions into the sums and forget the others."""
        keys, held = self.held(side)
        keys, rows = keys[kept], held[kept].double()
        setattr(self, f"{side}_count", getattr(self, f"{side}_count") + len(rows))
        setattr(self, f"{side}_sum", getattr(self, f"{side}_sum") + rows.sum(0))
        frechet.add_gram(getattr(self, f"{side}_outer"), rows)  # in place: what puts states aside copies them
        getattr(self, f"{side}_seen").append(keys)
        setattr(self, f"{side}_keys", [keys[:0]])
        setattr(self, f"{side}_rows", [held[:0]])

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """Let each id count on one process, then add the sums up; rows travel only while all of them are few.

        The caller has put the state aside and restores it afterwards, so rows that are folded here can still turn out
        to be repeats of what later updates bring.
        """
        group = process_group or self.process_group
        rank = torch.distributed.get_rank(group)
        for side in SIDES:
            keys, rows = self.held(side)
            per_rank = dist_sync_fn(keys, group=group)
            seen = joined(getattr(self, f"{side}_seen"), keys[:0])
            folded = dist_sync_fn(seen, group=group)  # without ids, or from before the processes met
            count = len(distinct(torch.cat([*folded, *per_rank])))
            if count != len(torch.cat(folded)) + len(distinct(torch.cat(per_rank))):
                raise InputError(
                    f"{self.name}: reset it after the processes start; some ids were added before and after"
                )
            kept = owned(per_rank, rank)
            if len(torch.cat(folded)) or count > self.extractor.dims:
                self._fold(side, kept)
                kept = kept[:0]
            setattr(self, f"{side}_keys", [keys[kept]])
            setattr(self, f"{side}_rows", [rows[kept]])
            setattr(self, f"{side}_seen", [seen])  # of no use once the sums are shared
        super()._sync_dist(dist_sync_fn, process_group)

"""Scores of rendered against observed views of many objects, and contact sheets of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit.metrics.alignment import composite
from lit.metrics.maps.alignment_metrics import ReconstructionScores
from lit.metrics.maps.geometry_metrics import NonFlatnessScore


def premultiplied(rgba: Tensor) -> Tensor:
    """Straight uint8 RGBA (..., 4) as premultiplied floats in [0, 1]."""
    straight = rgba.float() / 255
    return torch.cat([straight[..., :3] * straight[..., 3:], straight[..., 3:]], -1)


def box_depth(depth: Tensor, projection: Tensor) -> Tensor:
    """Depth within an object's box: 0 at the corner nearest to the camera, 1 at the farthest.

    Distance and size of the object no longer matter, so that one [near, far] of [0, 1] serves views of all cameras.

    Args:
        depth: (V, H, W) metres.
        projection: (V, 3, 4) canonical cube to pixels, third row depth in metres.
    """
    row = projection[:, 2].to(depth.device, torch.float64)
    reach = row[:, :3].abs().sum(1)[:, None, None]
    return (depth.double() - (row[:, 3, None, None] - reach)) / (2 * reach)


class ViewScores:
    """Scores the views of many objects, the same on one process or many, and keeps pictures of the first ones.

    ``psnr``, ``psnr_object``, ``mask_iou``, ``ssim``, and ``perceptual`` or ``lpips`` compare views with observed ones.
    ``nfs`` is the non-flatness score of rendered depth: cameras are those of the observed views, near and far depths
    those of the nearest and farthest corner of the object's box in each, and pixels of opacity above 0.5 count. With an
    extractor, ``fid`` and ``kid`` compare the sets of rendered and observed views, on mid-grey.

    Args:
        vgg16: see :class:`lit.metrics.maps.alignment_metrics.ReconstructionScores`.
        sheet_objects: objects on the contact sheet.
        extractor: features of ``fid`` and ``kid``, such as "random:0" or "inception"
            (:func:`lit.features.build.build_extractor`); None leaves both out.
        weights: file of the extractor's weights.
        kid_subsets: subsets that ``kid`` averages over.
        kid_subset_size: views a subset; None, with one subset, takes all views at once.
    """

    def __init__(
        self,
        vgg16: str | None = None,
        sheet_objects: int = 8,
        extractor: str | None = None,
        weights: str | None = None,
        kid_subsets: int = 1,
        kid_subset_size: int | None = None,
    ) -> None:
        self.reconstruction = ReconstructionScores(vgg16)
        self.distance_name = self.reconstruction.names[-1]
        self.flatness = NonFlatnessScore(0.0, 1.0)
        self.sets: dict[str, Any] = {}
        if extractor is not None:
            from lit.features.build import build_extractor
            from lit.metrics.image.metrics import FrechetDistance, KernelDistance

            features = build_extractor(extractor, weights)
            self.sets["fid"] = FrechetDistance(features)
            self.sets["kid"] = KernelDistance(features, kid_subsets, kid_subset_size)
        self.sheet_objects = sheet_objects
        self.reset()

    def reset(self, device: torch.device | str = "cpu") -> None:
        """Forget everything, and keep what comes on a device: where the processes exchange it."""
        for metric in (self.reconstruction, self.flatness, *self.sets.values()):
            metric.reset()
            metric.to(device)
        self.rows: list[Tensor] = []
        self.objects = 0
        self.counts: dict[str, int] = {}

    def add(
        self,
        rendered: Tensor,
        observed: Tensor,
        sample_ids: Sequence[str] | None = None,
        depth: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> None:
        """Add one object.

        Args:
            rendered: (V, S, S, 4) premultiplied renders in [0, 1].
            observed: (V, S, S, 4) straight uint8 views.
            sample_ids: V ids, of which repeats count once; None makes some up.
            depth: (V, S, S) rendered depth in metres, or None.
            projection: (V, 3, 4) canonical cube to pixels; needed with depth.
        """
        target = premultiplied(observed)
        rendered = rendered.float().to(target.device)
        ids = list(sample_ids) if sample_ids is not None else [f"{self.objects}/{v}" for v in range(len(rendered))]
        self.objects += 1
        self.reconstruction.update(rendered, target, ids)
        solid = rendered[..., 3] > 0.5
        seen = solid.flatten(1).any(1)  # a view that shows nothing has no geometry to score
        if depth is not None and projection is not None and bool(seen.any()):
            within = box_depth(depth.to(target.device), projection)
            kept = torch.nonzero(seen)[:, 0]
            self.flatness.update(within[kept], [ids[i] for i in kept.tolist()], solid[kept])
        shown, wanted = composite(rendered, 0.5), composite(target, 0.5)
        for metric in self.sets.values():
            for images, real in ((wanted, True), (shown, False)):
                pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 3, 1, 2)
                metric.update(pixels.to(metric.device), real, sample_ids=ids)
        if len(self.rows) < 2 * self.sheet_objects:
            self.rows += [torch.cat(list(images[:8].cpu()), 1) for images in (wanted, shown)]

    def means(self) -> dict[str, float]:
        """Every figure over the distinct views of all processes, each of which has to call this; empty without views.

        Sets ``counts``: the views behind the figures, and those behind ``nfs``.
        """
        self.counts = {"views": self.reconstruction.counted(), "nfs_views": self.flatness.counted()}
        figures: dict[str, float] = {}
        if self.counts["views"]:
            figures |= self.reconstruction.compute()
        if self.counts["nfs_views"]:
            figures["nfs"] = self.flatness.compute()
        if self.counts["views"] > 1:  # the spread of a single view is undefined
            for name, metric in self.sets.items():
                figure = metric.compute()
                figures[name] = float(figure[0] if isinstance(figure, tuple) else figure)
        return figures

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of everything that scores, and the number of views it scored last."""
        nfs = {"name": "nfs: 64 bins over the box's depth in each view", "version": self.flatness.evaluator["version"]}
        stated = [self.reconstruction.evaluator, nfs, *(metric.evaluator for metric in self.sets.values())]
        joined = {key: "; ".join(entry[key] for entry in stated) for key in ("name", "version")}
        return {**joined, "counts": dict(self.counts)}

    def sheet(self) -> np.ndarray | None:
        """(H, W, 3) uint8: two rows an object, its observed views above its rendered ones; None without objects."""
        if not self.rows:
            return None
        image = torch.cat(self.rows, 0).clamp(0, 1)
        return (image * 255).round().byte().numpy()

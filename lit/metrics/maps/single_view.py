"""Figures of fields that came from one photograph: how good they are from where it was taken, and from elsewhere.

G3DR's Table 6 draws the camera's yaw uniformly within a range and asks how far the figures hold. Where other pictures
of the object exist, which the paper had not, colour and depth are compared with them by how far they are turned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.metrics.alignment import psnr
from lit.metrics.geometry import depth_errors
from lit.metrics.maps.geometry_metrics import DepthAccuracy, NonFlatnessScore
from lit.metrics.sample_rows import SampleRows

YAW_RANGES = (0.0, 9.0, 18.0, 25.0, 35.0, 50.0)  # degrees, of Table 6
TURNS = (25.0, 50.0, 100.0, 180.0)  # degrees, upper ends of the parts in which true views are scored
YAW_FIGURES = ("fid", "is", "nfs")  # that are compared from yaw to yaw
UNCORRELATED = 2.0  # depth accuracy of a map that says nothing


class MeanRow(SampleRows):
    """Mean of one number a sample."""

    higher_is_better = True

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(1, **kwargs)
        self.evaluator = {"name": name, "version": "mean-1"}

    def update(self, values: Tensor, sample_ids: Sequence[str]) -> None:
        """Add values (N,)."""
        self.add(sample_ids, values)

    def compute(self) -> float:
        """Mean over the distinct samples."""
        return float(self.distinct_rows().mean())


class SingleViewFigures:
    """Collects figures over photographs, the same on one process or many.

    * ``psnr_photo``, ``depth_accuracy``: the photograph's own view, against it and its depth;
    * ``psnr_to_D``, ``depth_accuracy_to_D``: true views turned by up to D degrees and more than the part before;
    * ``fid_yaw_X``, ``is_yaw_X``, ``nfs_yaw_X``: views from a yaw drawn within X degrees, FID against the photographs.

    Depth accuracy counts pixels whose true depth is known. A map that is flat there has no normalised form: it scores 2
    as an uncorrelated one does. NFS counts pixels of opacity above 0.5, or all where there are none, over
    the cube's depths. The Inception score needs an extractor with logits and as many photographs as it has splits.

    Args:
        ranges: degrees of the yaw's ranges.
        extractor: features of FID, logits of the Inception score (:func:`lit.features.build.build_extractor`); None
            leaves both out.
        weights: file of the extractor's weights.
        splits: of the Inception score.
        backdrop: grey in [0, 1] that the pictures have behind their object; PSNR's name says it.
    """

    def __init__(
        self,
        ranges: Sequence[float] = YAW_RANGES,
        extractor: str | None = None,
        weights: str | None = None,
        splits: int = 10,
        backdrop: float = 0.5,
    ) -> None:
        if not all(0 <= degrees <= 180 for degrees in ranges):
            raise InputError(f"ranges {list(ranges)}: expected degrees from 0 to 180")
        if not 0 <= backdrop <= 1:
            raise InputError(f"backdrop {backdrop:g}: expected a grey from 0 to 1")
        self.ranges = tuple(ranges)
        grey = "mid-grey" if backdrop == 0.5 else f"grey {backdrop:g}"
        self.rows: dict[str, Any] = {}
        for part in ("photo", *(f"to_{degrees:g}" for degrees in TURNS)):
            self.rows[f"psnr_{part}"] = MeanRow(f"PSNR on {grey}")
            self.rows["depth_accuracy" if part == "photo" else f"depth_accuracy_{part}"] = _KnownDepth()
        for degrees in ranges:
            self.rows[f"nfs_yaw_{degrees:g}"] = NonFlatnessScore(-1.0, 1.0)
        self.sets: dict[str, Any] = {}
        self.splits = splits
        if extractor is not None:
            from lit.features.build import build_extractor
            from lit.metrics.image.metrics import FrechetDistance, InceptionScore

            features = build_extractor(extractor, weights)
            self.sets = {f"fid_yaw_{degrees:g}": FrechetDistance(features) for degrees in ranges}
            if features.classes:
                self.sets |= {f"is_yaw_{degrees:g}": InceptionScore(features, splits) for degrees in ranges}

    def reset(self, device: torch.device | str = "cpu") -> None:
        """Forget everything."""
        for metric in (*self.rows.values(), *self.sets.values()):
            metric.reset()
            metric.to(device)

    def add_own(self, id: str, shown: Tensor, photo: Tensor, depth: Tensor, known: Tensor) -> None:
        """The photograph's own view.

        Args:
            id: its name.
            shown: (S, S, 3) rendered in [0, 1].
            photo: (S, S, 3) what is to be seen.
            depth: (S, S) rendered.
            known: (S, S) its depth, NaN where unknown.
        """
        self.rows["psnr_photo"].update(psnr(shown[None], photo[None]), [id])
        self.rows["depth_accuracy"].add_map(id, depth, known)

    def add_truth(self, id: str, turn: float, shown: Tensor, truth: Tensor, depth: Tensor, known: Tensor) -> None:
        """A true view, turned by so many degrees from the photograph; else as :meth:`add_own`."""
        part = next((f"to_{degrees:g}" for degrees in TURNS if turn <= degrees), f"to_{TURNS[-1]:g}")
        self.rows[f"psnr_{part}"].update(psnr(shown[None], truth[None]), [id])
        self.rows[f"depth_accuracy_{part}"].add_map(id, depth, known)

    def add_turned(self, id: str, degrees: float, shown: Tensor, photo: Tensor, place: Tensor, opacity: Tensor) -> None:
        """A view from a yaw within a range.

        Args:
            id: the photograph's name.
            degrees: the range.
            shown: (S, S, 3) rendered in [0, 1].
            photo: (S, S, 3) the photograph.
            place: (S, S) rendered depth as place in the cube, -1 to 1.
            opacity: (S, S).
        """
        solid = opacity > 0.5
        counted = solid if bool(solid.any()) else torch.ones_like(solid)
        self.rows[f"nfs_yaw_{degrees:g}"].update(place[None], [id], counted[None])
        if self.sets:
            for image, real in ((photo, True), (shown, False)):
                pixels = (image.clamp(0, 1) * 255).round().byte().permute(2, 0, 1)[None]
                for name, metric in self.sets.items():
                    if name.endswith(f"_yaw_{degrees:g}"):
                        metric.update(pixels, real, sample_ids=[id])

    def means(self) -> dict[str, float]:
        """Every figure that has samples, over all processes, each of which has to call this."""
        counted = {name: metric.counted() for name, metric in self.rows.items()}
        figures = {name: self.rows[name].compute() for name, count in counted.items() if count}
        for name, metric in self.sets.items():  # the spread of a single picture is undefined, and so is an empty split
            views = counted["nfs_" + name.split("_", 1)[1]]  # as many as NFS has: FID and IS are of the same ones
            if views >= (self.splits if name.startswith("is_") else 2):
                found = metric.compute()
                figures[name] = float(found[0] if name.startswith("is_") else found)
        return figures

    def by_yaw(self, figures: Mapping[str, float]) -> dict[str, list[float | None]]:
        """Figures against the ranges, as a table: ``yaw`` in degrees, and FID, Inception score and NFS where known."""
        table: dict[str, list[float | None]] = {"yaw": list(self.ranges)}
        for kind in YAW_FIGURES:
            column = [figures.get(f"{kind}_yaw_{degrees:g}") for degrees in self.ranges]
            if any(value is not None for value in column):
                table[kind] = column
        return table

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores."""
        chosen = [self.rows["psnr_photo"], self.rows["depth_accuracy"]]
        chosen += [self.rows[f"nfs_yaw_{self.ranges[0]:g}"]] if self.ranges else []
        first = (next((m for n, m in self.sets.items() if n.startswith(kind)), None) for kind in ("fid", "is"))
        stated = [metric.evaluator for metric in (*chosen, *(m for m in first if m is not None))]
        return {key: "; ".join(entry[key] for entry in stated) for key in ("name", "version")}


class _KnownDepth(MeanRow):
    """Depth accuracy of maps where their truth is known at two places or more, and is not flat."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__("")
        self.evaluator = DepthAccuracy().evaluator

    def add_map(self, id: str, depth: Tensor, known: Tensor) -> None:
        """One map (S, S) and its truth, NaN where unknown."""
        inside = ~known.isnan()
        truth, found = known[inside], depth[inside]
        if inside.sum() < 2 or truth.min() == truth.max():
            return
        flat = bool(found.min() == found.max())
        errors = depth_errors(depth[None], torch.nan_to_num(known)[None], inside[None]) if not flat else None
        self.update(torch.tensor([UNCORRELATED]) if errors is None else errors, [id])

"""Scores of images that a generator makes of label maps: pix2pix3D's protocol, by its names.

Several images a label map with random latents (the paper: ten). ``fid`` and ``kid`` between them and reference pictures
(the paper: the whole data set), ``sg_diversity`` (LPIPS of random pairs of one map), and alignment with the map:
``miou`` and ``accuracy`` of rendered segmentations, or ``ap``, the average precision of rendered edges. Names with
``_rgb`` are of label maps that a network, or a gradient, reads from the images; the same of the real pictures
(``_rgb_real``) says what such a reading can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from lit.features.build import build_extractor
from lit.metrics.image.diversity import SampleDiversity
from lit.metrics.image.metrics import FrechetDistance, KernelDistance
from lit.metrics.maps.alignment_metrics import EdgeAveragePrecision, SegmentationScore

Reader = Callable[[Tensor], Tensor]  # (B, 3, H, W) uint8 to (B, C, H, W), of edges the last channel
LINE = 0.0  # of an edge map in [-1, 1]: darker pixels are lines
EDGE_LEVELS = 255  # of edge scores: those of an 8-bit file


def pixels(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8; what lies outside is clamped, as a picture file would."""
    return ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()


class ConditionalScores:
    """Scores the images of many label maps, the same on one process or many.

    Args:
        extractor: features of ``fid`` and ``kid`` (:func:`lit.features.build.build_extractor`); None for neither.
        weights: file of its weights.
        kid_subsets: subsets that ``kid`` averages over.
        kid_subset_size: images a subset; None, with one subset, takes all at once.
        lpips: network of ``sg_diversity`` (:class:`lit.metrics.image.diversity.SampleDiversity`); None for none.
        lpips_weights: file of its weights.
        pairs: pairs a label map.
    """

    def __init__(
        self,
        extractor: str | None = "random:0",
        weights: str | None = None,
        kid_subsets: int = 1,
        kid_subset_size: int | None = None,
        lpips: str | None = "random",
        lpips_weights: str | None = None,
        pairs: int = 10,
    ) -> None:
        self.sets: dict[str, FrechetDistance | KernelDistance] = {}
        if extractor is not None:
            features = build_extractor(extractor, weights)
            self.sets["fid"] = FrechetDistance(features)
            self.sets["kid"] = KernelDistance(features, kid_subsets, kid_subset_size)
        self.diversity = None if lpips is None else SampleDiversity(lpips, lpips_weights, pairs)
        self.alignment: dict[str, SegmentationScore | EdgeAveragePrecision] = {}
        self.reader: Reader | None = None
        self.reference: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, int] = {}

    def start(self, classes: int | None, reader: Reader | None, device: torch.device | str = "cpu") -> None:
        """Forget everything but the reference pictures.

        Args:
            classes: number of classes of segmentations; None for edge maps.
            reader: makes label maps of images; None leaves the ``_rgb`` figures out.
            device: where the processes exchange what they hold.
        """
        self.reader, self.counts = reader, {"maps": 0, "images": 0}
        names = ("", "_rgb", "_rgb_real") if reader is not None else ("",)
        self.alignment = {
            name: EdgeAveragePrecision() if classes is None else SegmentationScore(classes) for name in names
        }
        for metric in self._metrics():
            metric.reset()
            metric.to(device)
        for name, held in self.reference.items():
            for state, value in held.items():
                setattr(self.sets[name], state, list(value) if isinstance(value, list) else value)

    def _metrics(self) -> list[Any]:
        """All of them."""
        return [*self.sets.values(), *self.alignment.values(), *([self.diversity] if self.diversity else [])]

    def add_reference(self, images: Tensor, keys: Sequence[str]) -> None:
        """Add real pictures (B, 3, H, W) in [-1, 1] that the generated ones are compared with."""
        for metric in self.sets.values():
            metric.update(pixels(images), True, list(keys))

    def keep_reference(self) -> None:
        """Let every later :meth:`start` begin with the real pictures that were added since the last."""
        self.reference = {
            name: {
                state: list(value) if isinstance(value, list) else value.clone()
                for state in metric._defaults
                if state.startswith("real")
                for value in [getattr(metric, state)]
            }
            for name, metric in self.sets.items()
        }

    def add(
        self, labels: Tensor, real: Tensor, keys: Sequence[str], images: Sequence[Tensor], rendered: Sequence[Tensor]
    ) -> None:
        """Add the images of B label maps.

        Args:
            labels: the maps, (B, H, W) integers or (B, 1, H, W) edges in [-1, 1], paper +1.
            real: (B, 3, H, W) their pictures in [-1, 1].
            keys: B names.
            images: S samples (B, 3, H, W) in [-1, 1].
            rendered: the label maps rendered with them, (B, C, H, W) logits or (B, 1, H, W) edges.

        Raises:
            InputError: a rendered map has another form than the maps.
        """
        drawn = [pixels(sample) for sample in images]
        for number, (sample, maps) in enumerate(zip(drawn, rendered)):
            ids = [f"{key}/{number}" for key in keys]
            for metric in self.sets.values():
                metric.update(sample, False, ids)
            self._align("", labels, maps, ids)
            if self.reader is not None:
                self._align("_rgb", labels, _read(self.reader, sample), ids)
        if self.reader is not None:
            self._align("_rgb_real", labels, _read(self.reader, pixels(real)), list(keys))
        if self.diversity is not None and len(drawn) > 1:
            self.diversity.update(torch.stack(drawn, 1), list(keys))
        self.counts["maps"] += len(keys)
        self.counts["images"] += len(keys) * len(drawn)

    def _align(self, name: str, labels: Tensor, maps: Tensor, ids: list[str]) -> None:
        metric, size = self.alignment[name], labels.shape[-2:]
        if isinstance(metric, EdgeAveragePrecision):
            if maps.shape != labels.shape or labels.shape[1] != 1:
                raise InputError(f"rendered edges {tuple(maps.shape)}, expected {tuple(labels.shape)}: (B, 1, H, W)")
            score = ((1 - maps.detach().float().clamp(-1, 1)) / 2 * EDGE_LEVELS).round()
            metric.update(score[:, 0], labels[:, 0] < LINE, ids)
            return
        if maps.ndim != 4 or maps.shape[1] != metric.num_classes:
            raise InputError(
                f"rendered labels {tuple(maps.shape)}, expected logits of {metric.num_classes} classes: (B, C, H, W)"
            )
        if maps.shape[-2:] != size:
            maps = F.interpolate(maps.float(), size, mode="bilinear", antialias=True)
        metric.update(labels, maps.argmax(1), ids)

    def means(self) -> dict[str, float]:
        """Every figure over the distinct samples of all processes, each of which has to call this."""
        figures: dict[str, float] = {}
        for name, metric in self.sets.items():
            figure = metric.compute()
            figures[name] = float(figure[0] if isinstance(figure, tuple) else figure)
        if self.diversity is not None:
            with self.diversity.sync_context():
                some = len(self.diversity.held("keys"))
            if some:  # one sample a map has no pairs
                figures["sg_diversity"] = self.diversity.compute()
        for name, score in self.alignment.items():
            found = score.compute()
            if isinstance(found, dict):
                figures |= {f"{key}{name}": float(found[key]) for key in ("miou", "accuracy")}
            else:
                figures[f"ap{name}"] = float(found)
        return figures

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores, and the maps and images it scored on this process."""
        stated = [metric.evaluator for metric in self._metrics()]
        unique = list({entry["name"]: entry for entry in stated}.values())
        return {
            **{key: "; ".join(entry[key] for entry in unique) for key in ("name", "version")},
            "counts": self.counts,
        }


def _read(reader: Reader, images: Tensor) -> Tensor:
    """A reader's answer; of a single channel, strength of an edge in [0, 1], as an edge map with the paper at +1."""
    found = reader(images)
    return 1 - 2 * found if found.shape[1] == 1 else found

"""Scores of alignment over any number of processes, see :mod:`lit.metrics.alignment`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from datamodules.errors import InputError
from detectors.precision import full_precision
from lit.features.layered_network import map_distance, random_layers
from lit.features.lpips_distance import LpipsDistance
from lit.metrics.alignment import composite, confusion_matrix, scores_of_confusion, ssim, view_metrics
from lit.metrics.edge_precision import edge_counts, merge_counts, precision_of_counts
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.pose_accuracy import POSE_THRESHOLDS, pose_errors, scores_of_poses
from lit.metrics.sample_keys import distinct, owned, sample_key
from lit.metrics.sample_rows import SampleRows


class SegmentationScore(SampleRows):
    """Mean IoU and accuracy of label maps, from one confusion matrix for all processes.

    Args:
        num_classes: number of classes, the background included.
        ignore_index: label whose pixels do not count.
    """

    higher_is_better = True

    def __init__(self, num_classes: int, ignore_index: int | None = None, **kwargs: Any) -> None:
        if num_classes < 2:
            raise InputError(f"num_classes {num_classes}: expected at least 2; count the background as one")
        super().__init__(num_classes**2, **kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.evaluator = {"name": "segmentation: mIoU over classes with union, accuracy", "version": "segmentation-1"}

    def update(self, target: Tensor, pred: Tensor, sample_ids: Sequence[str]) -> None:
        """Add labels (N, ...) and predicted labels of the same shape.

        Raises:
            InputError: see :func:`lit.metrics.alignment.confusion_matrix`.
        """
        if target.shape != pred.shape:
            raise InputError(f"target {tuple(target.shape)}, pred {tuple(pred.shape)}: expected equal shapes; resize")
        matrices = [confusion_matrix(a, b, self.num_classes, self.ignore_index) for a, b in zip(target, pred)]
        self.add(sample_ids, torch.stack(matrices) if matrices else torch.zeros(0, self.width))

    def compute(self) -> dict[str, Any]:
        """See :func:`lit.metrics.alignment.segmentation_scores`."""
        confusion = self.distinct_rows().sum(0).view(self.num_classes, self.num_classes)
        return scores_of_confusion(confusion, self.ignore_index)


class EdgeAveragePrecision(GatheredRows):
    """Average precision of edge maps, pooled over the pixels of all samples.

    A sample is kept as its distinct scores with their pixel counts, which loses nothing. Before the processes gather,
    they exchange ids, each id stays with the first process that has it, and each process merges its samples into one
    table: what travels is no longer than its distinct scores (256 rows for 8-bit edge maps).
    """

    sizes: list[Tensor]
    counts: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        sizes = torch.zeros(0, 2, dtype=torch.int64)  # key (or -1, merged), rows
        counts = torch.zeros(0, 3, dtype=torch.float64)  # score, edge pixels, others
        super().__init__(sizes=sizes, counts=counts, **kwargs)
        self.evaluator = {"name": "edges: step-wise average precision pooled over pixels", "version": "edges-1"}

    def update(self, score: Tensor, label: Tensor, sample_ids: Sequence[str]) -> None:
        """Add scores (N, ...) and labels of the same shape.

        Raises:
            InputError: see :func:`lit.metrics.edge_precision.edge_counts`; another number of ids than maps.
        """
        if score.shape != label.shape or isinstance(sample_ids, str) or len(sample_ids) != len(score):
            shapes = f"score {tuple(score.shape)}, label {tuple(label.shape)}, {len(sample_ids)} sample ids"
            raise InputError(f"{shapes}: expected equal shapes (N, ...) and a sequence of N ids; match them")
        tables = [edge_counts(one, other) for one, other in zip(score, label)]
        sizes = [[sample_key(sample_id), len(table)] for sample_id, table in zip(sample_ids, tables)]
        self.keep(sizes=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2))
        self.keep(counts=torch.cat([self.empty["counts"], *tables]))

    def compute(self) -> float:
        """See :func:`lit.metrics.alignment.edge_average_precision`."""
        sizes, tables = self._tables()
        if not int(sizes[:, 1].sum()):
            raise InputError("EdgeAveragePrecision: an empty set has no score; update it with at least one sample")
        return precision_of_counts(merge_counts([tables[i] for i in distinct(sizes[:, 0]).tolist()]))

    def _tables(self) -> tuple[Tensor, list[Tensor]]:
        """Keys and rows (S, 2), and the table of each sample, on the CPU."""
        sizes = self.held("sizes")
        return sizes, list(self.held("counts").split(sizes[:, 1].tolist()))

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """Merge what counts here, then gather; the caller has put the state aside and restores it afterwards."""
        sizes, tables = self._tables()
        group = process_group or self.process_group
        keys = dist_sync_fn(sizes[:, 0].contiguous().to(self.device), group=group)
        mine = owned([part.cpu() for part in keys], torch.distributed.get_rank(group))
        merged = merge_counts([tables[i] for i in mine.tolist()])
        self.sizes = [torch.tensor([[-1, len(merged)]], device=self.device)]
        self.counts = [merged.to(self.device)]
        super()._sync_dist(dist_sync_fn, process_group)


class ReconstructionScores(SampleRows):
    """PSNR, PSNR on the object, mask IoU, SSIM and a learned distance of rendered against observed views.

    Args:
        vgg16: file of torchvision's VGG16 weights for ``lpips``; None gives ``perceptual`` instead, the distance of
            fixed random features, which ranks runs of this suite but compares with no published number.
    """

    def __init__(self, vgg16: str | None = None, **kwargs: Any) -> None:
        distance = "perceptual" if vgg16 is None else "lpips"
        self.names = ("psnr", "psnr_object", "mask_iou", "ssim", distance)
        super().__init__(len(self.names), **kwargs)
        self.network = random_layers() if vgg16 is None else LpipsDistance(vgg16)
        self.evaluator = {"name": f"views: {', '.join(self.names)}", "version": "views-2"}

    def update(self, rendered: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Add views (V, H, W, 4), both premultiplied RGBA in [0, 1].

        Raises:
            InputError: shapes that differ, or another number of ids than views.
        """
        if rendered.shape != target.shape or rendered.ndim != 4 or rendered.shape[-1] != 4:
            shapes = f"rendered {tuple(rendered.shape)}, target {tuple(target.shape)}"
            raise InputError(f"{shapes}: expected two (V, H, W, 4) premultiplied RGBA; resize the renders")
        values = view_metrics(rendered, target)
        shown, wanted = composite(rendered, 0.5), composite(target, 0.5)
        values["ssim"] = ssim(shown, wanted)
        with torch.no_grad(), full_precision(shown.device):
            pairs = zip(*(images.float().permute(0, 3, 1, 2).split(1) for images in (shown, wanted)))
            self.network.to(shown.device)
            found = [self._distance(one, other).reshape(1) for one, other in pairs]  # one by one: one figure a view
        values[self.names[-1]] = torch.cat(found) if found else shown.new_zeros(0)
        self.add(sample_ids, torch.stack([values[name].double() for name in self.names], 1))

    def _distance(self, shown: Tensor, wanted: Tensor) -> Tensor:
        if isinstance(self.network, LpipsDistance):
            return self.network(shown, wanted)
        return map_distance(self.network.maps(shown), self.network.maps(wanted))

    def compute(self) -> dict[str, float]:
        """Mean of every figure over the distinct views."""
        return dict(zip(self.names, self.distinct_rows().mean(0).tolist()))


class PoseAccuracy(SampleRows):
    """Shares of poses within each threshold, mean and median distance.

    Args:
        thresholds: radians.
    """

    higher_is_better = True

    def __init__(self, thresholds: Sequence[float] = POSE_THRESHOLDS, **kwargs: Any) -> None:
        super().__init__(1, **kwargs)
        self.thresholds = tuple(thresholds)
        self.evaluator = {"name": "poses: geodesic distance below thresholds", "version": "poses-1"}

    def update(self, pred_rotation: Tensor, target_rotation: Tensor, sample_ids: Sequence[str]) -> None:
        """Add rotations (N, 3, 3), or yaw angles (N,) in radians.

        Raises:
            InputError: see :func:`lit.metrics.pose_accuracy.pose_errors`.
        """
        self.add(sample_ids, pose_errors(pred_rotation, target_rotation))

    def compute(self) -> dict[str, float]:
        """See :func:`lit.metrics.alignment.pose_accuracy`."""
        return scores_of_poses(self.distinct_rows()[:, 0], self.thresholds)

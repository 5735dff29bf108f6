"""``python -m lit evaluate depth|segmentation|edges``: score maps on disk, file by file.

The sources are what :class:`lit.metrics.maps.files.MapFiles` reads; prediction and ground truth are matched by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.errors import InputError
from datamodules.processes import track
from lit.arguments import Arguments
from lit.commands.report import report
from lit.metrics.maps.files import FORMS, MapFiles

if TYPE_CHECKING:
    from torch import Tensor

NONZERO = "nonzero"
LARGEST = 1e30  # of scores; beyond lie infinities, and numbers whose exponent lost a bit


def depth(argv: list[str]) -> int:
    """Non-flatness score of depth maps; with --target also their depth accuracy."""
    parser = Arguments("evaluate depth", f"Non-flatness score (3DGP) and depth accuracy (G3DR). Maps: {FORMS}.")
    parser.add_argument("--pred", required=True, metavar="DIR_OR_NPZ", help="depth maps")
    parser.add_argument("--near", required=True, type=float, metavar="N", help="nearest depth of the cameras")
    parser.add_argument("--far", required=True, type=float, metavar="F", help="farthest depth of the cameras")
    parser.add_argument("--bins", type=int, default=64, metavar="B", help="histogram bins (64)")
    parser.add_argument("--target", metavar="DIR_OR_NPZ", help="depth maps of the same names to compare with")
    parser.add_argument(
        "--mask", metavar="DIR_OR_NPZ", help=f"maps whose pixels above 0 count, or '{NONZERO}': depths other than 0"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="S", help="stored values of --pred a unit: 256 for KITTI's PNGs"
    )
    parser.add_argument("--target-scale", type=float, default=1.0, metavar="S", help="the same for --target")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)

    from lit.metrics.geometry import depth_errors, non_flatness_scores  # imports torch: --help stays quick
    from lit.metrics.maps.geometry_metrics import DepthAccuracy, NonFlatnessScore

    pred = MapFiles(options.pred, options.scale)
    target = MapFiles(options.target, options.target_scale) if options.target else None
    masks = MapFiles(options.mask) if options.mask and options.mask != NONZERO else None
    flatness, errors = [], []
    inside, beyond, whole = 0, 0, 0
    for name in _walk(pred, [other for other in (target, masks) if other], "depth"):
        values = pred.read(name)
        counted = values != 0 if options.mask == NONZERO else None if masks is None else masks.read(name) > 0
        wanted = None if target is None else target.read(name)
        if wanted is not None and options.mask == NONZERO:
            counted = (values != 0) & (_like(wanted, values, name) != 0)
        whole += pred.scale == 1 and values.dtype.kind != "f"
        finite = np.isfinite(values) & (True if counted is None or counted.shape != values.shape else counted)
        within = finite & (values >= options.near) & (values <= options.far)
        inside, beyond = inside + int(within.sum()), beyond + int((finite & ~within).sum())
        with _naming(name):
            mask = None if counted is None else _tensor(counted)
            flatness.append(float(non_flatness_scores(_tensor(values), options.near, options.far, options.bins, mask)))
            if wanted is not None:
                errors.append(float(depth_errors(_tensor(values), _tensor(wanted), mask)))
    if beyond:
        where = f"outside {options.near:g} to {options.far:g}"
        if not inside:
            raise InputError(f"{pred.path}: all {beyond} depths lie {where}; correct --near and --far, or give --scale")
        print(f"warning: {pred.path}: {beyond} of {inside + beyond} depths lie {where} and were clamped")
    if whole:
        print(f"warning: {pred.path}: {whole} of {len(flatness)} maps hold whole numbers; stored steps want --scale")
    metric = NonFlatnessScore(options.near, options.far, options.bins)
    result: dict[str, Any] = {"nfs": float(np.mean(flatness)), "maps": len(flatness)}
    result |= {"near": options.near, "far": options.far, "bins": options.bins, "evaluator": metric.evaluator}
    if target is not None:
        result |= {"depth_accuracy": float(np.mean(errors)), "depth_evaluator": DepthAccuracy().evaluator}
    report("depth maps", result, options.out)
    return 0


def segmentation(argv: list[str]) -> int:
    """Mean IoU and accuracy of label maps against labelled ones."""
    parser = Arguments("evaluate segmentation", f"Mean IoU and accuracy over all pixels. Label maps: {FORMS}.")
    parser.add_argument("--gt", required=True, metavar="DIR_OR_NPZ", help="labels; each needs a prediction")
    parser.add_argument("--pred", required=True, metavar="DIR_OR_NPZ", help="predicted labels")
    parser.add_argument("--num-classes", required=True, type=int, metavar="N", help="classes, background included")
    parser.add_argument("--ignore-index", type=int, metavar="K", help="label whose pixels do not count")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)

    import torch

    from lit.metrics.alignment import confusion_matrix, scores_of_confusion
    from lit.metrics.maps.alignment_metrics import SegmentationScore

    gt, pred = MapFiles(options.gt), MapFiles(options.pred)
    metric = SegmentationScore(options.num_classes, options.ignore_index)
    total = torch.zeros(metric.num_classes, metric.num_classes, dtype=torch.int64)
    for name in _walk(gt, [pred], "labels"):
        labels, found = gt.read(name), pred.read(name)
        with _naming(name):
            total += confusion_matrix(_tensor(labels), _tensor(found), options.num_classes, options.ignore_index)
    result = scores_of_confusion(total, options.ignore_index) | {"maps": len(gt), "evaluator": metric.evaluator}
    report("segmentation", result, options.out)
    return 0


def edges(argv: list[str]) -> int:
    """Average precision of edge maps, pooled over all pixels."""
    parser = Arguments("evaluate edges", f"Step-wise average precision of edge scores. Maps: {FORMS}.")
    parser.add_argument("--gt", required=True, metavar="DIR_OR_NPZ", help="edge maps, above 0 on edges")
    parser.add_argument("--pred", required=True, metavar="DIR_OR_NPZ", help="scores in any range, higher on edges")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)

    from lit.metrics.edge_precision import edge_counts, merge_counts, precision_of_counts
    from lit.metrics.maps.alignment_metrics import EdgeAveragePrecision

    gt, pred = MapFiles(options.gt), MapFiles(options.pred)
    merged, waiting = merge_counts([]), []
    whole = 0
    for name in _walk(gt, [pred], "edges"):
        labels, scores = gt.read(name), pred.read(name)
        if np.isnan(labels).any():
            raise InputError(f"{gt.path}: {name} holds NaN; write the edge map again")
        if (wrong := scores[~(np.abs(scores.astype(np.float64)) < LARGEST)]).size:
            raise InputError(
                f"{pred.path}: {name} holds {wrong.flat[0]:g}, expected scores within {LARGEST:g}; write it again"
            )
        whole += scores.dtype.kind != "f"
        with _naming(name):
            waiting.append(edge_counts(_tensor(scores), _tensor(labels > 0)))
        if sum(map(len, waiting)) > max(len(merged), 1 << 20):  # merging seldom: each time sorts everything
            merged, waiting = merge_counts([merged, *waiting]), []
    merged = merge_counts([merged, *waiting])
    if 0 < whole < len(gt):
        print(f"warning: {pred.path}: {whole} of {len(gt)} maps hold whole numbers, the others fractions")
    result = {"average_precision": precision_of_counts(merged), "maps": len(gt)}
    result |= {"edge_pixels": int(merged[:, 1].sum()), "pixels": int(merged[:, 1:].sum())}
    report("edges", result | {"evaluator": EdgeAveragePrecision().evaluator}, options.out)
    return 0


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the map's name before the message of an error inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _walk(files: MapFiles, others: list[MapFiles], what: str) -> Iterator[str]:
    """Names of all maps, with a progress bar; whether the other sources hold them too is known before any is read."""
    names = files.names()
    for source in [files, *others]:
        if source.left_out:
            print(f"warning: {source.path}: {source.left_out} files are no maps and were left out; expected {FORMS}")
    for other in others:
        if (surplus := len(other) - len(names)) > 0:
            print(f"warning: {other.path}: {surplus} maps have no namesake in {files.path} and were left out")
        for name in names:
            if name not in other:
                raise InputError(f"{other.path}: no map is named {name} as in {files.path}; both need the same names")
    yield from track(names, what)


def _tensor(values: np.ndarray) -> Tensor:
    """A map as a tensor; torch knows neither the other byte order nor arithmetic on unsigned 16-bit numbers."""
    import torch

    if values.dtype.kind == "u" and values.dtype.itemsize > 1:
        values = values.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(values, values.dtype.newbyteorder("=")))


def _like(values: np.ndarray, other: np.ndarray, name: str) -> np.ndarray:
    if values.shape != other.shape:
        raise InputError(f"{name}: target {values.shape}, pred {other.shape}: expected equal shapes; resize one")
    return values

"""How well generated images, labels, edges and poses agree with what they were conditioned on.

Edges and poses have files of their own; their scores can be imported from here too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from lit.metrics.edge_precision import edge_average_precision as edge_average_precision
from lit.metrics.pose_accuracy import pose_accuracy as pose_accuracy

SSIM_SIDE, SSIM_SIGMA = 11, 1.5


def composite(rgba: Tensor, background: float) -> Tensor:
    """Premultiplied RGBA (..., 4) over grey ``background``: (..., 3)."""
    return rgba[..., :3] + (1 - rgba[..., 3:]) * background


def psnr(rendered: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (V,), at most 100, of images (V, ...) in [0, 1]."""
    return -10 * torch.log10((rendered - target).square().flatten(1).mean(1).clamp_min(1e-10))


def ssim(rendered: Tensor, target: Tensor) -> Tensor:
    """Structural similarity, (V,) float64, of images (V, H, W, C) in [0, 1].

    Source: Z. Wang et al., "Image quality assessment", TIP 2004: Gaussian window of 11 x 11 pixels with sigma 1.5,
    moments weighted by it, constants 0.01 and 0.03, mean over the window's places inside the image and over channels.
    (torchmetrics also averages over places that hang over a mirrored border, which gives other figures.)

    Raises:
        InputError: shapes that differ, or images smaller than the window.
    """
    if rendered.shape != target.shape or rendered.ndim != 4 or min(rendered.shape[1:3]) < SSIM_SIDE:
        shapes = f"{tuple(rendered.shape)} and {tuple(target.shape)}"
        raise InputError(f"images {shapes}: expected two (V, H, W, C) of at least {SSIM_SIDE} pixels a side; enlarge")
    steps = torch.arange(SSIM_SIDE, dtype=torch.float64, device=rendered.device) - SSIM_SIDE // 2
    window = torch.exp(-(steps**2) / (2 * SSIM_SIGMA**2))
    window = window / window.sum()
    a, b = (images.double().permute(3, 0, 1, 2).flatten(0, 1)[:, None] for images in (rendered, target))
    moments = torch.cat([a, b, a * a, b * b, a * b])
    moments = F.conv2d(F.conv2d(moments, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5)
    covariance = product - mean_a * mean_b
    variances = square_a - mean_a**2 + square_b - mean_b**2
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    similarity = luminance * (2 * covariance + 0.03**2) / (variances + 0.03**2)
    return similarity.flatten(1).mean(1).view(rendered.shape[3], -1).mean(0)


def mask_iou(found: Tensor, wanted: Tensor) -> Tensor:
    """Intersection over union, (V,), of bool masks (V, ...); 0 where both are empty: an object should have shown."""
    either = (found | wanted).flatten(1).sum(1).clamp_min(1)
    return (found & wanted).flatten(1).sum(1) / either


def view_metrics(rendered: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Metrics (V,) of rendered against observed views, both premultiplied RGBA (V, H, W, 4) in [0, 1].

    * ``psnr``: over the whole crop, mean of the values on a black and on a mid-grey background.
    * ``psnr_object``: over the pixels in either mask only, on mid-grey.
    * ``mask_iou``: of the masks (opacity > 0.5).
    """
    found, wanted = rendered[..., 3] > 0.5, target[..., 3] > 0.5
    either = found | wanted
    error = (composite(rendered, 0.5) - composite(target, 0.5)).square().mean(-1)
    inside = (error * either).flatten(1).sum(1) / either.flatten(1).sum(1).clamp_min(1)
    values = [psnr(composite(rendered, grey), composite(target, grey)) for grey in (0.0, 0.5)]
    return {
        "psnr": torch.stack(values).mean(0),
        "psnr_object": -10 * torch.log10(inside.clamp_min(1e-10)),
        "mask_iou": mask_iou(found, wanted),
    }


# segmentation


def confusion_matrix(target: Tensor, pred: Tensor, num_classes: int, ignore_index: int | None = None) -> Tensor:
    """Pixels (C, C) int64 by labelled class (row) and predicted class (column).

    Args:
        target: integer labels of any shape.
        pred: integer labels of the same shape.
        num_classes: C.
        ignore_index: label whose pixels do not count, whatever was predicted there.

    Raises:
        InputError: shapes that differ, labels that are not integers or lie outside 0..C-1.
    """
    if num_classes < 2:
        raise InputError(f"num_classes {num_classes}: expected at least 2; count the background as one")
    if target.shape != pred.shape:
        raise InputError(f"target {tuple(target.shape)}, pred {tuple(pred.shape)}: expected equal shapes; resize one")
    for name, labels in (("target", target), ("pred", pred)):
        if labels.is_floating_point() or labels.is_complex():
            raise InputError(f"{name}: labels are {labels.dtype}, expected integers; give class indices, not scores")
    rows, columns = target.reshape(-1).long(), pred.reshape(-1).long()
    if ignore_index is not None:
        counted = rows != ignore_index
        rows, columns = rows[counted], columns[counted]
    for name, labels in (("target", rows), ("pred", columns)):
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if len(wrong):
            cure = "raise num_classes, or name the label as ignore_index"
            raise InputError(f"{name}: label {int(wrong[0])} is outside 0..{num_classes - 1}; {cure}")
    return torch.bincount(rows * num_classes + columns, minlength=num_classes**2).view(num_classes, num_classes)


def scores_of_confusion(confusion: Tensor, ignore_index: int | None = None) -> dict[str, Any]:
    """The scores of :func:`segmentation_scores` from a data set's confusion matrix (C, C)."""
    counts = confusion.double()
    total, hits = float(counts.sum()), counts.diagonal()
    if not total:
        raise InputError("segmentation: no pixel counts (an empty set, or all labels ignored); give labelled images")
    union = counts.sum(0) + counts.sum(1) - hits
    ious = [float(hit / joined) if joined else None for hit, joined in zip(hits, union)]
    if ignore_index is not None and 0 <= ignore_index < len(ious):
        ious[ignore_index] = None
    known = [iou for iou in ious if iou is not None]
    return {
        "miou": float(np.mean(known)),
        "accuracy": float(hits.sum()) / total,
        "iou_per_class": ious,
        "classes": len(known),
        "pixels": int(total),
    }


def segmentation_scores(
    target: Tensor | np.ndarray, pred: Tensor | np.ndarray, num_classes: int, ignore_index: int | None = None
) -> dict[str, Any]:
    """Mean IoU and pixel accuracy of a whole data set, from one confusion matrix (pix2pix3D, section 4).

    A class that neither labels nor predictions hold has no union and does not enter the mean; nor does an ignored
    class, though predicting it where something else is labelled still counts against that other class.

    Args:
        target: integer labels of any shape.
        pred: integer labels of the same shape.
        num_classes: number of classes, the background included.
        ignore_index: label whose pixels do not count.

    Returns:
        ``miou``, ``accuracy`` in [0, 1], ``iou_per_class`` (None without union), ``classes`` in the mean, ``pixels``.

    Raises:
        InputError: see :func:`confusion_matrix`; and when no pixel counts.
    """
    confusion = confusion_matrix(torch.as_tensor(target), torch.as_tensor(pred), num_classes, ignore_index)
    return scores_of_confusion(confusion, ignore_index)

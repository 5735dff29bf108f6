"""How close generated poses come to the poses they were conditioned on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.errors import InputError

POSE_THRESHOLDS = (math.pi / 6, math.pi / 18)


def pose_errors(pred: Tensor, target: Tensor) -> Tensor:
    """Geodesic distances in radians, (N,) float64 in [0, pi], of rotations (N, 3, 3) or of yaw angles (N,).

    The angle comes from ``|R - S|_F = 2 sqrt(2) sin(angle / 2)`` through atan2: unlike the arc cosine of the trace, it
    keeps its digits at small angles.

    Raises:
        InputError: shapes that differ or fit neither form, values that are not finite, no rotation matrices.
    """
    if pred.shape != target.shape or not (pred.ndim == 1 or (pred.ndim == 3 and pred.shape[1:] == (3, 3))):
        shapes = f"pred {tuple(pred.shape)}, target {tuple(target.shape)}"
        raise InputError(f"{shapes}: expected equal shapes, rotations (N, 3, 3) or yaw angles (N,) in radians")
    a, b = pred.double(), target.double()
    for name, values in (("pred", a), ("target", b)):
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{name}: holds values that are not finite; leave out samples without a pose")
        if values.ndim == 3:
            identity = torch.eye(3, dtype=values.dtype, device=values.device)
            apart = (values @ values.transpose(1, 2) - identity).abs().amax((1, 2))
            wrong = torch.nonzero((apart > 1e-3) | (torch.linalg.det(values) < 0))[:, 0]
            if len(wrong):
                raise InputError(f"{name}: matrix {int(wrong[0])} is no rotation; remove scale and mirroring from it")
    if a.ndim == 1:
        return torch.atan2(torch.sin(a - b), torch.cos(a - b)).abs()
    squared = (a - b).square().sum((1, 2))
    return 2 * torch.atan2(squared.sqrt(), (8 - squared).clamp_min(0).sqrt())


def scores_of_poses(errors: Tensor, thresholds: Sequence[float] = POSE_THRESHOLDS) -> dict[str, float]:
    """The scores of :func:`pose_accuracy` from a data set's angles (N,) in radians."""
    if not len(errors):
        raise InputError("poses: an empty set has no accuracy; give at least one pair")
    for threshold in thresholds:
        if not 0 < threshold <= math.pi:
            raise InputError(f"threshold {threshold}: expected radians in (0, pi], such as pi/6")
    found = errors.double()
    scores = {f"accuracy_{math.degrees(t):.4g}deg": float((found < t).double().mean()) for t in thresholds}
    degrees = torch.rad2deg(found)
    return scores | {"mean_deg": float(degrees.mean()), "median_deg": float(degrees.quantile(0.5))}


def pose_accuracy(
    pred_rotation: Tensor, target_rotation: Tensor, thresholds: Sequence[float] = POSE_THRESHOLDS
) -> dict[str, float]:
    """Shares of poses closer than each threshold, and mean and median distance.

    Source: S. Tulsiani and J. Malik, "Viewpoints and keypoints", CVPR 2015 (Acc at pi/6, median); 3D-DST adds pi/18.

    Args:
        pred_rotation: (N, 3, 3) rotations, or (N,) yaw angles in radians.
        target_rotation: the same shape.
        thresholds: radians; the comparison is strict.

    Returns:
        ``accuracy_30deg`` and so on in [0, 1], ``mean_deg`` and ``median_deg``.

    Raises:
        InputError: see :func:`pose_errors`; an empty set; thresholds outside (0, pi].
    """
    return scores_of_poses(pose_errors(pred_rotation, target_rotation), thresholds)

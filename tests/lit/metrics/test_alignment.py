"""Agreement of images, labels, edges and poses: against independent references, by hand, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from datamodules.errors import InputError
from lit.metrics.alignment import (
    edge_average_precision,
    mask_iou,
    pose_accuracy,
    psnr,
    segmentation_scores,
    ssim,
)
from lit.metrics.edge_precision import edge_counts, merge_counts, precision_of_counts
from lit.metrics.pose_accuracy import pose_errors

SEEDS = st.integers(0, 2**32 - 1)


# images


def test_psnr_of_known_errors() -> None:
    target = torch.rand(3, 8, 8, 3)
    found = psnr(target + torch.tensor([0.0, 0.1, 0.01])[:, None, None, None], target)
    assert found.tolist() == pytest.approx([100, 20, 40], abs=1e-3)


def test_ssim_equals_torchmetrics_and_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(4, 24, 20, 3, generator=generator, dtype=torch.float64)
    b = (a + 0.2 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    shown, wanted = (x.permute(0, 3, 1, 2) for x in (b, a))
    _, full = structural_similarity_index_measure(
        shown, wanted, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    expected = full[..., 5:-5, 5:-5].flatten(1).mean(1)  # without the places that hang over a mirrored border
    torch.testing.assert_close(ssim(b, a), expected, rtol=0, atol=1e-9)
    axis = np.arange(11) - 5
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / 4.5)
    window /= window.sum()
    x, y = a[0, :11, :11, :1].numpy()[..., 0], b[0, :11, :11, :1].numpy()[..., 0]
    mean = (window * x).sum(), (window * y).sum()
    spread = [(window * p * q).sum() - m for p, q, m in ((x, x, mean[0] ** 2), (y, y, mean[1] ** 2))]
    both = (window * x * y).sum() - mean[0] * mean[1]
    value = (2 * mean[0] * mean[1] + 1e-4) * (2 * both + 9e-4)
    value /= (mean[0] ** 2 + mean[1] ** 2 + 1e-4) * (sum(spread) + 9e-4)
    assert float(ssim(a[:1, :11, :11, :1], b[:1, :11, :11, :1])) == pytest.approx(value, abs=1e-12)
    assert ssim(a, a).tolist() == pytest.approx([1] * 4, abs=1e-12)
    for wrong in (a[:, :10], a[0]):
        with pytest.raises(InputError, match="at least 11 pixels"):
            ssim(wrong, wrong)
    with pytest.raises(InputError, match="at least 11 pixels"):
        ssim(a, b[:2])


def test_mask_iou_by_hand() -> None:
    found = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    wanted = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    assert mask_iou(found, wanted).tolist() == pytest.approx([1 / 3, 1, 0])


# segmentation


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(2, 6), st.booleans())
def test_segmentation_by_sets(seed: int, classes: int, ignoring: bool) -> None:
    rng = np.random.default_rng(seed)
    target, pred = rng.integers(0, max(classes - 1, 2), (2, 3, 8, 8))
    ignored = 255 if ignoring else None
    if ignoring:
        target[rng.random(target.shape) < 0.3] = 255
        target[0, 0, 0] = 0
    kept = target != 255
    ious = []
    for c in range(classes):
        union = ((target == c) | (pred == c))[kept].sum()
        ious.append(((target == c) & (pred == c))[kept].sum() / union if union else None)
    found = segmentation_scores(torch.from_numpy(target), torch.from_numpy(pred), classes, ignored)
    known = [iou for iou in ious if iou is not None]
    assert found["miou"] == pytest.approx(np.mean(known), abs=1e-12)
    assert found["accuracy"] == pytest.approx((target == pred)[kept].mean(), abs=1e-12)
    assert [iou is None for iou in found["iou_per_class"]] == [iou is None for iou in ious]
    assert (found["classes"], found["pixels"]) == (len(known), kept.sum())


def test_an_ignored_class_is_no_class() -> None:
    target, pred = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 2, 1, 1, 0, 2])
    found = segmentation_scores(target, pred, 4, ignore_index=2)
    assert found["iou_per_class"] == [0.5, 1.0, None, None]
    assert found["miou"] == 0.75
    assert found["accuracy"] == 0.75


LABELS = torch.tensor([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("target", "pred", "classes", "ignored", "message"),
    [
        (LABELS, LABELS[:1], 2, None, "equal shapes"),
        (LABELS, LABELS + 1, 2, None, r"pred: label 2 is outside 0\.\.1"),
        (LABELS - 1, LABELS, 2, None, "target: label -1"),
        (LABELS.float(), LABELS, 2, None, "expected integers"),
        (LABELS, LABELS, 1, None, "at least 2"),
        (LABELS[:0], LABELS[:0], 2, None, "no pixel counts"),
        (torch.full_like(LABELS, 7), LABELS, 2, 7, "no pixel counts"),
    ],
)
def test_segmentation_refuses(target: Tensor, pred: Tensor, classes: int, ignored: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        segmentation_scores(target, pred, classes, ignored)
    assert "\n" not in str(error.value)


# edges


def brute_force(score: np.ndarray, label: np.ndarray) -> float:
    """Average precision by a threshold at every distinct score."""
    total, before = 0.0, 0.0
    for threshold in np.unique(score)[::-1]:
        chosen = score >= threshold
        recall = label[chosen].sum() / label.sum()
        total += (recall - before) * label[chosen].mean()
        before = recall
    return total


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 120), st.sampled_from([2, 5, 1000]))
def test_edge_precision_by_brute_force(seed: int, pixels: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    score, label = rng.integers(-levels, levels, pixels) / levels * 3, rng.random(pixels) < 0.3
    label[rng.integers(pixels)] = True
    found = edge_average_precision(torch.from_numpy(score), torch.from_numpy(label))
    assert found == pytest.approx(brute_force(score, label), abs=1e-12)
    cut = pixels // 2
    parts = [
        edge_counts(torch.from_numpy(score[s]), torch.from_numpy(label[s])) for s in (slice(cut), slice(cut, None))
    ]
    assert precision_of_counts(merge_counts(parts)) == pytest.approx(found, abs=1e-12)


def test_edge_precision_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for score in (rng.normal(size=5000).astype(np.float32), rng.integers(0, 256, 5000).astype(np.uint8)):
        label = rng.random(5000) < 0.1 + 0.3 * (score > np.median(score))
        found = edge_average_precision(torch.from_numpy(score), torch.from_numpy(label))
        assert found == pytest.approx(metrics.average_precision_score(label, score), abs=1e-12)


def test_edge_precision_takes_scores_as_they_are() -> None:
    label = torch.tensor([1, 0, 1, 0])
    assert edge_average_precision(torch.tensor([90.0, -3, 40, 2]), label) == 1  # no sigmoid to saturate
    assert edge_average_precision(torch.tensor([-0.0, 0.0, 0.0, -0.0]), label) == 0.5
    assert edge_average_precision(torch.tensor([math.inf, 0, 1, -math.inf]), label) == 1


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        (torch.rand(3), torch.ones(4), "equal shapes"),
        (torch.tensor([0.1, math.nan]), torch.tensor([1, 0]), "NaN"),
        (torch.rand(2), torch.tensor([0, 255]), "other than 0 and 1"),
        (torch.rand(3), torch.zeros(3), "no pixel is an edge"),
        (torch.rand(0), torch.zeros(0), "no pixel is an edge"),
    ],
)
def test_edges_refuse(score: Tensor, label: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edge_average_precision(score, label)


# poses


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.floats(0, math.pi))
def test_geodesic_distance_is_the_angle_of_the_turn(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    first = rotation(rng.normal(size=3), rng.uniform(0, math.pi))
    second = first @ rotation(rng.normal(size=3), angle)
    found = float(pose_errors(torch.from_numpy(first[None]), torch.from_numpy(second[None])))
    assert found == pytest.approx(angle, abs=1e-7)


def test_small_angles_keep_their_digits_and_yaws_wrap() -> None:
    turned = torch.from_numpy(rotation(np.array([1.0, 2, 3]), 1e-9)[None])
    assert float(pose_errors(turned, torch.eye(3, dtype=torch.float64)[None])) == pytest.approx(1e-9, rel=1e-5)
    yaws = pose_errors(torch.tensor([3.1, -3.1, 0.5, 7.0]), torch.tensor([-3.1, 3.1, 0.25, 7.0 - 2 * math.pi]))
    assert yaws.tolist() == pytest.approx([2 * math.pi - 6.2, 2 * math.pi - 6.2, 0.25, 0], abs=1e-6)


def test_pose_accuracy_by_hand() -> None:
    degrees = torch.tensor([0.0, 5.0, 9.9, 10.5, 29.0, 31.0, 170.0, 180.0])
    for poses in (
        torch.deg2rad(degrees),
        torch.stack([torch.from_numpy(rotation(np.array([0.0, 1, 0]), math.radians(d))) for d in degrees.tolist()]),
    ):
        found = pose_accuracy(poses, poses[:1].expand_as(poses))
        assert found["accuracy_30deg"] == 5 / 8
        assert found["accuracy_10deg"] == 3 / 8
        assert found["mean_deg"] == pytest.approx(float(degrees.mean()), abs=1e-4)
        assert found["median_deg"] == pytest.approx(19.75, abs=1e-4)
    assert pose_accuracy(torch.tensor([0.5]), torch.tensor([0.0]), (0.5,))["accuracy_28.65deg"] == 0  # strictly closer


EYE = torch.eye(3)[None]


@pytest.mark.parametrize(
    ("pred", "target", "options", "message"),
    [
        (EYE, torch.zeros(1), {}, "equal shapes"),
        (EYE[0], EYE[0], {}, r"rotations \(N, 3, 3\)"),
        (EYE * 2, EYE, {}, "pred: matrix 0 is no rotation"),
        (EYE, -EYE, {}, "target: matrix 0 is no rotation"),
        (EYE * math.nan, EYE, {}, "not finite"),
        (EYE[:0], EYE[:0], {}, "empty set"),
        (EYE, EYE, {"thresholds": (30,)}, r"radians in \(0, pi\]"),
        (EYE, EYE, {"thresholds": (0.0,)}, r"radians in \(0, pi\]"),
    ],
)
def test_poses_refuse(pred: Tensor, target: Tensor, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pose_accuracy(pred, target, **options)

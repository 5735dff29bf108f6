"""mmcv's own functions on torchvision's operators: values against independent formulas, gradients by differences."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from detectors import mmcv_ops

mmcv = pytest.importorskip("mmcv")
mmcv_ops.install()
if not isinstance(sys.modules["mmcv._ext"], mmcv_ops.Operators):
    pytest.skip("a compiled mmcv is installed", allow_module_level=True)
from mmcv import ops  # noqa: E402  # only after the operators are in place


def double(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """Value of a (H, W) plane at a point, zero outside."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = torch.zeros((), dtype=plane.dtype)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total = total + plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def deformed(image: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, stride: int, pad: int) -> Tensor:
    """Deformable convolution written out, one group: (B, O, h, w)."""
    batch, channels, kernel = len(image), image.shape[1], weight.shape[-1]
    height, width = offset.shape[-2:]
    out = torch.zeros(batch, len(weight), height, width, dtype=image.dtype)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                for k in range(kernel * kernel):
                    y = float(i * stride - pad + k // kernel + offset[b, 2 * k, i, j])
                    x = float(j * stride - pad + k % kernel + offset[b, 2 * k + 1, i, j])
                    sample = torch.stack([bilinear(image[b, c], y, x) for c in range(channels)])
                    share = 1.0 if mask is None else mask[b, k, i, j]
                    out[b, :, i, j] += weight[:, :, k // kernel, k % kernel] @ sample * share
    return out


CASES = [(1, 1, 1), (2, 0, 1), (1, 1, 2)]  # stride, padding, groups of channels


def inputs(stride: int, pad: int, groups: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    image = double(1, 2, 5, 4, seed=1)
    size = [(n + 2 * pad - 3) // stride + 1 for n in image.shape[-2:]]
    offset = double(1, groups * 18, *size, seed=2, scale=0.6)
    mask = double(1, groups * 9, *size, seed=3).sigmoid()
    return image, offset, mask, double(2, 2, 3, 3, seed=4), double(2, seed=5)


@pytest.mark.parametrize(("stride", "pad", "groups"), CASES)
def test_modulated_deformable_convolution(stride: int, pad: int, groups: int) -> None:
    image, offset, mask, weight, bias = inputs(stride, pad, groups)
    if groups == 1:
        found = ops.modulated_deform_conv2d(image, offset, mask, weight, bias, stride, pad)
        expected = deformed(image, offset, mask, weight, stride, pad) + bias[:, None, None]
        torch.testing.assert_close(found, expected)

    def run(*tensors: Tensor) -> Tensor:
        return ops.modulated_deform_conv2d(*tensors, stride, pad, 1, 1, groups)

    leaves = [t.requires_grad_() for t in (image, offset, mask, weight, bias)]
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradcheck(
        lambda *t: ops.modulated_deform_conv2d(*t, None, stride, pad, 1, 1, groups), leaves[:4]
    )


@pytest.mark.parametrize(("stride", "pad", "groups"), CASES)
def test_deformable_convolution(stride: int, pad: int, groups: int) -> None:
    image, offset, _, weight, _ = inputs(stride, pad, groups)
    if groups == 1:
        expected = deformed(image, offset, None, weight, stride, pad)
        torch.testing.assert_close(ops.deform_conv2d(image, offset, weight, stride, pad), expected)
    leaves = [t.requires_grad_() for t in (image, offset, weight)]
    assert torch.autograd.gradcheck(lambda *t: ops.deform_conv2d(*t, stride, pad, 1, 1, groups), leaves)


def test_unshifted_it_is_a_convolution_with_groups_and_dilation() -> None:
    image, weight = double(2, 4, 8, 6, seed=1), double(6, 2, 3, 3, seed=2)
    expected = F.conv2d(image, weight, None, (2, 1), (2, 1), (2, 1), groups=2)
    offset = torch.zeros(2, 18, *expected.shape[-2:], dtype=torch.float64)
    mask = torch.ones(2, 9, *expected.shape[-2:], dtype=torch.float64)
    found = ops.modulated_deform_conv2d(image, offset, mask, weight, None, (2, 1), (2, 1), (2, 1), 2, 1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ops.deform_conv2d(image, offset, weight, (2, 1), (2, 1), (2, 1), 2, 1), expected)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_deformable_layer_under_autocast(low: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = ops.ModulatedDeformConv2dPack(4, 4, 3, padding=1)
    image = torch.randn(1, 4, 6, 6)
    with torch.autocast("cpu", low):
        out = layer(image)
        out.float().square().sum().backward()
    torch.testing.assert_close(out.float(), layer(image), atol=0.02, rtol=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_focal_loss(weighted: bool) -> None:
    logits, target = (
        double(6, 3, seed=1, scale=3.0),
        torch.tensor([0, 1, 2, 0, 1, 2] if weighted else [0, 3, 2, 3, 1, 3]),
    )
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64) if weighted else None
    truth = F.one_hot(target, 4)[:, :3].double()
    p_t = torch.where(truth == 1, logits.sigmoid(), 1 - logits.sigmoid())
    expected = -torch.where(truth == 1, 0.25, 0.75) * (1 - p_t) ** 2.0 * p_t.log()
    if weight is not None:
        expected = expected * weight[target][:, None]
    torch.testing.assert_close(ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "none"), expected)
    torch.testing.assert_close(ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "mean"), expected.sum() / 6)
    for reduction in ("sum", "mean"):

        def run(values: Tensor, reduction: str = reduction) -> Tensor:
            return ops.sigmoid_focal_loss(values, target, 2.0, 0.25, weight, reduction)

        assert torch.autograd.gradcheck(run, [logits.clone().requires_grad_()])


def test_focal_loss_is_finite_far_out() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_roi_align() -> None:
    """One sample a cell: the cell's centre, bilinearly."""
    image = double(2, 3, 7, 9, seed=1)
    rois = torch.tensor([[0, 1.2, 0.8, 6.4, 5.1], [1, 2.0, 1.0, 7.5, 6.0]], dtype=torch.float64)
    found = ops.roi_align(image, rois, (2, 3), 1.0, 1, "avg", True)
    for n, (frame, left, top, right, bottom) in enumerate(rois.tolist()):
        for i in range(2):
            for j in range(3):
                y = top - 0.5 + (i + 0.5) * (bottom - top) / 2
                x = left - 0.5 + (j + 0.5) * (right - left) / 3
                expected = torch.stack([bilinear(plane, y, x) for plane in image[int(frame)]])
                torch.testing.assert_close(found[n, :, i, j], expected)

    def run(values: Tensor) -> Tensor:
        return ops.roi_align(values, rois, (2, 3), 1.0, 2, "avg", True)

    assert torch.autograd.gradcheck(run, [image.requires_grad_()])
    with pytest.raises(NotImplementedError, match="by maximum"):
        ops.roi_align(image, rois, 2, 1.0, 2, "max", True)


def greedy(iou: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if all(iou[row, other] <= threshold for other in kept):
            kept.append(int(row))
    return kept


@pytest.mark.parametrize("offset", [0, 1])
def test_nms(offset: int) -> None:
    rng = np.random.default_rng(offset)
    corner = rng.uniform(0, 40, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 25, (80, 2))], 1).astype(np.float32)
    scores = rng.permutation(80).astype(np.float32) / 80
    low, high = (f(boxes[:, None, k], boxes[None, :, k]) for f, k in ((np.maximum, [0, 1]), (np.minimum, [2, 3])))
    shared = np.clip(high - low + offset, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    expected = greedy(shared / (area[:, None] + area - shared), scores, 0.4)
    dets, kept = ops.nms(torch.tensor(boxes), torch.tensor(scores), 0.4, offset)
    assert kept.tolist() == expected
    torch.testing.assert_close(dets[:, 4], torch.tensor(scores[expected]))
    _, kept = ops.soft_nms(
        torch.tensor(boxes), torch.tensor(scores), 0.4, min_score=1e-6, method="naive", offset=offset
    )
    assert [i for i in kept.tolist() if scores[i] > 0] == [i for i in expected if scores[i] > 0]


def test_soft_nms_fades_scores() -> None:
    boxes, scores = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]]), torch.tensor([0.9, 0.8, 0.3])
    dets, kept = ops.soft_nms(boxes, scores, 0.3, method="linear")
    assert kept.tolist() == [0, 1, 2]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.4, 0.3]))
    dets, kept = ops.soft_nms(boxes, scores, 0.3, sigma=0.5, method="gaussian", min_score=0.35)
    assert kept.tolist() == [0, 1]
    torch.testing.assert_close(dets[1, 4], torch.tensor(0.8 * np.exp(-0.5), dtype=torch.float32))


def rotated(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = (rng.uniform(0, 12, (count, 2)), rng.uniform(0.5, 6, (count, 2)), rng.uniform(-4, 4, (count, 1)))
    return np.concatenate(columns, 1)


def shapely_iou(boxes: np.ndarray, clockwise: bool = True) -> np.ndarray:
    """IoU (N, N) of polygons; positive angles turn x towards y when ``clockwise`` (y down), else the other way."""
    from shapely import Polygon, area, intersection

    angle = boxes[:, 4] if clockwise else -boxes[:, 4]
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * boxes[:, 2:3] / 2
    across = np.stack([-np.sin(angle), np.cos(angle)], 1) * boxes[:, 3:4] / 2
    corners = np.stack([along + across, across - along, -along - across, along - across], 1) + boxes[:, None, :2]
    polygons = np.array([Polygon(points) for points in corners])
    shared, size = area(intersection(polygons[:, None], polygons[None])), area(polygons)
    return shared / (size[:, None] + size - shared)


@pytest.mark.parametrize("clockwise", [True, False])
def test_rotated_overlaps(clockwise: bool) -> None:
    boxes = rotated(30, 0)
    given, expected = torch.tensor(boxes), torch.tensor(shapely_iou(boxes, clockwise))
    torch.testing.assert_close(ops.box_iou_rotated(given, given, clockwise=clockwise), expected, atol=1e-9, rtol=0)
    pairs = ops.box_iou_rotated(given[:-1], given[1:], aligned=True, clockwise=clockwise)
    torch.testing.assert_close(pairs, expected.diagonal(1), atol=1e-9, rtol=0)
    area = given[:, 2:4].prod(1)
    shared = expected * (area[:, None] + area) / (1 + expected)
    first = ops.box_iou_rotated(given, given, mode="iof", clockwise=clockwise)
    torch.testing.assert_close(first, shared / area[:, None], atol=1e-9, rtol=0)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("labelled", [False, True])
def test_rotated_nms(threshold: float, labelled: bool) -> None:
    boxes, rng = rotated(150, 1), np.random.default_rng(2)
    scores, labels = rng.permutation(150) / 150, rng.integers(0, 3, 150)
    iou = shapely_iou(boxes)
    if labelled:
        iou = np.where(labels[:, None] == labels, iou, 0.0)
    given = torch.tensor(labels, dtype=torch.float64) if labelled else None
    dets, kept = ops.nms_rotated(torch.tensor(boxes), torch.tensor(scores), threshold, given)
    assert kept.tolist() == greedy(iou, scores, threshold)
    torch.testing.assert_close(dets, torch.tensor(np.column_stack([boxes, scores])[kept]))


def test_rotated_nms_of_far_and_equal_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv_ops, "PAIRS", 16)  # several blocks
    box = torch.tensor([[0.0, 0, 4, 2, 0.3]])
    far = torch.cat([box + torch.tensor([100.0 * i, 0, 0, 0, 0]) for i in range(20)])
    assert len(ops.nms_rotated(far, torch.rand(20), 0.5)[1]) == 20
    assert ops.nms_rotated(box.repeat(50, 1), torch.arange(50.0), 0.5)[1].tolist() == [49]
    assert ops.nms_rotated(box[:0], torch.zeros(0), 0.5)[1] is None


def test_what_is_not_covered_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"'three_nn_forward'.*compiled mmcv"):
        ops.three_nn(torch.zeros(1, 2, 3), torch.zeros(1, 4, 3))
    extension: Any = sys.modules["mmcv._ext"]
    with pytest.raises(NotImplementedError, match="nms_quadri"):
        extension.nms_quadri(1, 2)
    with pytest.raises(AttributeError):
        _ = extension.__path__


def test_installs_once_and_leaves_a_compiled_module_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = sys.modules["mmcv._ext"]
    assert mmcv_ops.install()
    assert sys.modules["mmcv._ext"] is ours
    compiled = ModuleType("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", compiled)
    assert not mmcv_ops.install()
    assert sys.modules["mmcv._ext"] is compiled


def test_a_compiled_file_beside_mmcv_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "_ext.py").write_text("")
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.setattr(mmcv, "__path__", [str(tmp_path)])
    assert not mmcv_ops.install()
    assert "mmcv._ext" not in sys.modules

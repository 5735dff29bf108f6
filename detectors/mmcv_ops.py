"""Torchvision's operators in the place of mmcv's compiled ones, so that OpenMMLab models run without a compiler.

``mmcv.ops`` is a set of autograd functions around one compiled module, ``mmcv._ext``. The wheels that exist for current
torch versions (mmcv-lite) come without it. :func:`install` registers a module of that name, made of torchvision's own
compiled operators and of plain torch, for the CPU and CUDA alike. It holds what monocular detectors and mmdet's common
heads call; every other operator is there by name, because ``mmcv.ops`` asks for it on import, and says so when called.

Signatures are mmcv 2.1's: most operators fill an ``output`` or gradient tensor that the caller allocated.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision  # noqa: F401  # its import registers the operators under torch.ops
from torch import Tensor

from datamodules.rotated_iou import rotated_intersection_torch, rotated_iou_torch
from detectors.precision import full_precision

NAME = "mmcv._ext"
COMPILED_MMCV = "install a compiled mmcv>=2.0.0,<2.2.0 in place of mmcv-lite"
PAIRS = 1 << 18  # pairs of rotated boxes whose overlap is computed at once: about 200 MB of float64


def install() -> bool:
    """Register the operators as ``mmcv._ext``, before ``mmcv.ops`` is imported; a compiled module is left alone.

    Returns:
        Whether torchvision's operators are in place.

    Raises:
        ImportError: mmcv is not installed.
    """
    if NAME in sys.modules:
        return isinstance(sys.modules[NAME], Operators)
    mmcv = importlib.import_module("mmcv")
    if importlib.machinery.PathFinder.find_spec(NAME, mmcv.__path__) is not None:
        return False
    module = Operators(NAME, __doc__)
    module.__spec__ = importlib.machinery.ModuleSpec(NAME, None)
    for operator in OPERATORS:
        setattr(module, operator.__name__, operator)
    sys.modules[NAME] = module
    return True


class Operators(ModuleType):
    """A module that has every operator by name; the ones it lacks raise when they are called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(f"mmcv operator {name!r} has no torchvision counterpart here; {COMPILED_MMCV}")

        missing.__name__ = name
        return missing


@contextmanager
def import_aids() -> Iterator[None]:
    """While OpenMMLab's packages are imported: what they take from packages that nothing else needs any more.

    mmdet 3.3 imports Python 3's own ``map`` and ``zip`` through ``six``. Nothing stays behind.
    """
    absent = importlib.util.find_spec("six") is None
    names = ("six", "six.moves") if absent else ()
    for name in names:
        sys.modules[name] = ModuleType(name)
    if absent:
        vars(sys.modules["six.moves"]).update(map=map, zip=zip)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def history_globals() -> list[Any]:
    """What ``torch.load(weights_only=True)`` must be allowed for mmengine's checkpoints: log histories of NumPy arrays.

    The arrays' constructors are listed under the names of NumPy 1 and 2. A history also names its four statistics, as
    attributes of its class; the stand-in for ``getattr`` finds these and nothing else.
    """
    history = importlib.import_module("mmengine.logging.history_buffer").HistoryBuffer
    core: Any = importlib.import_module("numpy._core.multiarray" if np.__version__ >= "2" else "numpy.core.multiarray")

    def statistic(owner: object, name: str) -> Any:
        if owner is not history or name not in ("min", "max", "current", "mean"):
            raise pickle.UnpicklingError(f"attribute {name!r} of {owner!r} is no statistic of a log history")
        return getattr(history, name)

    named = [
        (getattr(core, name), f"numpy.{package}.multiarray.{name}")
        for package in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ]
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    return [history, (statistic, "builtins.getattr"), *named, np.ndarray, np.dtype, *kinds]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Rows of boxes (N, 4) that stay, best first; ``offset`` 1 counts the right and bottom pixels in."""
    if offset:
        boxes = boxes + boxes.new_tensor([0.0, 0.0, offset, offset])
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft suppression (Bodla et al. 2017): 0 drops overlapping boxes, 1 fades linearly, 2 with a Gaussian.

    Fills ``dets`` (N, 5) with boxes and faded scores in the order they were picked and returns their rows.
    """
    size = boxes[:, 2:] - boxes[:, :2] + offset
    area, fading = size.prod(1), scores.clone()
    left = torch.ones_like(scores, dtype=torch.bool)
    picked: list[int] = []
    while bool(left.any()):
        best = int(torch.where(left, fading, -torch.inf).argmax())
        dets[len(picked), :4], dets[len(picked), 4] = boxes[best], fading[best]
        picked.append(best)
        left[best] = False
        low, high = torch.maximum(boxes[:, :2], boxes[best, :2]), torch.minimum(boxes[:, 2:], boxes[best, 2:])
        shared = (high - low + offset).clamp(min=0).prod(1)
        iou = shared / (area + area[best] - shared)
        if method == 2:
            weight = torch.exp(-(iou**2) / sigma)
        else:
            weight = torch.where(iou >= iou_threshold, (1 - iou) * method, 1.0)
        fading = torch.where(left, fading * weight, fading)
        left &= fading >= min_score
    return torch.tensor(picked, dtype=torch.int64)


def _rectangles(boxes: Tensor) -> Tensor:
    """Rows x, y, w, h, clockwise angle as :mod:`datamodules.rotated_iou` takes them: its yaw turns the other way."""
    return torch.cat([boxes[:, :4], -boxes[:, 4:5]], 1).double()


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: bool,
) -> Tensor:
    """Rows of ``dets`` that stay, best first.

    Args:
        dets: (N, 5) x, y, w, h, angle; with ``multi_label`` a sixth column holds the label.
        scores: (N,); not used, ``order`` has the ranking.
        order: (N,) rows of ``dets`` by falling score.
        dets_sorted: ``dets[order]``.
        labels: (N,); not used, the sixth column has them.
        iou_threshold: overlap above which the lower-ranked box goes.
        multi_label: only boxes of one label compete.
    """
    boxes = _rectangles(dets_sorted)
    better, worse = _close_pairs(boxes, dets_sorted[:, 5] if multi_label else None)
    overlaps = [
        rotated_iou_torch(boxes[i], boxes[j], aligned=True) > iou_threshold
        for i, j in zip(better.split(PAIRS), worse.split(PAIRS))
    ]
    clash = torch.cat(overlaps) if overlaps else better.bool()
    better, worse = better[clash], worse[clash]
    # The greedy answer is the one fixed point of "a box stays unless a better box that stays overlaps it": the best
    # boxes are right after the first round, and each further round settles at least one more rank.
    stays = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        beaten = torch.zeros(len(boxes), device=boxes.device).index_add_(0, worse, stays[better].float())
        settled = beaten == 0
        if torch.equal(settled, stays):
            return order[stays]
        stays = settled


def _close_pairs(boxes: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pairs of rows i < j whose circumscribed circles touch; only these can overlap."""
    count = len(boxes)
    radius = boxes[:, 2:4].norm(dim=1) / 2
    rows = torch.arange(count, device=boxes.device)
    first: list[Tensor] = [rows[:0]]
    second: list[Tensor] = [rows[:0]]
    for block in rows.split(max(1, 4 * PAIRS // max(count, 1))):
        distance = (boxes[block, None, :2] - boxes[None, :, :2]).norm(dim=2)
        near = distance <= radius[block, None] + radius
        near &= block[:, None] < rows
        if labels is not None:
            near &= labels[block, None] == labels
        i, j = near.nonzero(as_tuple=True)
        first.append(block[i])
        second.append(j)
    return torch.cat(first), torch.cat(second)


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    """Fill ``ious``, (N,) when ``aligned``, else (N M,), with IoU or (``mode_flag`` 1) intersection over the first."""
    first, second = _rectangles(boxes1), _rectangles(boxes2)
    if not aligned:
        first, second = first.repeat_interleave(len(boxes2), 0), second.repeat(len(boxes1), 1)
    for a, b, out in zip(first.split(PAIRS), second.split(PAIRS), ious.split(PAIRS)):
        if mode_flag:
            area = a[:, 2:4].prod(1)
            out.copy_(rotated_intersection_torch(a, b) / torch.where(area > 0, area, 1.0))
        else:
            out.copy_(rotated_iou_torch(a, b, aligned=True))


def _float(*tensors: Tensor) -> list[Tensor]:
    """The tensors in float32 where they are of half precision, which torchvision's deformable kernels do not take."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def _deform(operator: Any, *tensors: Tensor, options: dict[str, int], use_mask: bool) -> Any:
    """Call one of torchvision's deformable operators outside autocast, which would mix the precisions."""
    names = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "group", "deformable_group")
    with full_precision(tensors[0].device):
        return operator(*_float(*tensors), *(options[name] for name in names), use_mask)


def _plain(sizes: dict[str, int]) -> dict[str, int]:
    """Version 1's names of strides, paddings and dilations as version 2 calls them."""
    pairs = {"stride": "d", "pad": "pad", "dilation": "dilation"}
    named = {f"{new}_{axis.lower()}": sizes[f"{old}{axis}"] for new, old in pairs.items() for axis in "HW"}
    return {**named, "group": sizes["group"], "deformable_group": sizes["deformable_group"]}


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **sizes: int
) -> None:
    """Deformable convolution (Dai et al. 2017), no bias."""
    mask, bias = input.new_zeros(len(input), 1), input.new_zeros(len(weight))
    operator = torch.ops.torchvision.deform_conv2d
    output.copy_(_deform(operator, input, weight, offset, mask, bias, options=_plain(sizes), use_mask=False))


def _deform_gradients(
    input: Tensor, offset: Tensor, grad_output: Tensor, weight: Tensor, sizes: dict[str, int]
) -> tuple[Tensor, Tensor, Tensor]:
    mask, bias = input.new_zeros(len(input), 1), input.new_zeros(len(weight))
    operator = torch.ops.torchvision._deform_conv2d_backward
    tensors = (grad_output, input, weight, offset, mask, bias)
    grad_input, grad_weight, grad_offset, _, _ = _deform(operator, *tensors, options=_plain(sizes), use_mask=False)
    return grad_input, grad_weight, grad_offset


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: int,
) -> None:
    """Fill the gradients of the input and of the offsets."""
    found, _, shifts = _deform_gradients(input, offset, grad_output, weight, sizes)
    grad_input.copy_(found)
    grad_offset.copy_(shifts)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1.0,
    **sizes: int,
) -> None:
    """Add the gradient of the weight, times ``scale``; it does not depend on the weight's values."""
    _, found, _ = _deform_gradients(input, offset, grad_output, torch.zeros_like(grad_weight), sizes)
    grad_weight.add_(found, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Deformable convolution with a weight per sample (Zhu et al. 2019)."""
    bias = bias if with_bias else input.new_zeros(len(weight))
    operator = torch.ops.torchvision.deform_conv2d
    output.copy_(_deform(operator, input, weight, offset, mask, bias, options=sizes, use_mask=True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Fill the gradients of input, weight, offsets, mask and, with one, bias."""
    tensors = (grad_output, input, weight, offset, mask, bias if with_bias else input.new_zeros(len(weight)))
    operator = torch.ops.torchvision._deform_conv2d_backward
    found = _deform(operator, *tensors, options=sizes, use_mask=True)
    wanted = (grad_input, grad_weight, grad_offset, grad_mask, *((grad_bias,) if with_bias else ()))
    for gradient, value in zip(wanted, found):
        gradient.copy_(value)


def _one_hot(input: Tensor, target: Tensor) -> Tensor:
    """(N, C) bool, true at each row's class; a background row (class C) is all false."""
    return target[:, None] == torch.arange(input.shape[1], device=input.device)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of logits (N, C) and classes (N,), C for background (Lin et al. 2017); ``weight`` (C,) or empty."""
    p = input.sigmoid()
    positive = -alpha * (1 - p) ** gamma * F.logsigmoid(input)
    negative = -(1 - alpha) * p**gamma * F.logsigmoid(-input)
    loss = torch.where(_one_hot(input, target), positive, negative)
    output.copy_(loss * weight[target][:, None] if weight.numel() else loss)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """The derivative of :func:`sigmoid_focal_loss_forward` by each logit."""
    p = input.sigmoid()
    positive = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * F.logsigmoid(input))
    negative = -(1 - alpha) * p**gamma * (gamma * (1 - p) * F.logsigmoid(-input) - p)
    gradient = torch.where(_one_hot(input, target), positive, negative)
    grad_input.copy_(gradient * weight[target][:, None] if weight.numel() else gradient)


def _only_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            f"mmcv operator 'roi_align' pools by average only here, not by maximum; {COMPILED_MMCV}"
        )


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average of bilinear samples (He et al. 2017) in the cells of boxes (N, 5) frame, left, top, right, bottom."""
    _only_average(pool_mode)
    sizes = (aligned_height, aligned_width, sampling_ratio, aligned)
    output.copy_(torch.ops.torchvision.roi_align(input, rois, spatial_scale, *sizes))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill the gradient of the input."""
    _only_average(pool_mode)
    operator = torch.ops.torchvision._roi_align_backward
    cells = (aligned_height, aligned_width)
    grad_input.copy_(operator(grad_output, rois, spatial_scale, *cells, *grad_input.shape, sampling_ratio, aligned))


OPERATORS: tuple[Callable[..., Any], ...] = (
    nms, softnms, nms_rotated, box_iou_rotated, deform_conv_forward, deform_conv_backward_input,
    deform_conv_backward_parameters, modulated_deform_conv_forward, modulated_deform_conv_backward,
    sigmoid_focal_loss_forward, sigmoid_focal_loss_backward, roi_align_forward, roi_align_backward,
)  # fmt: skip

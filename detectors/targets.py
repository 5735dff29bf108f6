"""What the heads of a centre-point detector should say about a batch: vectorised over all its objects.

::

    labels of all frames        table, one row a label               maps of one cell every ``stride`` pixels
    class, box, rectangle  ->   class taught, or -1             ->   heatmap: a Gaussian about the centre's cell
                                classes it is ignored for       ->   weight: 0 within the rectangle, for those classes
                                centre, depth, size, angle      ->   regressions at the centre's cell and beside it

A label of a taught class is a positive unless it is too hard (:class:`Selection`); then, like a DontCare area or a
class that looks alike, it is ignored: nobody is told that there is nothing. Labels of other classes are background.

Cell (i, j) of a map at stride s has its centre at pixel (s j + (s - 1) / 2, s i + (s - 1) / 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.geometry import Camera, projected_bbox
from datamodules.scene import Batch, Objects

# Labels that look like a class without being one: neither positive nor negative for it (KITTI's own evaluation rule).
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}
REFERENCE_FOCAL = 721.5  # pixels, KITTI's; depths are predicted as seen through this focal length


@dataclass(frozen=True)
class Selection:
    """Which labels become positives; the others' areas are ignored rather than taught as background.

    Attributes:
        max_occlusion: highest occlusion level.
        max_truncation: highest truncation.
        min_height: least height of the image box, pixels of the network's input.
        max_outside: farthest an object's projected centre may lie outside the image, as a share of its width.
        max_depth: farthest depth, metres; None for any. MonoDLE found that teaching farther ones costs nearer ones.
    """

    max_occlusion: int = 2
    max_truncation: float = 0.9
    min_height: float = 4.0
    max_outside: float = 0.3
    max_depth: float | None = None


@dataclass(frozen=True)
class CentreTargets:
    """Targets of one batch with N positives: the centre cells of its objects, then cells beside them.

    Attributes:
        heatmap: (B, C, h, w) in [0, 1], 1 exactly at the objects' centre cells.
        weight: (B, C, h, w) 0 where ignored, else 1.
        index: (N, 3) int64 frame, row, column of each positive's cell.
        share: (N,) weight of each positive's regressions; the shares of an object's cells sum to 1.
        label: (N,) int64 class.
        offset: (N, 2) projected 3D centre less the cell's centre (x, y), in cells.
        sides: (N, 4) distances from the cell's centre to the image box's left, top, right, bottom, in cells.
        depth: (N,) log of depth at :data:`REFERENCE_FOCAL`, metres.
        dims: (N, 3) length, height, width, metres.
        alpha: (N,) observation angle.
    """

    heatmap: Tensor
    weight: Tensor
    index: Tensor
    share: Tensor
    label: Tensor
    offset: Tensor
    sides: Tensor
    depth: Tensor
    dims: Tensor
    alpha: Tensor

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class _Table:
    """All M labels of a batch as parallel host arrays; rectangles and points in pixels of the network's input."""

    frame: np.ndarray  # (M,) position in the batch
    label: np.ndarray  # (M,) class index of a positive, else -1
    ignore: np.ndarray  # (M, C) bool: ignored for the class
    bbox: np.ndarray  # (M, 4)
    keypoint: np.ndarray  # (M, 2) projected 3D centre of a positive, else 0
    depth: np.ndarray  # (M,) metres, as seen through REFERENCE_FOCAL
    dims: np.ndarray  # (M, 3) metres
    alpha: np.ndarray  # (M,)


def class_indices(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Index of each name in ``classes``, -1 for others."""
    order = {name: i for i, name in enumerate(classes)}
    return np.array([order.get(str(name), -1) for name in names], dtype=np.int64)


def ignored_for(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(N, C) whether a label of this name is neither positive nor negative for each class."""
    groups = [("DontCare", NEIGHBOURS.get(name)) for name in classes]
    return np.array([[str(name) in group for group in groups] for name in names], dtype=bool).reshape(-1, len(classes))


def _too_hard(
    objects: Objects, camera: Camera, keypoint: np.ndarray, depth: np.ndarray, selection: Selection
) -> np.ndarray:
    """(N,) bool, whether labels ask for more than a picture shows; ``keypoint`` and ``depth`` are their centres'."""
    size = np.array([camera.width - 1.0, camera.height - 1.0])
    outside = np.abs(keypoint - np.clip(keypoint, 0, size)).max(1, initial=0) > selection.max_outside * camera.width
    return np.asarray(
        (objects.occlusion > selection.max_occlusion)
        | (objects.truncation > selection.max_truncation)
        | (objects.bbox[:, 3] - objects.bbox[:, 1] < selection.min_height)
        | (depth < 0.5)
        | (depth > (np.inf if selection.max_depth is None else selection.max_depth))
        | outside
    )


def _table(batch: Batch, classes: Sequence[str], selection: Selection) -> _Table:
    parts: list[tuple[np.ndarray, ...]] = []
    for frame, (objects, camera) in enumerate(zip(batch.objects, batch.cameras)):
        middle = objects.boxes.center - np.array([0.0, 0.5, 0.0]) * objects.boxes.dims[:, 1:2]
        keypoint, depth = camera.project(middle)
        label, ignore = class_indices(objects.names, classes), ignored_for(objects.names, classes)
        hard = _too_hard(objects, camera, keypoint, depth, selection) & (label >= 0)
        ignore[hard, label[hard]] = True
        keypoint = np.where((label >= 0)[:, None] & ~hard[:, None], keypoint, 0.0)
        # The focal length enters here: what looks alike gets the same target under every calibration.
        apparent = np.maximum(depth, 0.5) * REFERENCE_FOCAL / camera.focal
        full = projected_bbox(camera, objects.boxes) if len(objects) else np.zeros((0, 4))
        # A label's own rectangle where it has one (it follows the visible outline), else the projected box's.
        bbox = np.where((objects.bbox[:, 2:3] > objects.bbox[:, :1]), objects.bbox, np.nan_to_num(full))
        own = np.full(len(objects), frame), np.where(hard, -1, label), ignore
        parts.append((*own, bbox, keypoint, apparent, objects.boxes.dims, objects.boxes.alpha))
    return _Table(*(np.concatenate(column) for column in zip(*parts)))


def encode(
    batch: Batch, classes: Sequence[str], stride: int, selection: Selection, spread: float = 0.54, reach: int = 1
) -> CentreTargets:
    """Targets of a batch, on its images' device.

    Args:
        batch: frames with labels.
        classes: class names in the heatmap's order.
        stride: input pixels a cell.
        selection: which labels become positives.
        spread: share of the image box that a heatmap peak covers (TTFNet, Liu et al. 2020).
        reach: cells around a centre that regress its object too, weighted by the heatmap: a peak that comes out a cell
            off still reads a whole box, and each object gives more gradients.

    Returns:
        The targets. A positive whose projected centre lies outside the image sits in the border cell nearest to it, and
        its offset says how far it is (MonoFlex, Zhang et al. 2021).
    """
    device = batch.images.device
    height, width = batch.images.shape[2] // stride, batch.images.shape[3] // stride
    table = _table(batch, classes, selection)
    corners = (table.bbox - (stride - 1) / 2) / stride
    rows = np.flatnonzero(table.label >= 0)
    cells = (table.keypoint[rows] - (stride - 1) / 2) / stride
    at = np.clip(np.rint(cells), 0, [width - 1, height - 1]).astype(np.int64)
    sigma = (spread * np.maximum(corners[rows, 2:] - corners[rows, :2], 0) + 1) / 6
    heatmap = _peaks(
        torch.from_numpy(at).to(device),
        torch.from_numpy(sigma.astype(np.float32)).to(device),
        torch.from_numpy(table.frame[rows] * len(classes) + table.label[rows]).to(device),
        (len(batch) * len(classes), height, width),
    ).view(len(batch), len(classes), height, width)
    weight = _unignored(table, corners, heatmap.shape).to(device)

    steps = np.array([(x, y) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)], dtype=np.int64)
    steps = steps[np.argsort(np.abs(steps).sum(1), kind="stable")]  # the centre first
    around = at[None] + steps[:, None]  # steps, objects, xy
    share = np.exp(-0.5 * ((steps[:, None] / sigma[None]) ** 2).sum(-1))
    share *= ((around >= 0) & (around < [width, height])).all(-1)
    share /= np.maximum(share.sum(0), 1e-9)
    step, column = np.nonzero(share > 0.01)
    rows, around, cells = rows[column], around[step, column], cells[column]

    def floats(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    return CentreTargets(
        heatmap,
        torch.where(heatmap == 1, torch.ones_like(weight), weight),
        torch.from_numpy(np.stack([table.frame[rows], around[:, 1], around[:, 0]], 1)).to(device),
        floats(share[step, column]),
        torch.from_numpy(table.label[rows]).to(device),
        floats(cells - around),
        floats(np.concatenate([around - corners[rows, :2], corners[rows, 2:] - around], 1)),
        floats(np.log(table.depth[rows])),
        floats(table.dims[rows]),
        floats(table.alpha[rows]),
    )


def _peaks(at: Tensor, sigma: Tensor, plane: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Maximum of axis-aligned Gaussians: centres (N, 2) x, y, widths (N, 2), each drawn on one plane of (P, h, w)."""
    planes, height, width = shape
    columns = torch.arange(width, device=at.device)
    rows = torch.arange(height, device=at.device)
    gx = torch.exp(-0.5 * ((columns - at[:, :1]) / sigma[:, :1]) ** 2)
    gy = torch.exp(-0.5 * ((rows - at[:, 1:]) / sigma[:, 1:]) ** 2)
    gaussians = (gy[:, :, None] * gx[:, None, :]).view(len(at), height * width)
    heatmap = torch.zeros(planes, height * width, device=at.device)
    heatmap.scatter_reduce_(0, plane[:, None].expand_as(gaussians), gaussians, "amax")
    return heatmap.view(shape)


def _unignored(table: _Table, corners: np.ndarray, shape: torch.Size) -> Tensor:
    """(B, C, h, w) 0 inside the rectangles of ignored labels, 1 elsewhere."""
    weight = np.ones(tuple(shape), np.float32)
    for row, label in np.argwhere(table.ignore):
        left, top = np.floor(corners[row, :2]).astype(int).clip(0)
        right, bottom = np.ceil(corners[row, 2:]).astype(int).clip(-1)
        weight[table.frame[row], label, top : bottom + 1, left : right + 1] = 0
    return torch.from_numpy(weight)

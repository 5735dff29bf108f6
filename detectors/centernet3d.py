"""CenterNet3D: a one-stage monocular 3D detector that finds projected 3D centres and reads a box off each.

After CenterNet (Zhou et al. 2019), SMOKE (Liu et al. 2020) for the projected 3D centre as keypoint, MonoPair (Chen et
al. 2020) for depth uncertainty and MonoFlex (Zhang et al. 2021) for centres outside the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, clip_bbox, yaw_from_alpha
from datamodules.object_classes import CLASSES
from datamodules.rotated_iou import suppress
from datamodules.scene import Batch, Objects
from detectors.backbones import build_backbone
from detectors.box_heads import BoxHeads, CentreHeads, MonoDLEHeads
from detectors.losses import centre_focal
from detectors.necks import FPN, DLAUp
from detectors.precision import full_precision
from detectors.rank_counts import share_of
from detectors.rays import ray_channels
from detectors.targets import Selection, encode

SELECTION = Selection()


class CenterNet3D(nn.Module):
    """Backbone, neck and one small head per quantity, at one stride.

    Args:
        backbone: name of any timm model with feature maps ("dla34", "resnet18").
        backbone_options: further arguments of ``timm.create_model`` (``layers``, ``channels`` of a narrow ResNet).
        backbone_weights: "timm" for its ImageNet weights, a file with the backbone's state dict, or "none" for random
            weights; a configuration that states null demands the choice.
        neck: how feature maps are merged.
        neck_channels: width of the merged map.
        head_channels: width of each head's hidden layer.
        deformable: deformable convolutions in a "dla" neck.
        classes: names that the heatmap has a channel for.
        mean_dims: length, height, width in metres of classes beyond KITTI's and nuScenes'.
        stride: input pixels a cell; a stride of the backbone.
        bins: yaw bins.
        reach: cells around a centre that learn its object too; 0 trains the centre cell alone.
        ray_channels: show each cell its ray's slope, so that depth can follow from where an object stands.
        uncertainty: distribution of the log depth's error.
        selection: which labels become positives.
        loss_weights: factors that differ from the heads' own.
        top_k: detections a frame.
        min_score: detections below are dropped.
        max_overlap: of two detections of a class that overlap more (IoU), only the better one stays; an object larger
            than a peak's 3 x 3 neighbourhood has several peaks until the network is well trained.
        depth_tolerance: metres; the score is the heatmap's value times the chance that the depth is this close
            ("centre").
        heads: how a box is coded: "centre" (:class:`detectors.box_heads.CentreHeads`) or "monodle"
            (:class:`detectors.box_heads.MonoDLEHeads`).
        suppression: what ``max_overlap`` compares: "image" boxes, of which a car behind another one may overlap it;
            "bev", the boxes on the ground, which true ones share with nobody; "none" keeps every peak, as MonoDLE does.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        backbone_options: dict[str, Any] | None = None,
        backbone_weights: str | None = "none",
        neck: Literal["fpn", "dla"] = "fpn",
        neck_channels: int = 64,
        head_channels: int = 64,
        deformable: bool = False,
        classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist"),
        mean_dims: dict[str, tuple[float, float, float]] | None = None,
        stride: int = 4,
        bins: int = 12,
        reach: int = 1,
        ray_channels: bool = True,
        uncertainty: Literal["laplacian", "gaussian"] = "laplacian",
        selection: Selection = SELECTION,
        loss_weights: dict[str, float] | None = None,
        top_k: int = 50,
        min_score: float = 0.02,
        max_overlap: float = 0.4,
        depth_tolerance: float = 1.5,
        heads: Literal["centre", "monodle"] = "centre",
        suppression: Literal["none", "image", "bev"] = "image",
    ) -> None:
        super().__init__()
        self.mean_dims: Tensor
        self.classes, self.stride, self.bins = tuple(classes), stride, bins
        self.ray_channels, self.selection, self.reach = ray_channels, selection, reach
        self.top_k, self.min_score = top_k, min_score
        self.max_overlap, self.suppression = max_overlap, suppression
        self.box: BoxHeads = (
            MonoDLEHeads(bins, uncertainty) if heads == "monodle" else CentreHeads(bins, uncertainty, depth_tolerance)
        )
        own = self.box.weights
        self.loss_weights = {**own, **_known(loss_weights or {}, own, "loss_weights")}
        dims = {**{name: known.dims for name, known in CLASSES.items()}, **(mean_dims or {})}
        missing = [name for name in classes if name not in dims]
        if missing:
            raise InputError(f"class {missing[0]!r} has no mean dims: expected length, height, width under mean_dims")
        self.register_buffer("mean_dims", torch.tensor([dims[name] for name in classes]), persistent=False)
        self.backbone, widths = build_backbone(backbone, backbone_options or {}, backbone_weights, stride)
        self.neck = FPN(widths, neck_channels) if neck == "fpn" else DLAUp(widths, neck_channels, deformable)
        sizes = {"heatmap": len(classes), **self.box.sizes}
        inputs = neck_channels + 2 * ray_channels
        self.hidden = nn.Sequential(
            nn.Conv2d(inputs, head_channels * len(sizes), 3, padding=1, bias=False),
            nn.BatchNorm2d(head_channels * len(sizes)),
            nn.ReLU(inplace=True),
        )
        self.heads = nn.ModuleDict({name: nn.Conv2d(head_channels, size, 1) for name, size in sizes.items()})
        for name, head in self.heads.items():
            assert isinstance(head, nn.Conv2d)
            assert head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            # A prior of 1 % foreground keeps the first focal losses small (Lin et al. 2017).
            nn.init.constant_(head.bias, -math.log(99) if name == "heatmap" else 0.0)

    def forward(self, images: Tensor, projections: Tensor) -> dict[str, Tensor]:
        """Maps (B, channels, h, w) float32 of each head; see :class:`detectors.base.Detector`."""
        features = self.neck(self.backbone(images))
        if self.ray_channels:
            height, width = features.shape[-2:]
            rays = ray_channels(projections, height, width, self.stride)
            features = torch.cat([features, rays.to(features.dtype)], 1)
        hidden = self.hidden(features)
        # The last layer runs in float32: bfloat16 has three digits, too few for a depth.
        with full_precision(images.device):
            parts = hidden.float().chunk(len(self.heads), 1)
            return {name: head(part) for (name, head), part in zip(self.heads.items(), parts)}

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by name; see :class:`detectors.base.Detector`."""
        targets = encode(batch, self.classes, self.stride, self.selection, reach=self.reach)
        found = self.at(outputs, targets.index)
        terms = self.box.terms(found, targets, self.mean_dims[targets.label])
        positives = (targets.heatmap == 1).sum().to(targets.share)
        positives, objects = share_of(torch.stack([positives, targets.share.sum()]))
        means = {name: (value * targets.share).sum() / objects for name, value in terms.items()}
        means = {"heatmap": centre_focal(outputs["heatmap"], targets.heatmap, targets.weight, positives), **means}
        return {name: self.loss_weights[name] * value for name, value in means.items()}

    @staticmethod
    def at(outputs: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
        """Every map's values (N, channels) at cells (N, 3) of frame, row, column."""
        frame, row, column = index.unbind(1)
        return {name: value[frame, :, row, column].float() for name, value in outputs.items()}

    @torch.no_grad()
    def decode(self, outputs: Mapping[str, Tensor], batch: Batch) -> list[Objects]:
        """Predictions of each frame; see :class:`detectors.base.Detector`."""
        score, label, index = peaks(outputs["heatmap"].sigmoid(), self.top_k)
        found = self.at(outputs, index)
        cell = index[:, [2, 1]]
        focal = torch.tensor([camera.focal for camera in batch.cameras], dtype=torch.float32, device=score.device)
        box = self.box.read(found, self.mean_dims[label], focal[index[:, 0]])
        corners = torch.cat([cell - box.sides[:, :2], cell + box.sides[:, 2:]], 1)
        values = {
            "frame": index[:, 0],
            "label": label,
            "score": score * box.sure,
            "pixel": (cell + box.offset) * self.stride + (self.stride - 1) / 2,
            "bbox": corners * self.stride + (self.stride - 1) / 2,
            "depth": box.depth,
            "dims": box.dims,
            "alpha": box.alpha,
        }
        # best first; stable, so that equal scores keep the order of their cells
        order = torch.argsort(values["score"], descending=True, stable=True)
        order = order[values["score"][order] >= self.min_score]
        values = {name: value[order] for name, value in values.items()}
        if self.suppression == "image":
            group = values["frame"] * len(self.classes) + values["label"]
            kept = batched_nms(values["bbox"], values["score"], group, self.max_overlap)
            values = {name: value[kept] for name, value in values.items()}
        host = {name: value.cpu().numpy() for name, value in values.items()}
        detections = [self._objects(host, host["frame"] == i, camera) for i, camera in enumerate(batch.cameras)]
        return [apart(objects, self.max_overlap) for objects in detections] if self.suppression == "bev" else detections

    def _objects(self, values: Mapping[str, np.ndarray], rows: np.ndarray, camera: Camera) -> Objects:
        """One frame's detections from flat host arrays."""
        mine = {name: value[rows].astype(np.float64) for name, value in values.items()}
        middle = camera.unproject(mine["pixel"], mine["depth"])
        center = middle + np.array([0.0, 0.5, 0.0]) * mine["dims"][:, 1:2]
        boxes = Boxes3D(center, mine["dims"], yaw_from_alpha(mine["alpha"], center[:, 0], center[:, 2]))
        count = len(boxes)
        return Objects(
            boxes,
            np.array(self.classes)[values["label"][rows]],
            clip_bbox(mine["bbox"], camera.width, camera.height),
            np.full(count, -1.0),
            np.full(count, -1, np.int64),
            boxes.alpha,
            mine["score"],
        )


def peaks(heat: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``top_k`` local maxima of each frame's heatmap (B, C, h, w).

    Returns:
        Scores (B K,), classes (B K,) and cells (B K, 3) of frame, row, column.
    """
    batch, _, height, width = heat.shape
    heat = torch.where(heat == F.max_pool2d(heat, 3, stride=1, padding=1), heat, torch.zeros_like(heat))
    score, place = heat.flatten(1).topk(min(top_k, heat[0].numel()))
    label = place // (height * width)
    row, column = (place % (height * width)) // width, place % width
    frame = torch.arange(batch, device=heat.device)[:, None].expand_as(place)
    return score.flatten(), label.flatten(), torch.stack([frame, row, column], -1).view(-1, 3)


def apart(objects: Objects, max_overlap: float) -> Objects:
    """Detections, best first, without those that overlap a better one of their class by more (IoU on the ground)."""
    rectangles = objects.boxes.bev
    kept = [
        rows[suppress(rectangles[rows], max_overlap)]
        for rows in (np.flatnonzero(objects.names == name) for name in np.unique(objects.names))
    ]
    return objects[np.sort(np.concatenate(kept))] if kept else objects


def _known(given: dict[str, float], allowed: Mapping[str, float], name: str) -> dict[str, float]:
    for key in given:
        if key not in allowed:
            raise InputError(f"{name} names {key!r}: expected one of {', '.join(allowed)}")
    return given

"""Instance masks by torchvision's Mask R-CNN with weights from a file; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from datamodules.assets.crops.cut_out import label_window
from datamodules.errors import InputError
from datamodules.files.weight_files import load_weights
from datamodules.scene import Frame

MODELS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")
EXPECTED = f"the state dict of torchvision's {' or '.join(MODELS)}"
HEAD = "roi_heads.box_predictor.cls_score.weight"
TRAFFIC = (3, 6, 8)  # COCO's car, bus and truck
COCO = {  # a class to COCO's that may stand for it; of others any may
    "Car": TRAFFIC, "Van": TRAFFIC, "Truck": TRAFFIC, "car": TRAFFIC, "truck": TRAFFIC, "bus": TRAFFIC,
    "Pedestrian": (1,), "Person_sitting": (1,), "pedestrian": (1,), "Cyclist": (1, 2, 4), "motorcycle": (4,),
    "bicycle": (2,),
}  # fmt: skip
LEAST_OVERLAP = 0.5  # IoU of a detection's rectangle with the labelled one
LEAST_SCORE = 0.3

Network = Callable[[list[torch.Tensor]], list[dict[str, torch.Tensor]]]


class InstanceSegmenter:
    """Finds the detections that belong to labelled objects.

    Args:
        network: images (3, H, W) in [0, 1] to torchvision's detections: boxes, labels, scores, masks (K, 1, H, W).
        name: tells its weights from others, for masks kept on disk.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name

    @staticmethod
    def load(path: str | Path) -> InstanceSegmenter:
        """Build the model that a file's weights belong to.

        Raises:
            InputError: no such file, or weights of something else.
        """
        path = Path(path)
        state = load_weights(path, EXPECTED)
        head = state.get(HEAD) if isinstance(state, Mapping) else None
        if not isinstance(head, torch.Tensor) or head.ndim != 2:
            raise InputError(f"{path}: weights of another network (without {HEAD}); expected {EXPECTED}")
        from torchvision.models import detection  # slow, and seldom needed

        with_v2 = any("rpn.head.conv.1." in str(key) for key in state)
        model = getattr(detection, MODELS[with_v2])(
            weights=None, weights_backbone=None, num_classes=len(head), box_score_thresh=LEAST_SCORE
        )
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path}: weights of another network ({reason}); expected {EXPECTED}") from None
        return InstanceSegmenter(model.eval().requires_grad_(False), f"{path.name} {path.stat().st_size}")

    @torch.no_grad()
    def cut(self, frame: Frame, rows: Sequence[int]) -> list[np.ndarray | None]:
        """(h, w) uint8 opacity of objects in their label windows; None for one that no detection belongs to.

        Each takes the detection of a class that may stand for its own whose rectangle overlaps its label most; what
        two of them want goes to the better.
        """
        found = self.network([torch.from_numpy(np.ascontiguousarray(frame.image)).float() / 255])[0]
        boxes, labels = found["boxes"].numpy().astype(np.float64), found["labels"].numpy()
        masks = found["masks"]
        overlap = np.array([_overlap(frame.objects.bbox[row], boxes) for row in rows]).reshape(len(rows), len(boxes))
        for k, row in enumerate(rows):
            if allowed := COCO.get(str(frame.objects.names[row])):
                overlap[k, ~np.isin(labels, allowed)] = 0.0
        chosen: list[np.ndarray | None] = [None] * len(rows)
        while overlap.size and overlap.max() >= LEAST_OVERLAP:
            best, detection = (int(index) for index in np.unravel_index(int(np.argmax(overlap)), overlap.shape))
            overlap[best, :], overlap[:, detection] = 0.0, 0.0
            left, top, right, bottom = label_window(frame.objects.bbox[rows[best]], frame.camera)
            share = masks[detection, 0, top:bottom, left:right].numpy()
            chosen[best] = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
        return chosen


def _overlap(bbox: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(K,) IoU of a rectangle (4,) with others (K, 4)."""
    low, high = np.maximum(bbox[:2], boxes[:, :2]), np.minimum(bbox[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    area = np.prod(bbox[2:] - bbox[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], 1) - shared
    return np.asarray(shared / np.maximum(area, 1e-9))

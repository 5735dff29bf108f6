"""``python -m lit evaluate object-masks``: how well objects are cut out of frames whose true masks are known.

Masks are made without a look at the frames' own instance masks, which are the truth they are compared with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.crops.grabcut import VERSION
from datamodules.assets.crops.label_masks import GRABCUT, MIN_SCORE, LabelMasks
from datamodules.assets.crops.worth_cutting import WorthCutting
from datamodules.errors import InputError
from datamodules.kitti.datamodule import KittiDataset
from datamodules.processes import track
from lit.arguments import Arguments, positive
from lit.commands.report import report

GOOD = 0.7


def object_masks(argv: list[str]) -> int:
    """IoU of GrabCut's (or a segmenter's) object masks with the true ones of a world, all and those kept."""
    parser = Arguments("evaluate object-masks", "IoU of object masks with a KITTI folder's own instance masks.")
    parser.add_argument("--root", type=Path, required=True, help="KITTI folder with training/instance_2")
    parser.add_argument("--split", default="train", help="file of ImageSets (train)")
    parser.add_argument("--frames", type=positive, metavar="N", help="only the first N of the split")
    parser.add_argument("--name", default="Car", help="class (Car)")
    parser.add_argument("--min-height", type=float, default=5.0, metavar="PX", help="of the 2D box (5)")
    parser.add_argument("--max-truncation", type=float, default=0.1, metavar="SHARE", help="(0.1)")
    parser.add_argument("--max-occlusion", type=int, default=0, metavar="LEVEL", help="(0)")
    parser.add_argument("--masks", default=GRABCUT, help="grabcut (default), or a file of Mask R-CNN's weights")
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help=f"least plausibility ({MIN_SCORE})")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)
    worth = WorthCutting(options.name, options.min_height, options.max_truncation, options.max_occlusion)
    dataset = KittiDataset(options.root, options.split, options.frames, extras=True)
    found = measure(dataset, worth, LabelMasks(options.masks, None, 0.0))
    if not len(found):
        raise InputError(f"{options.root}: none of {len(dataset)} frames holds a {worth}; relax these options")
    iou, kept = found[:, 0], found[:, 0][found[:, 1] >= options.min_score]
    figures: dict[str, Any] = {"objects": len(iou), **_figures(iou, "")}
    figures |= {"kept": len(kept), **_figures(kept, "kept_")}
    version = f"{VERSION}, kept from a score of {options.min_score:g}"
    method = {"name": "GrabCut" if options.masks == GRABCUT else Path(options.masks).name, "version": version}
    report(f"masks of {options.name} in {len(dataset)} frames", figures | {"evaluator": method}, options.out)
    return 0


def measure(dataset: KittiDataset, worth: WorthCutting, masks: LabelMasks) -> np.ndarray:
    """(N, 2) IoU with the true mask and score of every object worth cutting; both 0 where no mask was found.

    Raises:
        InputError: a frame without true masks.
    """
    rows: list[tuple[float, float]] = []
    for index in track(range(len(dataset)), "masks"):
        frame = dataset.read(index)
        if frame.instances is None:
            raise InputError(f"{dataset.root}: has no training/instance_2, the true masks; give a road world's folder")
        wanted = worth.rows(frame)
        for row, found in zip(wanted, masks.cut(frame, wanted)):
            true = frame.instances == row + 1
            if not true.any():
                continue
            mask = np.zeros_like(true) if found is None else found.mask(*true.shape)
            iou = np.count_nonzero(mask & true) / np.count_nonzero(mask | true)
            rows.append((iou, 0.0 if found is None else found.score))
    return np.array(rows).reshape(-1, 2)


def _figures(iou: np.ndarray, prefix: str) -> dict[str, float | None]:
    """Mean, 5th percentile and share of good ones; None where there is nothing."""
    if not len(iou):
        return {f"{prefix}{name}": None for name in ("iou_mean", "iou_p5", "share_good")}
    low, share = float(np.percentile(iou, 5)), float(np.mean(iou >= GOOD))
    return {f"{prefix}iou_mean": float(iou.mean()), f"{prefix}iou_p5": low, f"{prefix}share_good": share}

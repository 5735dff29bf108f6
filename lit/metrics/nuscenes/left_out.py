"""What an evaluation of files counts without anything to compare it with, said in words."""

from __future__ import annotations

import warnings

import numpy as np

from datamodules.nuscenes.boxes import DETECTION_NAMES, GroundTruth, SampleBoxes


def warn_of_foreign_classes(truth: GroundTruth, pred: SampleBoxes, gt_name: str, pred_name: str) -> None:
    """Warn of detections whose class no annotation has: each is false, and the class counts as AP 0 in the mean.

    Args:
        truth: annotations, unfiltered.
        pred: predictions, unfiltered.
        gt_name: where the annotations come from.
        pred_name: where the predictions come from.
    """
    known, found = (
        np.bincount(boxes.labels, minlength=len(DETECTION_NAMES)) for boxes in (truth.samples.boxes, pred.boxes)
    )
    foreign = np.where(known == 0, found, 0)
    if foreign.any():
        named = ", ".join(f"{name} ({count})" for name, count in zip(DETECTION_NAMES, foreign) if count)
        warnings.warn(
            f"{pred_name}: {foreign.sum()} of {len(pred.boxes)} detections name classes that {gt_name} never holds: "
            f"{named}; all are false, and each class counts as AP 0, as in nuscenes-devkit: check the map of classes",
            stacklevel=3,
        )

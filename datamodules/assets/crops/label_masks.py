"""Masks of labelled objects, by the best that is at hand: the data set's own, a segmenter's, else GrabCut's.

What is computed may be kept in a folder: one grey PNG an object, named by sample id, row and a digest of all that it
was made from, so that a changed frame, label or method finds no old mask. Whoever comes second computes it again or
reads it; files appear whole.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datamodules.assets.crops import grabcut as cutting
from datamodules.assets.crops.cut_out import CutOut, label_window, plausibility
from datamodules.assets.crops.grabcut import grabcut
from datamodules.assets.crops.instance_segmenter import InstanceSegmenter
from datamodules.errors import InputError
from datamodules.images import read_image, write_image
from datamodules.scene import Frame

GRABCUT = "grabcut"
MIN_SCORE = 0.55  # keeps 94 % of the road world's cars of 5 pixels and more, and 99 % of real ones of 20
NOTHING = np.zeros((1, 1), dtype=np.uint8)  # what is kept of an object that could not be cut out


class LabelMasks:
    """Cuts labelled objects out of frames, and counts those it gives none of.

    Attributes:
        tried: objects asked for.
        left_out: how many of them, by reason.
    """

    def __init__(self, masks: str | None = None, folder: str | None = None, min_score: float = MIN_SCORE) -> None:
        """Choose.

        Args:
            masks: file with the weights of torchvision's Mask R-CNN (ResNet-50), for frames without instance masks;
                "grabcut" for GrabCut even where a frame has them; by default GrabCut where it has none.
            folder: keeps what is computed.
            min_score: masks of a lower :func:`datamodules.assets.crops.cut_out.plausibility` are left out; those that
                the data set states are taken as they are.

        Raises:
            InputError: a score that none or all reach, a file of other weights, or one in the folder's place.
        """
        if not 0 <= min_score < 1:
            raise InputError(f"min_score {min_score}: expected 0 to below 1; correct source.min_score")
        if folder is not None and Path(folder).is_file():
            raise InputError(f"mask_folder {folder}: a file, expected a folder that keeps masks; name another")
        self.stated = masks != GRABCUT
        self.segmenter = None if masks in (None, GRABCUT) else InstanceSegmenter.load(str(masks))
        self.folder, self.min_score = None if folder is None else Path(folder), min_score
        self.tried, self.left_out = 0, Counter[str]()

    def cut(self, frame: Frame, rows: Sequence[int] | np.ndarray) -> list[CutOut | None]:
        """The outlines of some objects of a frame; None for those without a good one."""
        if not len(rows):
            return []
        self.tried += len(rows)
        instances = self._instances(frame) if self.stated else None
        if instances is not None:
            return [self._stated(frame, instances, int(row)) for row in rows]
        found = self._computed(frame, [int(row) for row in rows])
        return [self._judged(frame, int(row), alpha) for row, alpha in zip(rows, found)]

    def report(self) -> str:
        """How many objects got no good mask, in words; empty when all did."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"{sum(self.left_out.values())} of {self.tried} objects are left out: {reasons}" if reasons else ""

    def _instances(self, frame: Frame) -> np.ndarray | None:
        if frame.instances is None and frame.surround is not None and frame.surround.instances is not None:
            return frame.surround.instances.read()
        return frame.instances

    def _stated(self, frame: Frame, instances: np.ndarray, row: int) -> CutOut | None:
        left, top, right, bottom = label_window(frame.objects.bbox[row], frame.camera)
        alpha = np.where(instances[top:bottom, left:right] == row + 1, np.uint8(255), np.uint8(0))
        if not alpha.any():
            self.left_out["without a pixel in the instance mask"] += 1
            return None
        return CutOut(alpha, left, top, 1.0)

    def _computed(self, frame: Frame, rows: list[int]) -> list[np.ndarray | None]:
        paths = [self._path(frame, row) for row in rows]
        kept = [self._kept(frame, row, path) for row, path in zip(rows, paths)]
        missing = [k for k, alpha in enumerate(kept) if alpha is None]
        if missing:
            wanted = [rows[k] for k in missing]
            if self.segmenter is not None:
                made = self.segmenter.cut(frame, wanted)
            else:
                made = [grabcut(frame, row) for row in wanted]
            for k, alpha in zip(missing, made):
                kept[k] = alpha
                if (path := paths[k]) is not None:
                    write_image(path, NOTHING if alpha is None else alpha)
        return [None if alpha is None or alpha.shape == NOTHING.shape else alpha for alpha in kept]

    def _judged(self, frame: Frame, row: int, alpha: np.ndarray | None) -> CutOut | None:
        if alpha is None:
            self.left_out["found by no mask"] += 1
            return None
        if (score := plausibility(frame, row, alpha)) < self.min_score:
            self.left_out["with a poor mask"] += 1
            return None
        left, top, _, _ = label_window(frame.objects.bbox[row], frame.camera)
        return CutOut(alpha, left, top, score)

    def _path(self, frame: Frame, row: int) -> Path | None:
        if self.folder is None:
            return None
        objects = frame.objects
        method = f"{GRABCUT} {cutting.VERSION}" if self.segmenter is None else self.segmenter.name
        facts = (objects.boxes.center, objects.boxes.dims, objects.boxes.yaw, objects.bbox[row])
        digest = hashlib.blake2b(f"{method} {row} {objects.names.tolist()}".encode(), digest_size=6)
        for values in (*facts, frame.camera.projection, frame.image):
            digest.update(np.ascontiguousarray(values).tobytes())
        sample = re.sub(r"\W", "_", frame.sample_id)
        return self.folder / f"{sample}-{row}-{digest.hexdigest()}.png"

    def _kept(self, frame: Frame, row: int, path: Path | None) -> np.ndarray | None:
        """A mask on disk; None where there is none, or what lies there is no mask of this object."""
        if path is None or not path.is_file():
            return None
        try:
            alpha = read_image(path, cv2.IMREAD_UNCHANGED)
        except InputError:
            return None  # damaged: it is made and written again
        left, top, right, bottom = label_window(frame.objects.bbox[row], frame.camera)
        fits = alpha.shape in ((bottom - top, right - left), NOTHING.shape) and alpha.dtype == np.uint8
        return alpha if fits else None

"""One object's outline as found in a picture: its opacity, and how far labels and outline agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.assets.crops.outlines import nearer_outlines, solid_outline, solids_of
from datamodules.geometry import Camera, canonical_projection
from datamodules.scene import Frame


@dataclass(frozen=True)
class CutOut:
    """An object's opacity in the window of its labelled rectangle.

    Attributes:
        alpha: (h, w) uint8.
        left: column of the window's first pixel in the frame.
        top: row of the window's first pixel.
        score: :func:`plausibility`; 1 for masks that the data set states.
    """

    alpha: np.ndarray
    left: int
    top: int
    score: float

    def mask(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool pixels of the whole frame that it covers by more than one half."""
        whole = np.zeros((height, width), dtype=np.bool_)
        rows, columns = self.alpha.shape
        whole[self.top : self.top + rows, self.left : self.left + columns] = self.alpha > 127
        return whole


def label_window(bbox: np.ndarray, camera: Camera, margin: int = 0) -> tuple[int, int, int, int]:
    """left, top, right, bottom (the last two exclusive) of the pixels of a labelled rectangle, cut at the image."""
    left, top = np.floor(bbox[:2]).astype(int) - margin
    right, bottom = np.ceil(bbox[2:]).astype(int) + 1 + margin
    columns, rows = np.clip([left, right], 0, camera.width), np.clip([top, bottom], 0, camera.height)
    return int(columns[0]), int(rows[0]), int(columns[1]), int(rows[1])


def plausibility(frame: Frame, row: int, alpha: np.ndarray) -> float:
    """How well an opacity (h, w) in an object's :func:`label_window` fits its labels, in [0, 1].

    The smaller of two IoUs: that of the rectangle around the mask with the labelled one, and that of the mask with the
    expected outline of its class, less what nearer labelled objects hide. A mask that lost a part, or leaked into what
    stands beside, is low in one of them.
    """
    left, top, right, bottom = label_window(frame.objects.bbox[row], frame.camera)
    mask = alpha > 127
    if not mask.any():
        return 0.0
    window = frame.camera.cropped(left, top, right - left, bottom - top)
    projection = canonical_projection(window, frame.objects.boxes[[row]])[0]
    expected = solid_outline(projection, solids_of(str(frame.objects.names[row])), window.height, window.width)
    expected &= ~nearer_outlines(frame, row, window)
    agreement = int(np.count_nonzero(mask & expected)) / max(int(np.count_nonzero(mask | expected)), 1)
    return min(float(agreement), _extent_agreement(mask, frame.objects.bbox[row] - [left, top, left, top]))


def _extent_agreement(mask: np.ndarray, bbox: np.ndarray) -> float:
    """IoU of the rectangle around a mask with another (4,)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    low = np.array([columns[0], rows[0]], dtype=np.float64)
    high = np.array([columns[-1], rows[-1]], dtype=np.float64)
    shared = np.prod(np.maximum(np.minimum(high, bbox[2:]) - np.maximum(low, bbox[:2]) + 1, 0))
    return float(shared / (np.prod(high - low + 1) + np.prod(bbox[2:] - bbox[:2] + 1) - shared))

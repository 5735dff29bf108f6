"""GrabCut (Rother et al., SIGGRAPH 2004) seeded by a labelled box: an object's outline without any mask or network.

Pixels are enlarged or shrunk until the object is :data:`WORKING_HEIGHT` pixels high, and told apart in four kinds. Sure
background is what lies outside the labelled rectangle, farther than a narrow band from the outline of the class's
solids (:mod:`datamodules.assets.crops.outlines`), or under a nearer labelled object. Sure foreground is the inside of
that outline, again but for a band. Within the bands the colours of both sides decide::

      . . . . . . . . .      . background     the two bands are BAND_OUT and BAND_IN of the object's height wide
      . + + + + + + + .      + perhaps
      . + # # # # # + .      # foreground
      . + + + + + + + .

The cut is made at the working size, where it may overrule the outline; brought back to the frame's pixels, the mean of
both decides (weights :data:`CUT_SHARE` and the rest), which is what says most about objects of ten pixels. All numbers
were tuned on the road world's training frames.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datamodules.assets.crops.cut_out import label_window
from datamodules.assets.crops.outlines import nearer_outlines, nearest_corner, solid_outline, solids_of
from datamodules.geometry import NEAR, Camera, canonical_projection
from datamodules.scene import Frame

WORKING_HEIGHT = 64  # pixels of an object while it is cut out
LARGEST_SCALE = 6.0
MARGIN = 0.3  # of an object's larger side, the background around it that its colours are learnt from
BAND_IN, BAND_OUT = 0.06, 0.05
ITERATIONS = 2
CUT_SHARE = 0.55
LEAST_PIXELS = 10  # of each kind, at the working size
VERSION = 1  # of all that changes a mask: those on disk that another version made are not read


def grabcut(frame: Frame, row: int) -> np.ndarray | None:
    """Cut one labelled object out.

    Args:
        frame: image and labels.
        row: of the object; its 2D box must be the tight one of what is visible.

    Returns:
        (h, w) uint8 opacity in the object's :func:`datamodules.assets.crops.cut_out.label_window`; None where its box
        reaches behind the camera, or nearer labelled objects leave nothing of it.
    """
    camera, objects = frame.camera, frame.objects
    bbox = objects.bbox[row]
    whole = canonical_projection(camera, objects.boxes[[row]])[0]
    sides = bbox[2:] - bbox[:2] + 1
    left, top, right, bottom = label_window(bbox, camera, int(np.ceil(MARGIN * sides.max())) + 2)
    if nearest_corner(whole) < NEAR or min(right - left, bottom - top, *sides) < 1:
        return None
    window = camera.cropped(left, top, right - left, bottom - top)
    scale = min(WORKING_HEIGHT / sides[1], LARGEST_SCALE)
    large = window.resized(max(round(window.width * scale), 8), max(round(window.height * scale), 8))
    inside = _rectangle(bbox - [left, top, left, top], window, large) & ~nearer_outlines(frame, row, large)
    projection = canonical_projection(large, objects.boxes[[row]])[0]
    expected = inside & solid_outline(projection, solids_of(str(objects.names[row])), large.height, large.width)
    if np.count_nonzero(expected) < LEAST_PIXELS:
        return None
    pixels = np.ascontiguousarray(frame.image[:, top:bottom, left:right].transpose(1, 2, 0))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    found = _cut(cv2.resize(pixels, (large.width, large.height), interpolation=smooth), expected, inside)
    share = CUT_SHARE * found.astype(np.float32) + (1 - CUT_SHARE) * expected
    back = cv2.INTER_AREA if scale >= 1 else cv2.INTER_LINEAR
    alpha = np.rint(255 * cv2.resize(share, (window.width, window.height), interpolation=back)).astype(np.uint8)
    own = label_window(bbox, camera)
    return np.asarray(alpha[own[1] - top : own[3] - top, own[0] - left : own[2] - left])


def _rectangle(bbox: np.ndarray, window: Camera, large: Camera) -> np.ndarray:
    """(H, W) bool pixels of an enlarged window inside a rectangle (4,) of the window's."""
    scale = np.array([large.width / window.width, large.height / window.height])
    low, high = np.rint(bbox[:2] * scale).astype(int), np.rint((bbox[2:] + 1) * scale).astype(int)
    inside = np.zeros((large.height, large.width), dtype=np.bool_)
    inside[max(low[1], 0) : high[1], max(low[0], 0) : high[0]] = True
    return inside


def _cut(image: np.ndarray, expected: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(H, W) bool pixels of the object in an image (H, W, 3), from its expected outline and where it may be."""
    height = max(int(np.count_nonzero(inside.any(1))), 1)
    deep = cv2.distanceTransform(np.pad(expected, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    off = cv2.distanceTransform((~expected).astype(np.uint8), cv2.DIST_L2, 5)
    kind = np.where(expected, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    kind[deep > BAND_IN * height] = cv2.GC_FGD
    kind[(off > BAND_OUT * height) | ~inside] = cv2.GC_BGD
    if min(np.count_nonzero(kind == cv2.GC_BGD), np.count_nonzero(kind == cv2.GC_FGD)) < LEAST_PIXELS:
        return expected
    cv2.setRNGSeed(0)  # of the colours' clustering: the same picture gives the same mask
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    nowhere: Any = None  # OpenCV's stubs know no call without a rectangle
    cv2.grabCut(image, kind, nowhere, *colours, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return _one_piece((kind == cv2.GC_FGD) | (kind == cv2.GC_PR_FGD))


def _one_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, its holes filled."""
    count, label, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count > 2:
        mask = label == 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))
    around = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4)[1]
    return np.asarray((around != around[0, 0])[1:-1, 1:-1])

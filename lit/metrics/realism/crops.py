"""Crops of labelled and injected objects, matched in size, in two halves that share no drive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.scene import REAL, Frame

CROP_SIZE = 48  # pixels a crop's side is resampled to
CONTEXT = 1.4  # side of the cut-out square over the box's longer side: shadows and outlines are part of the picture
MAX_TRUNCATION = 0.15
MAX_RATIO = 1.15  # of two heights that count as equal: resampling blur must not tell who is who
COPY = re.compile(r"[a-z_]+-(?P<frame>[^-]+)-\d+(-flipped)?")  # id of an object that was cut out of a labelled frame


@dataclass(frozen=True)
class Crop:
    """An object's picture.

    Attributes:
        pixels: (3, CROP_SIZE, CROP_SIZE) uint8 RGB.
        height: of the 2D box in the frame, pixels.
        frame: id of the frame it stands in.
        source: id of the frame whose pixels it shows: another one for a copied object.
    """

    pixels: np.ndarray
    height: float
    frame: str
    source: str


def crops_of(frame: Frame, injected: bool, classes: Sequence[str], min_height: float) -> list[Crop]:
    """Crops of a frame's labelled or injected objects that are fully visible, in the image, and large enough.

    Args:
        frame: the frame, before injection for labelled objects, after it for injected ones.
        injected: which of the two.
        classes: names of the objects.
        min_height: least height of a 2D box, pixels.
    """
    objects, found = frame.objects, []
    for row in range(len(objects)):
        height = float(objects.bbox[row, 3] - objects.bbox[row, 1])
        if (
            (objects.provenance[row] != REAL) != injected
            or objects.names[row] not in classes
            or objects.occlusion[row] > 0
            or objects.truncation[row] > MAX_TRUNCATION
            or height < min_height
        ):
            continue
        copied = COPY.fullmatch(str(objects.provenance[row])) if injected else None
        source = copied["frame"] if copied else frame.sample_id
        found.append(Crop(square(frame.image, objects.bbox[row]), height, frame.sample_id, source))
    return found


def square(image: np.ndarray, bbox: np.ndarray) -> np.ndarray:
    """The square about a box, resampled; beyond the image its border goes on.

    Args:
        image: (3, H, W) uint8.
        bbox: (4,) left, top, right, bottom in pixels.

    Returns:
        (3, CROP_SIZE, CROP_SIZE) uint8.
    """
    side = max(CONTEXT * float(max(bbox[2] - bbox[0], bbox[3] - bbox[1])), 2.0)
    u, v = (float(bbox[0] + bbox[2]) / 2, float(bbox[1] + bbox[3]) / 2)
    scale = CROP_SIZE / side
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    if scale < 1:  # warpAffine does not filter: bring the neighbourhood to the target's resolution first
        sigma = 0.5 * np.sqrt(1 / scale**2 - 1)
        left, top = (max(int(c - side / 2 - 3 * sigma - 1), 0) for c in (u, v))
        right, bottom = (int(c + side / 2 + 3 * sigma + 2) for c in (u, v))
        pixels = cv2.GaussianBlur(pixels[top:bottom, left:right], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        u, v = u - left, v - top
    affine = np.array([[scale, 0, CROP_SIZE / 2 - 0.5 - scale * u], [0, scale, CROP_SIZE / 2 - 0.5 - scale * v]])
    crop = cv2.warpAffine(
        pixels, affine, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop.transpose(2, 0, 1))


def halves(crops: Iterable[Crop], groups: Mapping[str, str], seed: int = 0) -> dict[str, int]:
    """Frame to half (0 or 1), the drives dealt out so that both halves hold about equally many crops.

    Args:
        crops: all crops.
        groups: frame to drive; a frame without one is its own.
        seed: of the order of equally frequent drives.

    Raises:
        InputError: fewer than two drives.
    """
    frames = {crop.frame for crop in crops}
    counts = Counter(groups.get(crop.frame, crop.frame) for crop in crops)
    if len(counts) < 2:
        raise InputError(
            f"{len(counts)} drives with objects: expected at least two, one half to learn from and one to be told "
            "apart; give more frames"
        )
    order = sorted(counts)
    derive(seed, 0, "halves").shuffle(order)
    sizes, side = [0, 0], {}
    for group in sorted(order, key=lambda name: -counts[name]):  # stable: ties stay shuffled
        smaller = int(sizes[1] < sizes[0])
        side[group], sizes[smaller] = smaller, sizes[smaller] + counts[group]
    return {frame: side[groups.get(frame, frame)] for frame in sorted(frames)}


def matched(real: Sequence[Crop], injected: Sequence[Crop], seed: int = 0) -> list[tuple[Crop, Crop]]:
    """Pairs of a real and an injected crop of about the same height, each crop in one pair at most.

    Args:
        real: crops of labelled objects.
        injected: crops of injected ones.
        seed: of the order in which partners are chosen.
    """
    heights = np.log([crop.height for crop in real])
    free = np.ones(len(real), bool)
    pairs = []
    for index in derive(seed, 0, "partners").permutation(len(injected)):
        distance = np.where(free, np.abs(heights - np.log(injected[index].height)), np.inf)
        if len(distance) and distance.min() <= np.log(MAX_RATIO):
            partner = int(distance.argmin())
            free[partner] = False
            pairs.append((real[partner], injected[index]))
    return pairs

"""Depth beside photographs: ``NAME_depth.png``, 16 bits, a pixel d at the depth ``d / 65536 * 2 + 4``.

The rule is that of 3DGP's and G3DR's stores: the scene's cube spans the depths 4 to 6 of a camera five half edges away.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datamodules.errors import DatasetNotFound, InputError
from datamodules.images import read_image, write_image

STORED_LEVELS, NEAREST, RANGE = 65536, 4.0, 2.0
SUFFIX = "_depth.png"
DEPTH_CURE = (
    "expected a 16-bit depth map beside each photograph; write it by the rule d = (depth - 4) / 2 * 65536, or with "
    "python -m lit prepare depth"
)
NARROW = 256  # levels: a map within so few was written for 8 bits


def depth_path(image: Path) -> Path:
    """Where the depth of an image lies."""
    return image.with_name(image.stem + SUFFIX)


def write_depth(image: Path, depth: np.ndarray) -> str:
    """Write depth (H, W), 4 to 6 and clipped to it, beside an image; the file's digest."""
    stored = np.clip(np.rint((depth - NEAREST) / RANGE * STORED_LEVELS), 0, STORED_LEVELS - 1).astype(np.uint16)
    return write_image(depth_path(image), stored)


def read_depth(image: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Depth (H, W) float32 in [4, 6) of an image.

    Args:
        image: path of the picture it belongs to.
        size: height and width that the map must have.

    Raises:
        DatasetNotFound: there is no such file.
        InputError: 8 bits, several channels, another size, or values of another scale.
    """
    path = depth_path(image)
    if not path.is_file():
        raise DatasetNotFound(f"{path} does not exist; {DEPTH_CURE}")
    stored = read_image(path, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        channels = 1 if stored.ndim == 2 else len(stored)
        raise InputError(
            f"{path}: {stored.dtype.itemsize * 8} bits and {channels} channel(s), expected 16 bits and one; multiply "
            "an 8-bit map by 256 only if nothing finer is left"
        )
    if size is not None and stored.shape != size:
        raise InputError(
            f"{path}: {stored.shape[0]} x {stored.shape[1]} pixels, expected those of its image, {size[0]} x {size[1]}"
        )
    if int(stored.max()) < NARROW:
        raise InputError(
            f"{path}: values up to {int(stored.max())} of 65535, expected d / 65536 * 2 + 4; an 8-bit map kept "
            "in 16 bits has to be multiplied by 256"
        )
    return stored.astype(np.float32) * (RANGE / STORED_LEVELS) + NEAREST

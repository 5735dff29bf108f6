"""Images on disk: read whole or refused in one line, written atomically."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically

PNG_HEADER, PNG_TRAILER = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG_HEADER, JPEG_TRAILER = b"\xff\xd8\xff", b"\xff\xd9"
TAIL = 1024  # bytes: some tools append a few of their own to the trailer


def read_image(path: Path | str, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Read an image as (3, H, W) uint8 RGB, a view on (H, W, 3) memory (or (H, W) as stored, with other ``flags``).

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: the file is cut short or no image.
    """
    path = Path(path)
    data = read_bytes(path, "an image")
    # Decoders fill what is missing with black or grey and say nothing, so the trailer is looked for first.
    for kind, header, trailer in (("PNG", PNG_HEADER, PNG_TRAILER), ("JPEG", JPEG_HEADER, JPEG_TRAILER)):
        if data.startswith(header) and trailer not in data[-TAIL:]:
            size = f"{len(data)} bytes without a {kind} trailer"
            raise InputError(f"{path}: {size}, the file is cut short; copy it again")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise InputError(f"{path}: {len(data)} bytes that decode to no image; copy it again")
    return image.transpose(2, 0, 1) if image.ndim == 3 else image


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write (3, H, W) RGB or (H, W) uint8 or uint16 as PNG."""
    pixels = image
    if image.ndim == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise InputError(f"{path}: an array {image.shape} {image.dtype} is no image; expected (3, H, W) or (H, W)")
    write_atomically(path, data.tobytes())

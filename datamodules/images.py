"""Images on disk: read whole or refused in one line, written atomically."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.image_bytes import KIND_OF_SUFFIX, ImageFacts, image_facts

UNDECODABLE = (
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Unsupported marker",
    "Invalid SOS",
    "Inconsistent progression",
    "libpng warning: IDAT",
    "libpng error",
)
_OUTPUT = threading.Lock()  # the process's standard error is taken for the length of a decode


def read_image(path: Path | str, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Read an image as (3, H, W) uint8 RGB, a view on (H, W, 3) memory (or (H, W) as stored, with other ``flags``).

    Pixels come as they are stored: calibrations belong to those. A picture whose EXIF data ask for a turn is therefore
    refused; nobody could say which of both its labels mean.

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: the file is cut short, damaged, no image, turned, or of another format than its name says.
    """
    path = Path(path)
    return decode_image(path, read_bytes(path, "an image"), flags)


def read_photograph(path: Path) -> np.ndarray:
    """Read a picture that no calibration belongs to as (3, H, W) uint8 RGB, upright as its EXIF data say.

    The bytes decide the format, not the name: ImageNet holds a PNG that is named .JPEG.

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: the file is cut short, damaged, or no image.
    """
    data = read_bytes(path, "a photograph")
    _facts_of(path, data)
    return _decoded(path, data, cv2.IMREAD_COLOR_RGB)


def decode_image(path: Path, data: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """As :func:`read_image`, of bytes that are already here: an archive's entry, which ``path`` names in messages."""
    facts = checked_facts(path, data)
    if flags == cv2.IMREAD_UNCHANGED and (facts.palette or 1 < facts.bits < 8):
        kind = "numbers of a palette" if facts.palette else f"{facts.bits} bits a pixel"
        raise InputError(f"{path}: {kind}, expected grey of 8 or 16 bits; convert it, its colours are not its values")
    turned_off = 0 if flags < 0 else cv2.IMREAD_IGNORE_ORIENTATION  # as stored, nothing is turned
    return _decoded(path, data, flags | turned_off)


def _decoded(path: Path, data: bytes, flags: int) -> np.ndarray:
    with _decoder_complaints() as complaints:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if complaints:
        raise InputError(f"{path}: damaged rows (the decoder says: {complaints[0]}); copy it again")
    if image is None:
        raise InputError(f"{path}: {len(data)} bytes that decode to no image; copy it again")
    return image.transpose(2, 0, 1) if image.ndim == 3 else image


def checked_facts(path: Path, data: bytes) -> ImageFacts:
    """What an image file's headers say, when they say nothing that a reader of calibrated pictures must refuse.

    Raises:
        InputError: see :func:`read_image`.
    """
    facts = _facts_of(path, data)
    named = KIND_OF_SUFFIX.get(path.suffix.lower(), facts.kind)
    if named != facts.kind:
        raise InputError(f"{path}: {facts.kind} bytes in a file named {path.suffix}; convert it to {named}")
    if facts.orientation != 1:
        raise InputError(
            f"{path}: EXIF orientation {facts.orientation}, expected pixels stored upright as the calibration means "
            "them; remove the tag, or turn the pixels and correct calibration and labels"
        )
    return facts


def _facts_of(path: Path, data: bytes) -> ImageFacts:
    try:
        return image_facts(data)
    except ValueError as error:
        raise InputError(f"{path}: {error}; copy it again") from None


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file; no pixel is decoded.

    Raises:
        InputError: see :func:`read_image`.
    """
    facts = checked_facts(path, read_bytes(path, "an image"))
    return facts.height, facts.width


def decoder_complaint(data: bytes) -> str:
    """What the decoder says of a damaged PNG or JPEG; empty for a whole one."""
    with _decoder_complaints() as complaints:
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return complaints[0] if complaints else ""


@contextmanager
def _decoder_complaints() -> Iterator[list[str]]:
    """Collect what libjpeg and libpng say of damaged data: they tell standard error alone, and go on with grey."""
    found: list[str] = []
    with _OUTPUT, tempfile.TemporaryFile() as taken:
        if sys.stderr is not None:
            sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(taken.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            taken.seek(0)
            for line in taken.read().decode("utf-8", "replace").splitlines(keepends=True):
                if line.startswith(UNDECODABLE):
                    found.append(line.strip())
                else:  # of another thread
                    os.write(2, line.encode())


def write_image(path: Path | str, image: np.ndarray) -> str:
    """Write (3, H, W) RGB, (4, H, W) RGBA or (H, W) uint8 or uint16 as PNG; its digest."""
    pixels = image
    if image.ndim == 3:
        order = cv2.COLOR_RGBA2BGRA if len(image) == 4 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), order)
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise InputError(f"{path}: an array {image.shape} {image.dtype} is no image; expected (3, H, W) or (H, W)")
    return write_atomically(path, data.tobytes())

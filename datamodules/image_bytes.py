"""What the bytes of a PNG or JPEG say before anything decodes them: whole or not, how large, how turned."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

PNG_HEADER, JPEG_HEADER, JPEG_TRAILER = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd9"
KIND_OF_SUFFIX = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
MAX_PIXELS = 1 << 26  # 8192 x 8192; what states more would fill the memory before it is refused
TAIL = 1024  # bytes: some tools append a few of their own to a JPEG
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types
PALETTE = 3
DEFLATE = 1032  # bytes at most that one deflated byte unfolds to
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers that state the size
BARE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageFacts:
    """A picture by its headers.

    Attributes:
        kind: of the file.
        width, height: pixels.
        bits: a channel.
        palette: whether pixels are numbers of colours.
        orientation: EXIF's, 1 as stored.
    """

    kind: Literal["PNG", "JPEG"]
    width: int
    height: int
    bits: int = 8
    palette: bool = False
    orientation: int = field(default=1)


def image_facts(data: bytes) -> ImageFacts:
    """Look at a file's structure.

    Raises:
        ValueError: it is neither format, cut short, damaged, or states a size that cannot be.
    """
    if data.startswith(PNG_HEADER):
        facts = _png_facts(data)
    elif data.startswith(JPEG_HEADER):
        facts = _jpeg_facts(data)
    else:
        raise ValueError(f"{len(data)} bytes that are no PNG or JPEG")
    if not 0 < facts.width * facts.height <= MAX_PIXELS:
        raise ValueError(f"{facts.width} x {facts.height} pixels, expected 1 to {MAX_PIXELS}")
    return facts


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of a PNG's chunks up to its end, lengths and checksums compared."""
    place, name = len(PNG_HEADER), b""
    while name != b"IEND":
        if place + 12 > len(data):
            raise ValueError(f"{len(data)} bytes without a PNG trailer, the file is cut short")
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if length > len(data) - place - 12:
            raise ValueError(f"{len(data)} bytes end within a PNG chunk of {length}: the file is cut short or damaged")
        content = data[place + 8 : place + 8 + length]
        if zlib.crc32(content, zlib.crc32(name)) != int.from_bytes(data[place + 8 + length : place + 12 + length]):
            raise ValueError("the file is damaged: a PNG chunk differs from its checksum")
        yield name, content
        place += 12 + length


def _png_facts(data: bytes) -> ImageFacts:
    size: tuple[int, ...] = ()
    packed, turned = 0, 1
    for name, content in _chunks(data):
        if not size:
            if name != b"IHDR" or len(content) != 13:
                raise ValueError("the file is damaged: a PNG without a header")
            size = struct.unpack(">IIBBBBB", content)
        elif name == b"IDAT":
            packed += len(content)
        elif name == b"eXIf":
            turned = _orientation(content)
    width, height, bits, colour, *_ = size
    row = -(-width * bits * CHANNELS.get(colour, 1) // 8)
    if height * row > DEFLATE * packed + DEFLATE:
        raise ValueError(f"{packed} bytes of pixels for {width} x {height}, the file is damaged")
    return ImageFacts("PNG", width, height, bits, colour == PALETTE, turned)


def _jpeg_facts(data: bytes) -> ImageFacts:
    if JPEG_TRAILER not in data[-TAIL:]:
        raise ValueError(f"{len(data)} bytes without a JPEG trailer, the file is cut short")
    place, turned, size = 2, 1, (0, 0)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker in BARE:  # filling, or without content
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4])
        content = data[place + 4 : place + 2 + length]
        if marker in FRAMES and len(content) >= 5:
            height, width = struct.unpack(">HH", content[1:5])
            size = width, height
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            turned = _orientation(content[6:])
        if marker == 0xDA:  # pixels follow
            return ImageFacts("JPEG", *size, orientation=turned)
        place += 2 + length
    raise ValueError("the file is damaged: a JPEG without pixels")


def _orientation(exif: bytes) -> int:
    """The orientation in a TIFF header's first directory, 1 where it says nothing that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 1
    (start,) = struct.unpack(f"{order}I", exif[4:8])
    count = struct.unpack(f"{order}H", exif[start : start + 2])[0] if start + 2 <= len(exif) else 0
    for place in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack(f"{order}HHIH", exif[place : place + 10])
        if tag == ORIENTATION and kind == 3:
            return int(value)
    return 1

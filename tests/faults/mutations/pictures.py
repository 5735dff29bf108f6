"""Damage to PNG and JPEG: chunks, segments, sizes, and picture files of another kind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from tests.faults.mutations import bytewise

Mutator = Callable[[bytes, np.random.Generator], bytes]


def chunks(content: bytes) -> list[tuple[int, int]]:
    """Start and length of the data of each chunk."""
    found, place = [], 8
    while place + 12 <= len(content):
        length = struct.unpack(">I", content[place : place + 4])[0]
        found.append((place, length))
        place += 12 + length
    return found


def _lengths(content: bytes, rng: np.random.Generator) -> bytes:
    place, _ = chunks(content)[int(rng.integers(len(chunks(content))))]
    return bytewise.replaced(
        content, place, 4, struct.pack(">I", int(rng.choice([0, 1, 1 << 30, (1 << 31) - 1, 1 << 31])))
    )


def _checksum(content: bytes, rng: np.random.Generator) -> bytes:
    place, length = chunks(content)[int(rng.integers(len(chunks(content))))]
    return bytewise.bit(content[place + 8 + length : place + 12 + length], rng).join(
        (content[: place + 8 + length], content[place + 12 + length :])
    )


def _drop(content: bytes, rng: np.random.Generator) -> bytes:
    place, length = chunks(content)[int(rng.integers(len(chunks(content))))]
    return bytewise.replaced(content, place, 12 + length, b"")


def _double(content: bytes, rng: np.random.Generator) -> bytes:
    place, length = chunks(content)[int(rng.integers(len(chunks(content))))]
    return content[:place] + content[place : place + 12 + length] + content[place:]


def _size(content: bytes, rng: np.random.Generator) -> bytes:
    """Another width or height, its checksum right."""
    data = bytearray(content[16:29])
    sizes = [0, 1, 7, 50_000, 1 << 20, (1 << 31) - 1]
    struct.pack_into(">I", data, int(rng.choice([0, 4])), int(rng.choice(sizes)))
    return content[:16] + bytes(data) + struct.pack(">I", zlib.crc32(b"IHDR" + data)) + content[33:]


def _kind(content: bytes, rng: np.random.Generator) -> bytes:
    """Another bit depth or colour type, its checksum right."""
    data = bytearray(content[16:29])
    data[int(rng.integers(8, 13))] = int(rng.choice([0, 1, 2, 3, 4, 6, 7, 16, 255]))
    return content[:16] + bytes(data) + struct.pack(">I", zlib.crc32(b"IHDR" + data)) + content[33:]


def _inside(content: bytes, rng: np.random.Generator) -> bytes:
    """A changed byte of the compressed rows."""
    place, length = max(chunks(content), key=lambda chunk: chunk[1])
    return bytewise.replaced(content, place + 8 + int(rng.integers(length)), 1, rng.bytes(1))


def _other(suffix: str) -> Mutator:
    """The picture as a file of another kind, under its old name."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return cv2.imencode(suffix, image)[1].tobytes()

    return mutate


def _scan(fill: int) -> Mutator:
    """Bytes of a JPEG's entropy coded rows overwritten."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        start = content.rindex(b"\xff\xda") + 14
        length = int(rng.integers(1, max((len(content) - start) // 2, 2)))
        return bytewise.replaced(
            content, start + bytewise.at(content[start:], rng, length), length, bytes([fill]) * length
        )

    return mutate


def _segment(content: bytes, rng: np.random.Generator) -> bytes:
    """A changed byte of what stands before the rows: tables, sizes, components."""
    start = content.rindex(b"\xff\xda") + 14
    return bytewise.replaced(content, int(rng.integers(2, start)), 1, rng.bytes(1))


def _half(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut in the rows, but ended properly."""
    start = content.rindex(b"\xff\xda") + 14
    return content[: int(rng.integers(start, len(content)))] + b"\xff\xd9"


PNG = {
    "length": _lengths,
    "checksum": _checksum,
    "dropchunk": _drop,
    "doublechunk": _double,
    "size": _size,
    "kind": _kind,
    "inside": _inside,
    "inside2": _inside,
    "jpeg": _other(".jpg"),
    "bmp": _other(".bmp"),
}
JPEG = {"scan0": _scan(0), "scan255": _scan(255), "segment": _segment, "half": _half, "png": _other(".png")}

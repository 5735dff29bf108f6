"""Damage that any file can take: bits, bytes, blocks, lengths."""

from __future__ import annotations

import numpy as np


def at(content: bytes, rng: np.random.Generator, length: int = 1) -> int:
    """A place in the content that leaves room for so many bytes."""
    return int(rng.integers(0, max(len(content) - length, 0) + 1))


def replaced(content: bytes, start: int, length: int, new: bytes) -> bytes:
    """The content with a stretch of it replaced."""
    return content[:start] + new + content[start + length :]


def bit(content: bytes, rng: np.random.Generator) -> bytes:
    """One flipped bit."""
    if not content:
        return b"\x01"
    place = int(rng.integers(len(content)))
    return replaced(content, place, 1, bytes([content[place] ^ (1 << int(rng.integers(8)))]))


def set_byte(content: bytes, rng: np.random.Generator) -> bytes:
    """One byte set to another value."""
    values = (0x00, 0xFF, 0x80, 0x7F, 0x58, int(rng.integers(256)))
    return replaced(content, at(content, rng), 1, bytes([int(rng.choice(values))]))


def _block(fill: int) -> bytes:
    return bytes([fill]) * 32


def ones(content: bytes, rng: np.random.Generator) -> bytes:
    """32 bytes of 0xFF."""
    return replaced(content, at(content, rng, 32), 32, _block(255))


def zeros(content: bytes, rng: np.random.Generator) -> bytes:
    """32 bytes of zero, or all of the second half, as after a crash on some file systems."""
    if rng.random() < 0.3:
        half = len(content) // 2
        return content[:half] + bytes(len(content) - half)
    return replaced(content, at(content, rng, 32), 32, _block(0))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short."""
    return content[: at(content, rng)]


def head(content: bytes, rng: np.random.Generator) -> bytes:
    """Only a few bytes left."""
    return content[: int(rng.integers(0, 16))]


def tail(content: bytes, rng: np.random.Generator) -> bytes:
    """The beginning lost."""
    return content[at(content, rng) :]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes in between."""
    place = at(content, rng)
    return content[:place] + rng.bytes(int(rng.integers(1, 9))) + content[place:]


def remove(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes lost."""
    return replaced(content, at(content, rng, 4), int(rng.integers(1, 9)), b"")


def twice(content: bytes, rng: np.random.Generator) -> bytes:
    """The file behind itself."""
    return content + content


def swapped(content: bytes, rng: np.random.Generator) -> bytes:
    """Two blocks exchanged."""
    size = max(1, len(content) // 8)
    a, b = sorted(int(rng.integers(0, 8)) * size for _ in range(2))
    first, second = content[a : a + size], content[b : b + size]
    return content if a == b else content[:a] + second + content[a + size : b] + first + content[b + size :]


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    """Nothing left."""
    return b""


KINDS = {
    "bit": bit,
    "setbyte": set_byte,
    "ones": ones,
    "zeros": zeros,
    "cut": cut,
    "head": head,
    "tail": tail,
    "insert": insert,
    "remove": remove,
    "twice": twice,
    "swapped": swapped,
    "empty": empty,
}

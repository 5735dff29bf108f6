"""Damage to zip archives: the directory, the headers, the members."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np

from tests.faults.mutations import arrays, bytewise

LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
Members = list[tuple[str, bytes]]


def members(content: bytes) -> Members:
    """Names and contents."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def packed(found: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, inner in found:
            archive.writestr(zipfile.ZipInfo(name), inner, method)
    return buffer.getvalue()


def on_members(change: Callable[[Members, int, np.random.Generator], None]) -> Callable[..., bytes]:
    """A mutator from one that changes the list of members in place, at a drawn one."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        found = members(content)
        change(found, int(rng.integers(len(found))), rng)
        return packed(found, zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED)

    return mutate


def _name(name: str, rng: np.random.Generator) -> str:
    stem = name.rsplit("/", 1)[-1]
    return str(
        rng.choice(
            [f"x{stem}", f"../{stem}", f"/{stem}", name.upper(), "a\x1b[31m.npy", "é" + stem, name + "/", "n" * 300]
        )
    )


def _rename(found: Members, at: int, rng: np.random.Generator) -> None:
    found[at] = (_name(found[at][0], rng), found[at][1])


def _drop(found: Members, at: int, rng: np.random.Generator) -> None:
    del found[at]


def _twice(found: Members, at: int, rng: np.random.Generator) -> None:
    other = found[int(rng.integers(len(found)))][1]
    found.append((found[at][0], other))


def _exchange(found: Members, at: int, rng: np.random.Generator) -> None:
    other = int(rng.integers(len(found)))
    (a, first), (b, second) = found[at], found[other]
    found[at], found[other] = (a, second), (b, first)


def _inner(found: Members, at: int, rng: np.random.Generator) -> None:
    kinds = list(bytewise.KINDS.values())
    found[at] = (found[at][0], kinds[int(rng.integers(len(kinds)))](found[at][1], rng))


def _array(found: Members, at: int, rng: np.random.Generator) -> None:
    kinds = list(arrays.KINDS.values())
    found[at] = (found[at][0], kinds[int(rng.integers(len(kinds)))](found[at][1], rng))


def _more(found: Members, at: int, rng: np.random.Generator) -> None:
    found.append((str(rng.choice(["extra.npy", "notes.txt", "__MACOSX/._a.npy", ".DS_Store"])), found[at][1]))


def _header(mark: bytes, offsets: tuple[int, ...]) -> Callable[..., bytes]:
    """Sets two bytes of a header: flags (encryption), method, checksum or sizes."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        starts = [i for i in range(len(content)) if content.startswith(mark, i)]
        start = starts[int(rng.integers(len(starts)))]
        value = rng.choice([b"\x01\x00", b"\xff\xff", b"\x09\x00", b"\x00\x00", b"\x63\x00", b"\x00\x08"])
        return bytewise.replaced(content, start + int(rng.choice(offsets)), 2, bytes(value).ljust(2, b"\0"))

    return mutate


def _huge(content: bytes, rng: np.random.Generator) -> bytes:
    """Sizes of gigabytes in a member's central entry."""
    start = content.rindex(CENTRAL)
    size = int(rng.choice([1 << 31, (1 << 32) - 2, 1 << 30])).to_bytes(4, "little")
    return bytewise.replaced(
        bytewise.replaced(content, start + 24, 4, size),
        start + 20,
        4,
        size if rng.random() < 0.5 else content[start + 20 : start + 24],
    )


def _zeros(content: bytes, rng: np.random.Generator) -> bytes:
    """A member that unpacks to 8 GB of a few kilobytes would take long to make: 64 MB show the same."""
    found = members(content)
    at = int(rng.integers(len(found)))
    found[at] = (found[at][0], found[at][1] + bytes(64 << 20))
    return packed(found, zipfile.ZIP_DEFLATED)


KINDS = {
    "rename": on_members(_rename),
    "drop": on_members(_drop),
    "double": on_members(_twice),
    "exchange": on_members(_exchange),
    "inner": on_members(_inner),
    "more": on_members(_more),
    "encrypted": _header(LOCAL, (6,)),
    "central-flags": _header(CENTRAL, (8,)),
    "method": _header(CENTRAL, (10,)),
    "local-method": _header(LOCAL, (8,)),
    "checksum": _header(CENTRAL, (16, 18)),
    "sizes": _header(CENTRAL, (20, 22, 24, 26, 42, 44)),
    "names": _header(CENTRAL, (28, 30, 32, 46)),
    "local": _header(LOCAL, (14, 18, 22, 26, 28, 30)),
    "huge": _huge,
    "before": lambda content, rng: b"#!/bin/sh\n" + content,
    "behind": lambda content, rng: content + bytes(70_000),
}
MEMBERS = {"array": on_members(_array), "array2": on_members(_array)}
BOMB = {"bomb": _zeros}

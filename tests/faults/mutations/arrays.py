"""Damage to .npy arrays: the header and the values."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np

HEADERS = (
    "{'descr': '<f4', 'fortran_order': True, 'shape': SHAPE, }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': SHAPE, }",
    "{'descr': '|O', 'fortran_order': False, 'shape': SHAPE, }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': SHAPE, }",
    "{'descr': '<U4', 'fortran_order': False, 'shape': SHAPE, }",
    "{'descr': DTYPE, 'fortran_order': False, 'shape': (1000000, 1000000, 1000), }",
    "{'descr': DTYPE, 'fortran_order': False, 'shape': (-1, 4), }",
    "{'descr': DTYPE, 'fortran_order': False, 'shape': (0,), }",
    "{'descr': DTYPE, 'fortran_order': False, 'shape': (), }",
    "{'descr': DTYPE, 'fortran_order': 1, 'shape': SHAPE, }",
    "{'descr': DTYPE, 'shape': SHAPE, }",
    "{'descr': DTYPE, 'fortran_order': False, 'shape': (1 << 70,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': SHAPE, }",
    "{",
    "__import__('os').system('true')",
    "(" * 300,
)


def saved(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype.kind == "O")
    return buffer.getvalue()


def loaded(content: bytes) -> np.ndarray:
    """The array of a .npy file."""
    return np.load(io.BytesIO(content), allow_pickle=False)


def _header(content: bytes, rng: np.random.Generator) -> bytes:
    array = loaded(content)
    text = str(rng.choice(HEADERS)).replace("SHAPE", str(array.shape)).replace("DTYPE", repr(array.dtype.str))
    line = (text + " " * (64 - (len(text) + 11) % 64) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + array.tobytes()


def _version(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:6] + bytes(rng.integers(0, 10, 2, dtype=np.uint8)) + content[8:]


def _length(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:8] + struct.pack("<H", int(rng.choice([0, 1, 60, 65535]))) + content[10:]


def _type(content: bytes, rng: np.random.Generator) -> bytes:
    array = loaded(content)
    kinds = ["f2", ">f4", "f8", "c8", "i8", "u2", "?", "U3", "M8[s]", "S2"]
    with np.errstate(all="ignore"):
        return saved(array.astype(str(rng.choice(kinds))))


def _objects(content: bytes, rng: np.random.Generator) -> bytes:
    return saved(loaded(content).astype(object))


def _shape(content: bytes, rng: np.random.Generator) -> bytes:
    array = loaded(content)
    changes = [
        array[None],
        array[..., None],
        array.ravel(),
        array[:-1],
        array[:0],
        array.T,
        array[0],
        array.reshape(1, -1),
    ]
    return saved(np.ascontiguousarray(changes[int(rng.integers(len(changes)))]))


def _values(value: float) -> Callable[[bytes, np.random.Generator], bytes]:
    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        array = loaded(content).copy()
        places = array.reshape(-1)
        with np.errstate(all="ignore"):
            places[int(rng.integers(places.size)) :: max(1, places.size // 3)] = value
        return saved(array)

    return mutate


KINDS = {
    "header": _header,
    "header2": _header,
    "version": _version,
    "length": _length,
    "type": _type,
    "objects": _objects,
    "shape": _shape,
    "nan": _values(np.nan),
    "inf": _values(np.inf),
    "negative": _values(-1.0),
    "far": _values(1e30),
    "noise": lambda content, rng: saved(loaded(content)[::-1].copy()),
}

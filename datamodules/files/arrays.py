"""NumPy's ``.npy`` that others may have written: bounded by its header before anything of the stated size is made."""

from __future__ import annotations

import io
import math
import tokenize
from typing import IO

import numpy as np

from datamodules.errors import InputError
from datamodules.files.archives import DAMAGE, reason

Header = tuple[tuple[int, ...], bool, np.dtype]
NUMBERS = "biuf"  # kinds of types: no objects, texts, times or complex numbers


def read_header(file: IO[bytes], where: str) -> Header:
    """Shape, Fortran order and type of an npy stream, which is left at the first value.

    Args:
        file: at its beginning.
        where: its name, for messages.

    Raises:
        InputError: no npy, or one of something else than real numbers.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (*DAMAGE, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise InputError(f"{where}: no readable array ({reason(error)}); write it again") from error
    if dtype.kind not in NUMBERS or dtype.itemsize > 16:
        raise InputError(f"{where} is {dtype} {shape}, expected real numbers; convert and save it again")
    if any(size < 0 for size in shape):
        raise InputError(f"{where} states the shape {shape}; write it again")
    return shape, bool(fortran), dtype


def read_array(content: bytes, where: str) -> np.ndarray:
    """The array in the bytes of an npy file, which have to be exactly as many as it states.

    Raises:
        InputError: no npy, other values than real numbers, or more or fewer of them.
    """
    file = io.BytesIO(content)
    shape, fortran, dtype = read_header(file, where)
    held, stated = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if held != stated:
        raise InputError(f"{where} states {dtype} {shape}, {stated} bytes, and holds {held}; write it again")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.copy().reshape(shape, order="F" if fortran else "C")

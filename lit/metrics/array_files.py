"""Plain arrays in an ``.npz``: written whole or not at all, the same bytes for the same arrays, read without pickle."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from datamodules.errors import InputError, printable
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.files.npz_files import read_arrays

T = TypeVar("T")

LARGEST = 1 << 28  # bytes of an array; a run's are thousands of times smaller


def write_array_file(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write a file; returns its SHA-256."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # its stubs take a name for allow_pickle
    content = buffer.getvalue()
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_array_file(path: Path, expected: str, build: Callable[[dict[str, np.ndarray]], T]) -> T:
    """Read a file.

    Args:
        path: the file.
        expected: what it should be, for the messages.
        build: makes of its arrays what it holds; raises ValueError or KeyError where they do not fit together.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is damaged, or something else.
    """
    content = read_bytes(path, expected)
    try:
        return build(read_arrays(content, None, LARGEST))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:  # damaged, or of another make
        problem = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        raise InputError(f"{path}: {problem}; expected {expected}; evaluate again") from None


def smallest(values: np.ndarray) -> np.ndarray:
    """Counts in the smallest unsigned integers that hold them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def named_by_content(path: Path, checksum: str) -> Path:
    """Rename a file after what it holds, so that another evaluation of the same run never replaces it."""
    return path.replace(path.with_name(f"{path.stem}_{checksum[:12]}{path.suffix}"))

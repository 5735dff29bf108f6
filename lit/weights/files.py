"""Files of pretrained weights: found, told apart, and read by :mod:`datamodules.files.weight_files`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datamodules.errors import InputError
from datamodules.files.weight_files import load_weights, read_content, read_state, refused_global, shortened, state_of

__all__ = ["load_weights", "read_content", "read_state", "refused_global", "shortened", "state_of"]


def require_file(path: str | None, network: str, source: str) -> Path:
    """The weights file of a network.

    Raises:
        InputError: none is given, or it is not there; says in words where it can be had.
    """
    if path is None:
        raise InputError(f"{network} needs a file of weights, nothing is downloaded: {source}")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; expected weights of {network}: {source}")
    return Path(path)


def digest(path: Path) -> str:
    """First 12 hex digits of a file's SHA-256, which tell one set of weights from another."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 22):
            found.update(block)
        return found.hexdigest()[:12]


@contextmanager
def expecting(path: str | Path, expected: str) -> Iterator[None]:
    """Turns what a file of an unforeseen structure raises (an axis or key that is not there) into an InputError.

    Raises:
        InputError: says what was expected.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: of another structure than {expected} ({type(error).__name__}: {shortened(error, 120)})"
        ) from error

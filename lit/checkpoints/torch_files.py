"""Loading files of torch.save without running code from them, and one line on what was refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError


def load_weights(path: str | Path, expected: str) -> Any:
    """The content of a PyTorch file, on the CPU, by torch's restricted loader.

    argparse.Namespace is let through: rosinality's training checkpoints keep their options in one, and it is inert.

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: missing, damaged, or with objects beyond tensors and plain containers; names them.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip, key and end-of-file errors have no common base
        raise InputError(
            f"{path}: refused, it holds {refused_global(error)}; expected {expected}, nothing of it was run"
        ) from error


@contextmanager
def one_line(path: str | Path, expected: str) -> Iterator[None]:
    """Turns what a file of an unforeseen structure raises (an axis or key that is not there) into an InputError.

    Raises:
        InputError: says what was expected.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = ascii(" ".join(str(error).split()))[1:-1][:120]
        raise InputError(f"{path}: of another structure than {expected} ({type(error).__name__}: {reason})") from error


def refused_global(error: Exception) -> str:
    """What torch's loader objected to, in a few words on one line."""
    text = " ".join(str(error).split())
    match = re.search(r"Unsupported (?:global|class|operand)[^:]*:?\s*(?:GLOBAL )?([\w.]+)", text) or re.search(
        r"(?:GLOBAL |instantiate class |Blocked )([\w.]+)", text
    )
    if match:
        return f"the global {match[1]}"
    return ascii(f"no readable weights ({type(error).__name__}: {text[:100]})")[1:-1]

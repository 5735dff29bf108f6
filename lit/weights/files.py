"""Files of pretrained weights: found, told apart, and read without running code from them."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import InputError


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


def read_state(path: Path, network: str) -> dict[str, Any]:
    """A state dict from a PyTorch or safetensors file, without running code from it.

    Raises:
        InputError: missing, or neither.
    """
    expected = f"weights of {network}"
    state = _safetensors(path, expected) if path.suffix == ".safetensors" else load_weights(path, expected)
    while isinstance(state, dict) and isinstance(state.get("state_dict", state.get("model")), dict):
        state = state.get("state_dict", state.get("model"))
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected the state dict of {network}")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _safetensors(path: Path, expected: str) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except Exception as error:  # missing files and damaged headers have no common base
        raise InputError(f"{path}: cannot be read ({shortened(error)}); expected {expected}") from error


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
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: of another structure than {expected} ({type(error).__name__}: {shortened(error, 120)})"
        ) from error


def shortened(error: Exception, length: int = 160) -> str:
    """What an exception says, on one line of printable characters."""
    return ascii(" ".join(str(error).split()))[1:-1][:length]


def refused_global(error: Exception) -> str:
    """What torch's loader objected to, in a few words on one line; its advice to drop the restriction is left out."""
    text = shortened(error, 4000)
    if match := re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported class ([\w.]+)", text):
        return f"the global {match[1] or match[2]}"
    reason = text.split("WeightsUnpickler error: ")[-1].split(" Check the documentation")[0]
    return f"no readable weights ({type(error).__name__}{': ' if reason else ''}{reason[:100]})"

"""Files of torch.save, read without running code from them, and one line on what was refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from datamodules.errors import InputError

M = TypeVar("M", bound=nn.Module)


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


def restore(build: Callable[..., M], path: str | Path, expected: str) -> M:
    """A module of a Lightning checkpoint in evaluation mode: built from its hyper-parameters, with its weights.

    Args:
        build: the class.
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: as :func:`load_weights`; or of another module, or weights that do not match its own settings.
    """
    content = load_weights(path, expected)
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("hyper_parameters", "state_dict")]
    settings, state = parts
    if not isinstance(settings, dict) or not isinstance(state, dict):
        raise InputError(f"{path}: no checkpoint of a training; expected {expected}")
    try:
        module = build(**{name: value for name, value in settings.items() if not str(name).startswith("_")})
    except TypeError as error:
        raise InputError(f"{path}: made from other settings ({shortened(error)}); expected {expected}") from error
    fill(module, state, path, expected)
    return module.eval()


def fill(module: nn.Module, state: Any, path: str | Path, expected: str) -> None:
    """Put a state dict into a module that it has to match exactly.

    Raises:
        InputError: a tensor is missing, is one too many, or has another shape.
    """
    try:
        module.load_state_dict(state)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise InputError(
            f"{path}: weights of another shape than its settings say ({shortened(error)}); expected {expected}"
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

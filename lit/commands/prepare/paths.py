"""Paths as a user types them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def typed_path(text: str) -> Path:
    """A path, ``~`` being the user's home also where no shell has replaced it (``--root=~/data``), for argparse.

    Raises:
        ArgumentTypeError: nothing was given, or nobody has that home.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"got '{text}', expected a path; no user has that home") from None
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a path")
    return path


def named_path(form: str) -> Callable[[str], tuple[str, Path]]:
    """An argparse type for "name=path"; ``form`` says in messages what is expected."""

    def read(text: str) -> tuple[str, Path]:
        name, _, place = text.partition("=")
        if not name or not place:
            raise argparse.ArgumentTypeError(f"got '{text}', expected {form}")
        return name, typed_path(place)

    return read

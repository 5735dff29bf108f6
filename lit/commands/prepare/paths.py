"""Paths as a user types them."""

from __future__ import annotations

import argparse
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

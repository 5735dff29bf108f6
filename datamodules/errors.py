"""Errors that a user can cure. The command line prints them as one line and exits with status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message is one line that names the value, what was expected, and the fix."""


class DatasetNotFound(InputError):
    """A data set folder is missing or incomplete; the message names the first missing path and the expected tree.

    Attributes:
        tree: the expected tree drawn over several lines, for commands with room to print it; empty for a single file.
    """

    tree: str = ""


class PlacementError(InputError):
    """No admissible place exists for an object (for example an image without any road)."""


def printable(text: str) -> str:
    """A text that a terminal takes literally: what it would obey is written out."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a message, so many at most: ``a, b, ...``."""
    known = list(names)
    return ", ".join(known[:most]) + ", ..." * (len(known) > most)


def closest(value: str, choices: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'sweep'?``, or an empty string when nothing comes near."""
    found = difflib.get_close_matches(value, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""

"""Errors that a user can cure. The command line prints them as one line and exits with status 2."""

from __future__ import annotations


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

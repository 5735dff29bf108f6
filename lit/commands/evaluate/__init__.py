"""``evaluate``: scores files on disk, one module a task."""

from lit.commands.evaluate.command import main

__all__ = ["main"]

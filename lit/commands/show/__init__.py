"""``show``: pictures of banks, injected frames and generators."""

from lit.commands.show.command import main

__all__ = ["main"]

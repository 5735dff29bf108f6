"""``python -m lit results``: published results and the raw records they follow from."""

from lit.commands.results.command import main as main

__all__ = ["main"]

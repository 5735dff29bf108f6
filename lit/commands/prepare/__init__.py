"""``prepare``: checks a data set, writes synthetic data, and turns checkpoints into data."""

from lit.commands.prepare.command import main

__all__ = ["main"]

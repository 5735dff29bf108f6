"""``bench``: measures speed beside a named reference, one module a subject."""

from lit.commands.bench.command import main

__all__ = ["main"]

"""``python -m lit results``: one word chooses what to do with published results."""

from __future__ import annotations

from lit.commands.dispatch import dispatch

ABOUT = "Published results: pack a sweep's raw records with its tables, and recompute every figure from them."
TARGETS = {
    "pack": ("pack.main", "a sweep's records and tables into a folder that can be published"),
    "check": ("check.main", "recompute every published figure from the raw records"),
}


def main(argv: list[str]) -> int:
    """``python -m lit results pack|check``."""
    return dispatch("results", ABOUT, TARGETS, argv)

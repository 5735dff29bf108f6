"""``python -m lit results``: one word chooses what to do with published results."""

from __future__ import annotations

from lit.commands.dispatch import dispatch

ABOUT = "Published results: pack a sweep's raw records with its tables, list all arms, and recompute every figure."
TARGETS = {
    "pack": ("pack.main", "a sweep's records and tables into a folder that can be published"),
    "overview": ("overview.main", "what every published arm gained over nothing, in one table a data set"),
    "check": ("check.main", "recompute every published figure from the raw records"),
}


def main(argv: list[str]) -> int:
    """``python -m lit results pack|overview|check``."""
    return dispatch("results", ABOUT, TARGETS, argv)

"""The suite: command line, generators, metrics, experiments, leaderboard. Run it as ``python -m lit``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the clone

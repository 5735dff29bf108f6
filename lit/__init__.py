"""The suite: command line, generators, metrics, experiments, leaderboard. Run it as ``python -m lit``."""

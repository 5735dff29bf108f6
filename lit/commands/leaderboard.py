"""``python -m lit leaderboard``: ranks recorded runs; a table, and one page with CSV, Markdown and JSON beside it."""

from __future__ import annotations

from pathlib import Path

from datamodules.errors import InputError
from lit.arguments import Arguments
from lit.leaderboard.files import write_all


def main(argv: list[str]) -> int:
    """``python -m lit leaderboard FOLDER ...``."""
    parser = Arguments("leaderboard", __doc__ or "")
    parser.add_argument("folders", type=Path, nargs="+", help="folders with result.json files, searched recursively")
    parser.add_argument("--out", type=Path, default=None, help="HTML page; CSV, Markdown and JSON go beside it")
    parser.add_argument("--metric", default=None, help="metric to rank by, such as car/3d/moderate/0.5")
    options = parser.parse_args(argv)
    if options.out is not None and options.out.suffix != ".html":
        cure = f"{options.out.stem}.html gets CSV, Markdown and JSON beside it"
        raise InputError(f"--out {options.out}: expected a page's name, which ends in .html; {cure}")
    write_all(options.folders, options.out or options.folders[0] / "leaderboard.html", options.metric)
    return 0

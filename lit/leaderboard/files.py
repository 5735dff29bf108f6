"""The leaderboard as files: one page, and CSV, Markdown and JSON beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.files.atomic_files import write_atomically
from lit.leaderboard.board import Board, read_board
from lit.leaderboard.page import ranking_page
from lit.leaderboard.tables import csv_table, markdown, print_board
from lit.results import write_json

TABLE_NAME = "leaderboard"  # the files' name where nobody gives another


def write_all(places: Sequence[Path], page: Path, metric: str | None = None, sweeps: Sequence[Path] = ()) -> Board:
    """Read the records, print the table, write the page and its CSV, Markdown and JSON companions.

    Args:
        places: where to look for records.
        page: the HTML file.
        metric: the metric to rank by; the plan's or the usual headline when None.
        sweeps: folders with plans and published figures, in the place of those among ``places``.

    Raises:
        InputError: when no record is found or no run has the metric.
    """
    board = read_board(places, metric, sweeps)
    write_tables(board, page)
    write_atomically(page, ranking_page(board))
    print_board(board)
    print(f"wrote {page} and .json, .csv, .md beside it")
    return board


def write_tables(board: Board, page: Path) -> None:
    """Write JSON, CSV and Markdown beside where the page is or would be."""
    write_json(page.with_suffix(".json"), board.plain())
    write_atomically(page.with_suffix(".csv"), csv_table(board.rows, board.published))
    write_atomically(page.with_suffix(".md"), markdown(board))

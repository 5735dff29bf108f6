"""The leaderboard as files: one page, and CSV, Markdown and JSON beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.files.atomic_files import write_atomically
from lit.experiments.published import find_published
from lit.leaderboard.page import ranking_page
from lit.leaderboard.rows import build_rows, headline_metric, rank_key
from lit.leaderboard.tables import csv_table, markdown_table, print_table
from lit.results import find_results, write_json


def write_all(folders: Sequence[Path], page: Path, metric: str | None = None) -> list[dict[str, Any]]:
    """Read the records, print the table, write the page and its CSV, Markdown and JSON companions.

    Args:
        folders: where to look for records.
        page: the HTML file.
        metric: the metric to rank by; the usual headline when None.

    Raises:
        InputError: when no record is found or no run has the metric.
    """
    results, published = list(find_results(list(folders))), find_published(folders)
    rows = build_rows(results)
    headline = headline_metric(rows, metric)
    rows.sort(key=lambda row: rank_key(row, headline))
    failures = [result for result in results if result.error is not None]
    for row in rows:  # beside ours, after everything is computed and ranked
        row["published"] = published.by_metric(row["arm"]) if published else {}
    page.parent.mkdir(parents=True, exist_ok=True)
    write_json(page.with_suffix(".json"), rows)
    write_atomically(page.with_suffix(".csv"), csv_table(rows, published))
    write_atomically(page.with_suffix(".md"), markdown_table(rows, headline, failures, published))
    write_atomically(page, ranking_page(rows, headline, results, published))
    print_table(rows, headline, published)
    for failed in failures:
        print(f"failed: {failed.path.parent}: {failed.error}")
    print(f"wrote {page} and .json, .csv, .md beside it")
    return rows

"""The ranking as text: on the console, as Markdown, and every figure as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from lit.experiments.published import EASY_TO_HARD, Published, own_triple
from lit.leaderboard.rows import Ranked, rivals
from lit.results import Result


def mean_text(entry: dict[str, Any]) -> str:
    """``12.3 ± 0.4``, without the deviation for one seed."""
    return f"{entry['mean']:.2f}" + (f" ± {entry['std']:.2f}" if entry["std"] is not None else "")


def difference_text(found: dict[str, Any] | None) -> str:
    """``+1.2 [+0.3, +2.1] p=0.01``; a dash without a comparison."""
    if found is None:
        return "–"
    text = f"{found['delta']:+.2f}"
    return text if found["low"] is None else f"{text} [{found['low']:+.2f}, {found['high']:+.2f}] p={found['p']:.2g}"


def worth_text(found: dict[str, Any] | None) -> str:
    """``83 [61, 120]`` labelled frames."""
    if found is None:
        return "–"
    shown = [f"{v:.0f}" if isinstance(v, float) else str(v) for v in (found["value"], found["low"], found["high"])]
    return shown[0] if found["low"] is None else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def frames_cell(row: Ranked) -> str:
    """``50``, ``all``, or ``50 unlabelled`` for runs that saw no human label."""
    return str(row["frames"] or "all") + ("" if row["human_labels"] else " unlabelled")


def table_cells(
    rows: list[Ranked], metric: str, published: Published | None = None
) -> tuple[list[str], list[list[str]]]:
    """Header and text cells of the ranking by one metric; rows without it are left out."""
    against = rivals(rows)
    header = ["arm", "frames", "seeds", metric, *(f"minus {arm}" for arm in against), "worth labelled frames"]
    header += [EASY_TO_HARD, published.label] if published else []
    cells = []
    for row in rows:
        if entry := row["metrics"].get(metric):
            differences = [difference_text(entry["vs"].get(arm)) for arm in against]
            worth = worth_text(row["frames_equivalent"].get(metric))
            line = [row["arm"], frames_cell(row), str(len(row["seeds"])), mean_text(entry), *differences, worth]
            if published:
                line += [own_triple(row["metrics"], metric), published.text(row["arm"])]
            cells.append(line)
    return header, cells


def print_table(rows: list[Ranked], metric: str, published: Published | None = None) -> None:
    """Print the ranking."""
    header, cells = table_cells(rows, metric, published)
    table = Table(title=None, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right")
    for line in cells:
        table.add_row(*(cell.replace("[", r"\[") for cell in line), style="dim" if line[2] == "1" else None)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    if published:
        print(published.note())


def markdown_table(
    rows: list[Ranked], metric: str, failures: Sequence[Result], published: Published | None = None
) -> str:
    """The ranking as Markdown, failures below it."""
    header, cells = table_cells(rows, metric, published)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *cells]
    text = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    text += "\n\nMean ± sample deviation over seeds; differences paired by seed, 95 % interval, paired t-test.\n"
    text += f"\n{published.note()}\n" if published else ""
    return text + "".join(f"\nFailed: {failed.path.parent.name}: {failed.error}\n" for failed in failures)


def csv_table(rows: list[Ranked], published: Published | None = None) -> str:
    """Every metric of every row, one line each; the paper's figure stands in the line of its own metric alone."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    others = sorted({arm for row in rows for entry in row["metrics"].values() for arm in entry["vs"]})
    head = ["dataset", "split", "arm", "frames", "metric", "seeds", "mean", "std", "values"]
    head += [f"{key}_vs_{arm}" for arm in others for key in ("delta", "low", "high", "p")]
    writer.writerow(head + (["paper", "paper_source"] if published else []))
    for row in rows:
        for name, entry in row["metrics"].items():
            line = [row["dataset"], row["split"], row["arm"], row["frames"], name, len(row["seeds"])]
            line += [entry["mean"], entry["std"], json.dumps(entry["values"])]
            for arm in others:
                found = entry["vs"].get(arm, {})
                line += [found.get(key) for key in ("delta", "low", "high", "p")]
            if published:
                figure = published.by_metric(row["arm"]).get(name)
                line += [figure, None if figure is None else published.source]
            writer.writerow(line)
    return stream.getvalue()

"""The ranking as text: on the console, as Markdown, and every figure as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from lit.experiments.power import detectable_difference, seeds_needed
from lit.experiments.published import EASY_TO_HARD, Published, own_triple
from lit.leaderboard.arms import ORACLES, arm_warnings
from lit.leaderboard.board import Board, comparison_name
from lit.leaderboard.rows import Ranked, rivals

EFFECT = 2.0  # points of a hundred that a comparison should be able to tell


def digits_of(metric: str) -> int:
    """Digits behind the point: nuScenes states shares of one, the others points of a hundred."""
    return 3 if metric.startswith("nuscenes/") else 2


def mean_text(entry: dict[str, Any], metric: str = "") -> str:
    """``12.3 ± 0.4``, without the deviation for one seed."""
    digits = digits_of(metric)
    return f"{entry['mean']:.{digits}f}" + (f" ± {entry['std']:.{digits}f}" if entry["std"] is not None else "")


def difference_text(found: dict[str, Any] | None, metric: str = "") -> str:
    """``+1.2 [+0.3, +2.1] p=0.01 (Holm 0.03)``, the last for planned comparisons; a dash without a comparison."""
    if found is None:
        return "–"
    digits = digits_of(metric)
    text = f"{found['delta']:+.{digits}f}"
    if found["low"] is None:
        return text
    text += f" [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}] p={found['p']:.2g}"
    return text if found["holm"] is None else f"{text} (Holm {found['holm']:.2g})"


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
    header = ["data", "arm", "frames", "seeds", metric, *(f"minus {arm}" for arm in against), "worth labelled frames"]
    header += ["distinct objects", "prepared in"] + ([EASY_TO_HARD, published.label] if published else [])
    cells = []
    for row in rows:
        if entry := row["metrics"].get(metric):
            differences = [difference_text(entry["vs"].get(arm), metric) for arm in against]
            worth, place = worth_text(row["frames_equivalent"].get(metric)), f"{row['dataset']} {row['split']}"
            seeds = str(len(row["seeds"])) + "*" * bool(row["flags"])
            line = [
                place,
                row["arm"],
                frames_cell(row),
                seeds,
                mean_text(entry, metric),
                *differences,
                worth,
                distinct_text(row),
                prepared_text(row),
            ]
            if published:
                line += [own_triple(row["metrics"], metric), published.text(row["arm"])]
            cells.append(line)
    return header, cells


def distinct_text(row: Ranked) -> str:
    """Mean number of distinct objects that a run of the row injected; a dash where none were."""
    return "–" if row["distinct_objects"] is None else f"{row['distinct_objects']:.0f}"


def prepared_text(row: Ranked) -> str:
    """What the arm's objects cost to prepare, in minutes; a dash where nothing was prepared for it alone."""
    seconds = row["prepared_seconds"]
    return "–" if seconds is None else f"{seconds / 60:.1f} min"


def planned_cells(board: Board) -> tuple[list[str], list[list[str]]]:
    """Header and text cells of the planned comparisons."""
    header = [
        "data",
        "frames",
        "comparison",
        "seeds",
        f"difference in {board.headline}",
        "by seeds and scenes",
        "Holm p",
    ]
    cells, digits = [], digits_of(board.headline)
    for entry in board.planned:
        found = entry["difference"]
        seeds = f"{len(found['seeds']) if found else 0} of {len(board.design.seeds)}"
        scenes = found and found.get("two_level")
        both = scenes and scenes["both"]
        span = f"[{both[0]:+.{digits}f}, {both[1]:+.{digits}f}]" if both else "–"
        adjusted = "–" if not found or found["holm"] is None else f"{found['holm']:.2g}"
        plain = difference_text({**found, "holm": None} if found else None, board.headline)
        place, pair = f"{entry['dataset']} {entry['split']}", f"{entry['arm']} - {entry['rival']}"
        cells.append([place, str(entry["frames"] or "all"), pair, seeds, plain, span, adjusted])
    return header, cells


def notes(board: Board) -> list[str]:
    """What stands below the tables: how to read them, and what to know before believing them."""
    stated = board.plan and board.design.stated
    size = len(board.design.comparisons) * len(board.design.frames)
    found = [
        "Mean ± sample deviation over seeds; differences paired by seed, 95 % interval, paired t-test; Holm's p for "
        f"{size} comparisons of {'the plan' if stated else 'arms with none'} on each data set.",
        f"Planned before the first run ({board.plan.written}): everything else here is exploratory."
        if stated and board.plan
        else "No plan was stated before the runs: all of this is exploratory.",
    ]
    if board.plan:
        if board.plan.runs_before:
            found.append(f"The plan was written when {board.plan.runs_before} runs were already finished.")
        found += [f"{event.time}: {event.what}." for event in board.plan.events]
    if board.later:
        found.append(f"Seeds {', '.join(map(str, board.added_seeds))} were added later; they are in no row above.")
    for arm, steps in board.budgets.items():
        found.append(f"Prepared for {arm}: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in steps.items()))
    if any(run.fold for run in board.results):
        found.append("Of n folds: each training had the drives of the other folds, metrics are means over the folds.")
    found += [f"Left out: {line}." for line in board.left_out]
    found += unpaired_notes(board) + tellable(board)
    found += [f"Warning: {line}." for line in arm_warnings(board.objects)]
    found += [ORACLES] if board.objects else []
    for row in board.rows:
        place = f"{row['arm']}, {frames_cell(row)} frames, {row['dataset']} {row['split']}"
        found += [f"* {place}: {flag}" for flag in row["flags"]]
    found += [board.published.note()] if board.published else []
    return found + [f"Failed: {failed.path.parent.name}: {failed.error}" for failed in board.failed]


def unpaired_notes(board: Board) -> list[str]:
    """Why planned comparisons have no pair of runs."""
    return [f"{comparison_name(entry)} has no pair: {entry['why']}." for entry in board.planned if "why" in entry]


def tellable(board: Board) -> list[str]:
    """What the seeds of the planned comparisons can tell, from the spread that their differences showed."""
    lines = []
    means = [abs(entry["mean"]) for row in board.rows if (entry := row["metrics"].get(board.headline))]
    share = max(means, default=0.0) <= 1  # of one, as accuracies are; AP is in percent
    effect, digits = (EFFECT / 100, 3) if share else (EFFECT, 1)
    for entry in board.planned:
        found = entry["difference"]
        if found and found["p"] is not None:
            deviation, count = found["deviation"], len(found["seeds"])
            needed, told = seeds_needed(deviation, effect), detectable_difference(deviation, count)
            lines.append(
                f"{comparison_name(entry)}: {count} seeds tell a difference of {told:.{digits}f} "
                f"with 80 % power at p < 0.05; {effect:g} would take {needed or 'over a thousand'} seeds."
            )
    return lines


def print_board(board: Board) -> None:
    """Print the planned comparisons, the ranking, and the notes."""
    console = Console()
    console = console if console.is_terminal else Console(width=180)
    if board.planned:
        _print(console, "Planned comparisons" if board.design.stated else "Comparisons", *planned_cells(board))
    _print(console, "All rows", *table_cells(board.rows, board.headline, board.published))
    if board.later:
        _print(console, "With seeds added later", *table_cells(board.later, board.headline))
    for note in notes(board):
        print(note)


def _print(console: Console, title: str, header: list[str], cells: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < 2 else "right")
    for line in cells:
        table.add_row(*(cell.replace("[", r"\[") for cell in line))
    console.print(table)


def markdown(board: Board) -> str:
    """The planned comparisons, the ranking and the notes as Markdown."""
    parts = [markdown_table(*planned_cells(board))] if board.planned else []
    parts.append(markdown_table(*table_cells(board.rows, board.headline, board.published)))
    if board.later:
        parts += ["With seeds added later:", markdown_table(*table_cells(board.later, board.headline))]
    return "\n\n".join([*parts, *(_cell(note) for note in notes(board))]) + "\n"


def markdown_table(header: list[str], cells: list[list[str]]) -> str:
    """A table of text cells."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *cells]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """A text that ends no cell, no row, and starts no tag."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


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

"""Ranks recorded runs: means over paired seeds, differences with intervals and tests, an arm's worth in labels."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from datamodules.errors import InputError
from lit.arguments import closest
from lit.experiments.published import LEVELS, Published, own_triple
from lit.experiments.statistics import equivalent_frames, paired_difference
from lit.results import Result

BASELINE = "none"
PREFERRED = ("car/3d/moderate/0.5", "car/3d/moderate/0.7")  # the first one recorded is the headline
Group = tuple[str, str, str, int | None]  # dataset, split, arm, frames


def build_rows(results: Iterable[Result]) -> list[dict[str, Any]]:
    """One row per arm and number of frames (per data set and split).

    Returns:
        Rows ``{"arm", "frames", "seeds", "metrics": {name: {"mean", "std", "values", "vs"}}, ...}``; ``values``
        follow ``seeds``, ``std`` is the sample deviation (None for one seed).
    """
    groups: dict[Group, dict[int, Result]] = defaultdict(dict)
    for result in results:
        if result.error is None and result.metrics:
            groups[(result.dataset, result.split, result.arm, result.frames)][result.seed] = result
    return [_row(key, groups) for key in groups]


def _row(key: Group, groups: dict[Group, dict[int, Result]]) -> dict[str, Any]:
    dataset, split, arm, frames = key
    runs = groups[key]
    seeds = sorted(runs)
    names = list(dict.fromkeys(name for seed in seeds for name in runs[seed].metrics))
    rivals = {other[2]: other for other in groups if other[:2] == key[:2] and other[3] == frames and other != key}
    curve = {other[3]: other for other in groups if other[:2] == key[:2] and other[2] == BASELINE and other[3]}
    metrics, worth = {}, {}
    for name in names:
        own = values(runs, name)
        listed = [own.get(seed) for seed in seeds]
        versus = {rival: paired_difference(own, values(groups[other], name)) for rival, other in rivals.items()}
        metrics[name] = {
            "mean": float(np.mean(list(own.values()))),
            "std": float(np.std(list(own.values()), ddof=1)) if len(own) > 1 else None,
            "values": listed,
            "vs": {rival: asdict(found) for rival, found in versus.items() if found},
        }
        if arm != BASELINE and (
            found := equivalent_frames({f: values(groups[g], name) for f, g in curve.items() if f}, own)
        ):
            worth[name] = found
    return {
        "arm": arm, "frames": frames, "seeds": seeds, "metrics": metrics, "frames_equivalent": worth,
        "dataset": dataset, "split": split,
        "human_labels": all(run.content.get("human_labels") is not False for run in runs.values()),
        "injected_objects": _mean(runs.values(), "injected_objects"),
        "images_per_second": _mean(runs.values(), "images_per_second"),
        "duration_seconds": _mean(runs.values(), "duration_seconds"),
    }  # fmt: skip


def values(runs: dict[int, Result], name: str) -> dict[int, float]:
    """Seed to value of one metric, over the runs that have it."""
    return {seed: run.metrics[name] for seed, run in runs.items() if name in run.metrics}


def _mean(runs: Iterable[Result], key: str) -> float | None:
    found = [float(run.content[key]) for run in runs if run.content.get(key) is not None]
    return float(np.mean(found)) if found else None


def headline_metric(rows: list[dict[str, Any]], wanted: str | None) -> str:
    """The metric to rank by.

    Raises:
        InputError: when no run has it, or no run has any metric.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    if wanted is not None and wanted not in names:
        raise InputError(
            f"no run has the metric '{wanted}': expected one of {', '.join(names) or 'none'}{closest(wanted, names)}"
        )
    if not names:
        raise InputError("no finished run among the records; the log.txt beside a failed record says why")
    return wanted or next((name for name in PREFERRED if name in names), names[0])


def rank_key(row: dict[str, Any], metric: str) -> tuple[Any, ...]:
    """Few labels first (that is where augmentation matters), then the best by difference to "none".

    The paired difference ranks fairly when some seeds are still missing; without the baseline the mean ranks.
    """
    entry = row["metrics"].get(metric)
    if entry is None:
        score = float("-inf")
    elif row["arm"] == BASELINE:
        score = 0.0
    else:
        score = entry["vs"].get(BASELINE, {"delta": entry["mean"]})["delta"]
    return row["dataset"], row["split"], row["frames"] or 10**9, -score, row["arm"] == BASELINE, row["arm"]


def rivals(rows: list[dict[str, Any]]) -> list[str]:
    """Arms that the tables compare with: the usual baselines that are there."""
    arms = {row["arm"] for row in rows}
    return [arm for arm in (BASELINE, "copy_paste") if arm in arms]


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


def frames_cell(row: dict[str, Any]) -> str:
    """``50``, ``all``, or ``50 unlabelled`` for runs that saw no human label."""
    return str(row["frames"] or "all") + ("" if row["human_labels"] else " unlabelled")


def table_cells(
    rows: list[dict[str, Any]], metric: str, published: Published | None = None
) -> tuple[list[str], list[list[str]]]:
    """Header and text cells of the ranking by one metric; rows without it are left out."""
    against = rivals(rows)
    header = ["arm", "frames", "seeds", metric, *(f"minus {arm}" for arm in against), "worth labelled frames"]
    header += [LEVELS, published.label] if published else []
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


def print_table(rows: list[dict[str, Any]], metric: str, published: Published | None = None) -> None:
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
    rows: list[dict[str, Any]], metric: str, failures: Sequence[Result], published: Published | None = None
) -> str:
    """The ranking as Markdown, failures below it."""
    header, cells = table_cells(rows, metric, published)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *cells]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text += "\n\nMean ± sample deviation over seeds; differences paired by seed, 95 % interval, paired t-test.\n"
    text += f"\n{published.note()}\n" if published else ""
    return text + "".join(f"\nFailed: {failed.path.parent.name}: {failed.error}\n" for failed in failures)


def csv_table(rows: list[dict[str, Any]], published: Published | None = None) -> str:
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

"""Ranks recorded runs: means over paired seeds, differences with intervals and tests, an arm's worth in labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from datamodules.errors import InputError, closest
from lit.experiments.statistics import equivalent_frames, paired_difference
from lit.results import Result

BASELINE = "none"
PREFERRED = ("car/3d/moderate/0.5", "car/3d/moderate/0.7")  # the first one recorded is the headline
Ranked = dict[str, Any]
Group = tuple[str, str, str, int | None]  # dataset, split, arm, frames


def build_rows(results: Iterable[Result]) -> list[Ranked]:
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


def _row(key: Group, groups: dict[Group, dict[int, Result]]) -> Ranked:
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


def headline_metric(rows: list[Ranked], wanted: str | None) -> str:
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


def rank_key(row: Ranked, metric: str) -> tuple[Any, ...]:
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


def rivals(rows: list[Ranked]) -> list[str]:
    """Arms that the tables compare with: the usual baselines that are there."""
    arms = {row["arm"] for row in rows}
    return [arm for arm in (BASELINE, "copy_paste") if arm in arms]

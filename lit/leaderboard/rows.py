"""Ranks recorded runs: means over paired seeds, differences with intervals and tests, an arm's worth in labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from datamodules.errors import InputError, closest
from lit.experiments.design import BASELINE, Design
from lit.experiments.identical_seeds import identical_seeds
from lit.experiments.statistics import SIGNIFICANT, equivalent_frames, holm, paired_difference
from lit.results import TRAINED, VERSION, Result

PREFERRED = ("car/3d/moderate/0.5", "car/3d/moderate/0.7")  # the first one recorded is the headline
Ranked = dict[str, Any]
Group = tuple[str, str, str, int | None, str]  # dataset, split, arm, frames, recipe
Groups = dict[Group, dict[int, Result]]


def build_rows(results: Iterable[Result]) -> list[Ranked]:
    """One row per arm, number of frames and recipe (per data set and split).

    Seeds whose runs had other code, libraries, contents or options than the row's others make a row of their own, and
    rows are compared only where code, libraries and data agree.

    Returns:
        Rows ``{"arm", "frames", "seeds", "metrics": {name: {"mean", "std", "values", "vs"}}, "flags", ...}``;
        ``values`` follow ``seeds``, ``std`` is the sample deviation (None for one seed), ``flags`` say what a reader
        has to know.

    Raises:
        InputError: two records of the same run.
    """
    groups: Groups = defaultdict(dict)
    for result in results:
        if result.error is None and result.metrics:
            seeds = groups[(result.dataset, result.split, result.arm, result.frames, result.recipe)]
            if result.seed in seeds:
                run = f"arm {result.arm}, {result.frames or 'all'} frames, seed {result.seed}"
                raise InputError(
                    f"{result.path} and {seeds[result.seed].path}: two records of {run}, expected one; "
                    "give the folder of one sweep"
                )
            seeds[result.seed] = result
    return [_row(key, groups) for key in groups]


def _row(key: Group, groups: Groups) -> Ranked:
    dataset, split, arm, frames, recipe = key
    runs = groups[key]
    seeds, first = sorted(runs), next(iter(runs.values()))
    names = list(dict.fromkeys(name for seed in seeds for name in runs[seed].metrics))
    alike = {
        other: found for other, found in groups.items() if other[:2] == key[:2] and not apart(first, _first(found))
    }
    beside = {other: found for other, found in groups.items() if other[:2] == key[:2] and other[3] == frames}
    rivals = {other[2]: found for other, found in beside.items() if other in alike and other[2] != arm}
    curve = {other[3]: found for other, found in alike.items() if other[2] == BASELINE and other[3]}
    metrics, worth, flags = {}, {}, _flags(key, groups)
    every = [training for run in runs.values() for training in run.runs]
    for name in names:
        own = values(runs, name)
        versus = {rival: paired_difference(own, values(found, name)) for rival, found in rivals.items()}
        metrics[name] = {
            "mean": float(np.mean(list(own.values()))),
            "std": float(np.std(list(own.values()), ddof=1)) if len(own) > 1 else None,
            "values": [own.get(seed) for seed in seeds],
            "vs": {rival: asdict(found) for rival, found in versus.items() if found},
        }
        if arm != BASELINE and (found := equivalent_frames({f: values(g, name) for f, g in curve.items() if f}, own)):
            worth[name] = found
    return {
        "arm": arm, "frames": frames, "seeds": seeds, "metrics": metrics, "frames_equivalent": worth,
        "dataset": dataset, "split": split, "flags": flags, "claims": not flags,
        "human_labels": all(run.content.get("human_labels") is not False for run in every),
        "injected_objects": _mean(every, "injected_objects"),
        "distinct_objects": _distinct(every),
        "images_per_second": _mean(every, "images_per_second"),
        "duration_seconds": _mean(every, "duration_seconds"),
        "raw": {seed: run.raw for seed, run in runs.items()},
        "apart": {k[2]: apart(first, _first(found)) for k, found in beside.items() if k[2] not in {arm, *rivals}},
        "recipe": recipe, "code": first.key.code if first.key else None,
        "keys": [run.key.digest if run.key else None for _, run in sorted(runs.items())],
        "commits": sorted({str(run.content.get("git_commit")) for run in every}),
        "evaluator": first.content.get("evaluator"),
    }  # fmt: skip


def _first(runs: dict[int, Result]) -> Result:
    return next(iter(runs.values()))


def apart(one: Result, other: Result) -> str:
    """In what two runs differ that are not compared for it; empty where they are.

    They have to share code, libraries, evaluator and data. Weights that one of them alone reads are what its arm is
    about (a pretrained start, a network in its loss); weights that both read have to be the same.
    """
    parts = ["evaluator"] if one.evaluator != other.evaluator else []
    if one.ground != other.ground:
        if one.shared is None or other.shared is None:
            parts.append("the trainings that were scored, of which a record is not at hand")
        else:
            parts += _named(_differing(one.shared, other.shared))
    return " and ".join(parts)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of what two runs share by rule and do not."""
    differing = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    return [n for n in differing if (n in one and n in other) or not n.removeprefix(TRAINED).startswith("model.")]


def _named(names: list[str]) -> list[str]:
    """The same in words."""
    code, versions = ([n for n in names if n.removeprefix(TRAINED).startswith(kind)] for kind in ("code", VERSION))
    read = [name for name in names if name not in {*code, *versions}]
    libraries = dict.fromkeys(name.removeprefix(TRAINED).removeprefix(VERSION) for name in versions)
    parts = ["code"] if code else []
    parts += [f"versions of {', '.join(libraries)}"] if libraries else []
    return parts + ([f"what was read as {', '.join(read)}"] if read else [])


def _flags(key: Group, groups: Groups) -> list[str]:
    """What a reader of a row has to know before believing it."""
    runs, flags = groups[key], []
    own = next(iter(runs.values())).key
    for other in (found for group, found in groups.items() if group[:4] == key[:4] and group != key):
        theirs = next(iter(other.values())).key
        parts = [part for part in ("code", "versions", "contents") if getattr(own, part, 0) != getattr(theirs, part, 0)]
        flags.append(f"seeds {_listed(other)} have other {' and '.join(parts) or 'options'}: a row of their own")
    for one, two in identical_seeds({seed: run.metrics for seed, run in runs.items()}):
        flags.append(f"seeds {one} and {two} agree in every digit: one run counted twice, no claim")
    resumed = [s for s, run in runs.items() if any(t.split == "val" and t.content.get("trained") for t in run.runs)]
    if resumed:
        flags.append(f"seeds {_listed(resumed)} went on from another run's checkpoint")
    return flags


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _distinct(runs: Iterable[Result]) -> float | None:
    """Mean number of distinct objects that a run injected."""
    found = [run.content["injected"].get("distinct") for run in runs if isinstance(run.content.get("injected"), dict)]
    known = [float(count) for count in found if count is not None]
    return float(np.mean(known)) if known else None


def apply_plan(rows: list[Ranked], design: Design, headline: str) -> None:
    """Correct the planned comparisons for their number by Holm's rule, on each data set and split alone.

    A planned comparison without a p-value counts as one that failed, so that leaving runs out gains nothing.

    Args:
        rows: of the planned seeds; their differences take the corrected p as ``holm``.
        design: the plan.
        headline: the metric that decides.
    """
    for place in {(row["dataset"], row["split"]) for row in rows}:
        family = [d for row in rows if (row["dataset"], row["split"]) == place for d in planned(row, design, headline)]
        missing = len(design.comparisons) * len(design.frames) - len(family)
        adjusted = holm([1.0 if d["p"] is None else d["p"] for d in family] + [1.0] * max(missing, 0))
        for difference, p in zip(family, adjusted, strict=False):
            difference["holm"] = None if difference["p"] is None else p


def planned(row: Ranked, design: Design, headline: str) -> list[dict[str, Any]]:
    """A row's planned differences in the metric that decides."""
    rivals = [rival for arm, rival in design.comparisons if arm == row["arm"] and row["frames"] in design.frames]
    versus = row["metrics"].get(headline, {"vs": {}})["vs"]
    return [versus[rival] for rival in rivals if rival in versus and row["claims"]]


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
    """Few labels first (that is where augmentation matters); then what Holm's p tells from "none", then the rest.

    Within better, undecided and worse the paired difference ranks: it is fair when some seeds are still missing.
    Without the baseline the mean ranks.
    """
    entry = row["metrics"].get(metric)
    versus = entry["vs"].get(BASELINE) if entry else None
    told, score = 0, float("-inf")
    if entry:
        score = 0.0 if row["arm"] == BASELINE else versus["delta"] if versus else entry["mean"]
    if versus and versus["holm"] is not None and versus["holm"] < SIGNIFICANT:
        told = 1 if versus["delta"] > 0 else -1
    return row["dataset"], row["split"], row["frames"] or 10**9, -told, -score, row["arm"] == BASELINE, row["arm"]


def rivals(rows: list[Ranked]) -> list[str]:
    """Arms that the tables compare with: the usual baselines that are there."""
    arms = {row["arm"] for row in rows}
    return [arm for arm in (BASELINE, "copy_paste") if arm in arms]

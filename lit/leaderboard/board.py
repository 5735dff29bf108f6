"""All that a leaderboard says, computed once: rows, the planned analysis, what came later, and what to warn of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.errors import InputError, listed
from datamodules.files.typed_json import Identifier, Text, structure
from lit.experiments.design import BASELINE, Design, Plan, read_plan
from lit.experiments.folds import averaged, over_folds
from lit.experiments.published import Published, find_published
from lit.experiments.recorded import read_recorded
from lit.experiments.two_level import RecordedRun, two_level
from lit.leaderboard.arms import ArmObjects, arm_rows, compare_arms
from lit.leaderboard.rows import Ranked, apply_plan, build_rows, headline_metric, rank_key
from lit.results import RESULT_FILE, Result, find_results, read_record

DRAWS = 400  # of the bootstrap: the ends of an interval move by a few percent of its width
AGREEMENT = 1e-3  # percent points between a metric and what the frames of its runs add to it


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        results: all records.
        rows: ranked; of the planned seeds where there is a plan.
        later: the same with the seeds that were added later; empty without any.
        headline: the metric that decides.
        design: the plan that the rows are analysed by; one that follows from the arms when none was stated.
        plan: as the sweep left it.
        planned: the planned comparisons, one entry each.
        published: a publication's figures for a column of their own.
        budgets: arm to what its objects cost to prepare: step and seconds.
        objects: what each arm injected, compared with the others.
        left_out: a line for each run of which folds are missing.
    """

    results: list[Result]
    rows: list[Ranked]
    later: list[Ranked]
    headline: str
    design: Design
    plan: Plan | None = None
    planned: list[dict[str, Any]] = field(default_factory=list)
    published: Published | None = None
    budgets: dict[str, dict[str, float]] = field(default_factory=dict)
    objects: list[ArmObjects] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Result]:
        """Records of failed runs."""
        return [result for result in self.results if result.error is not None]

    @property
    def added_seeds(self) -> list[int]:
        """Seeds that were not planned."""
        return sorted({result.seed for result in self.results} - set(self.design.seeds)) if self.plan else []

    def plain(self) -> dict[str, Any]:
        """Everything but the records, as plain values."""
        return {
            "headline": self.headline,
            "plan": None if self.plan is None else msgspec.to_builtins(self.plan),
            "planned": self.planned,
            "rows": self.rows,
            "with_added_seeds": self.later,
            "budgets": self.budgets,
            "injected": arm_rows(self.objects),
        }


def read_board(places: Sequence[Path], metric: str | None = None, sweeps: Sequence[Path] = ()) -> Board:
    """Read records and what sweeps left beside them, and analyse them.

    Args:
        places: folders that are searched for records, or records.
        metric: the metric to rank by; the plan's, or the usual one, when None.
        sweeps: folders with plans and published figures; the folders among ``places`` when empty.

    Raises:
        InputError: no record is found, one is broken or there twice, or no run has the metric.
    """
    results = list(find_results(places))
    folders = list(sweeps) or [place for place in places if place.is_dir()]
    plans = [plan for folder in folders if (plan := read_plan(folder))]
    plan = plans[0] if len(plans) == 1 else None  # of several sweeps none is the plan of all
    published = find_published(folders)
    runs, left_out = over_folds(results)
    if left_out and all(run.error is not None for run in runs):
        raise InputError(f"no run has all its folds: {listed(left_out, 3)}; run the sweep to its end")
    rows = build_rows(run for run in runs if plan is None or run.seed in plan.design.seeds)
    headline = headline_metric(rows, metric or (plan.design.primary if plan else None))
    design = plan.design if plan else implied(rows)
    later = build_rows(runs) if plan and any(r.seed not in design.seeds for r in runs if not r.error) else []
    costs = budgets(folders)
    for table in (rows, later):
        apply_plan(table, design, headline)
        table.sort(key=lambda row: rank_key(row, headline))
        for row in table:  # beside ours, after everything is computed and ranked
            row["published"] = published.by_metric(row["arm"]) if published else {}
            row["prepared_seconds"] = sum(costs[row["arm"]].values()) if row["arm"] in costs else None
    found = comparisons(rows, design, headline)
    for table in (rows, later):
        for row in table:
            del row["raw"], row["apart"]  # of no use to a reader of the tables
    trained = (result for result in results if result.path.name == RESULT_FILE)  # scores of a test set injected nothing
    objects = compare_arms(result for result in trained if plan is None or result.seed in design.seeds)
    return Board(results, rows, later, headline, design, plan, found, published, costs, objects, left_out)


def implied(rows: list[Ranked]) -> Design:
    """The family of comparisons where none was planned: every arm with "none", at every number of frames."""
    arms = dict.fromkeys(row["arm"] for row in rows)
    pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE and BASELINE in arms]
    frames = list(dict.fromkeys(row["frames"] for row in rows if row["arm"] != BASELINE))
    return Design(None, pairs, frames, sorted({seed for row in rows for seed in row["seeds"]}), stated=False)


def comparisons(rows: list[Ranked], design: Design, headline: str) -> list[dict[str, Any]]:
    """The planned comparisons as the page lists them first: one entry a pair, number of frames, data set and split."""
    found = []
    read = cache(read_recorded)  # a row stands in several comparisons
    for dataset, split in dict.fromkeys((row["dataset"], row["split"]) for row in rows):
        for frames in design.frames:
            for arm, rival in design.comparisons:
                here = (dataset, split, arm, frames)
                place = {"dataset": dataset, "split": split, "frames": frames, "arm": arm, "rival": rival}
                own = row_of(rows, here)
                entry = own["metrics"].get(headline, {"vs": {}})["vs"].get(rival) if own else None
                if entry and own:
                    others = row_of(rows, (dataset, split, rival, frames))
                    entry["two_level"] = over_scenes(own, others, headline, read) if others else None
                    require_agreement(entry, comparison_name(place), headline)
                missing = sorted(set(design.seeds) - set(entry["seeds"])) if entry else list(design.seeds)
                stated = {} if entry else {"why": unpaired(rows, here, rival)}
                found.append({**place, "difference": entry, "missing_seeds": missing, **stated})
    return found


def comparison_name(place: Mapping[str, Any]) -> str:
    """A planned comparison in words."""
    arms, where = f"{place['arm']} - {place['rival']}", f"{place['dataset']} {place['split']}"
    return f"{arms} at {place['frames'] or 'all'} frames ({where})"


def unpaired(rows: list[Ranked], place: tuple[str, str, str, int | None], rival: str) -> str:
    """Why a comparison has no pair of runs."""
    dataset, split, arm, frames = place
    found = {name: row_of(rows, (dataset, split, name, frames)) for name in (arm, rival)}
    here = {row["arm"] for row in rows if (row["dataset"], row["split"], row["frames"]) == (dataset, split, frames)}
    for name, row in found.items():
        if row is None:
            return f"every row of {name} has a flag" if name in here else f"no run of {name}"
    if rival in (apart := found[arm]["apart"]):  # type: ignore[index]  # it is there
        return f"their runs differ in {apart[rival]}"
    return "no seed has the metric in both"


def require_agreement(entry: dict[str, Any], where: str, metric: str) -> None:
    """Refuse records whose metric is not the one that their own frames give.

    Raises:
        InputError: the two differences are farther apart than rounding.
    """
    found = entry["two_level"]
    if found and found["seeds"] == len(entry["seeds"]) and abs(found["delta"] - entry["delta"]) > AGREEMENT:
        raise InputError(
            f"{where}: {metric} differs by {entry['delta']:.3f} in the records and by {found['delta']:.3f} in what "
            "their frames add, expected the same; a record was changed: run it again"
        )


def row_of(rows: list[Ranked], place: tuple[str, str, str, int | None]) -> Ranked | None:
    """The row of a data set, split, arm and number of frames that may make a claim."""
    named = ("dataset", "split", "arm", "frames")
    return next((row for row in rows if tuple(row[name] for name in named) == place and row["claims"]), None)


def over_scenes(
    row: Ranked, other: Ranked, metric: str, read: Callable[[Path, str], RecordedRun]
) -> dict[str, Any] | None:
    """The difference of two rows with intervals over seeds and scenes; None where runs left nothing of their frames.

    Raises:
        InputError: a run's file of frames is missing or damaged.
    """
    runs: list[dict[int, RecordedRun]] = []
    for entry in (row, other):
        runs.append({seed: averaged([read(*file) for file in raw]) for seed, raw in entry["raw"].items() if raw})
    if not runs[0] or not runs[1] or not holds(next(iter(runs[0].values())), metric):
        return None
    found = two_level(runs[0], runs[1], metric, (row["arm"], other["arm"]), DRAWS)
    return None if found is None else asdict(found)


def holds(run: RecordedRun, metric: str) -> bool:
    """Whether a run recorded a metric frame by frame: not every figure is one that frames add to."""
    try:
        run.ap(metric)
    except InputError:
        return False
    return True


class Marker(msgspec.Struct):
    """What a finished preparing step leaves."""

    seconds: Annotated[float, Meta(ge=0)]
    arms: list[Identifier]
    command: list[Text]
    digest: str


def budgets(folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Arm to the seconds of each preparing step that was made for it alone; steps that all arms need are left out.

    Raises:
        InputError: a marker that no sweep wrote.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for path in (path for folder in folders for path in sorted((folder / "prepared").glob("*.json"))):
        content = read_record(path, "a preparing step's marker (delete it and run the sweep again)")
        marker: Marker = structure(path, "", content, Marker)
        for arm in marker.arms:
            found[arm][path.stem] = marker.seconds
    return dict(found)

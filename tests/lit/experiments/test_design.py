"""Plans: written before the first run, never rewritten after it, and what they make of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import InputError
from lit.cli import main
from lit.experiments.design import Design, check_design, note, read_plan, write_plan
from lit.leaderboard.board import read_board
from lit.leaderboard.files import write_all
from lit.leaderboard.tables import notes, tellable
from tests.lit.recorded_runs import METRIC, leave_record

ARMS: dict[str, list[int | None]] = {"none": [50, 200], "lift3d": [50, 200], "mesh": [50]}
ENTRY = {"primary": METRIC, "comparisons": [["lift3d", "none"]]}
DESIGN = Design(METRIC, [("lift3d", "none")], [50], [0, 1, 2])


def test_a_design_takes_its_seeds_and_frames_from_the_grid() -> None:
    found = check_design(Path("g.yaml"), ENTRY, ARMS, [0, 1])
    assert (found.frames, found.seeds, found.stated) == ([50, 200], [0, 1], True)
    free = check_design(Path("g.yaml"), None, ARMS, [0])
    assert free.comparisons == [("lift3d", "none"), ("mesh", "none")]
    assert not free.stated


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"primary": None}, "expected primary"),
        ({"comparisons": []}, "and comparisons"),
        ({"comparisons": [["lift3", "none"]]}, r"no arm 'lift3'.*did you mean 'lift3d'"),
        ({"comparisons": [["mesh", "none"]], "frames": [200]}, r"\[mesh, none\] at 200 frames"),
        ({"comparisons": [["none", "none"]]}, "expected two arms"),
        ({"primry": METRIC}, "unknown key design.primry.*did you mean 'primary'"),
        ({"seeds": [7]}, "design.seeds differ from seeds"),
    ],
)
def test_bad_designs_are_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected.replace("'?", r"'\?")):
        check_design(Path("g.yaml"), {**ENTRY, **changes}, ARMS, [0, 1])


def test_a_plan_is_not_rewritten_once_runs_are_finished(tmp_path: Path) -> None:
    write_plan(tmp_path, "grid", Design(METRIC, [("mesh", "none")], [50], [0]), finished=0)
    first = write_plan(tmp_path, "grid", DESIGN, finished=0)  # nothing was seen yet
    assert first.design == DESIGN
    later = Design("car/3d/moderate/0.3", [("lift3d", "none")], [50], [0, 1, 2, 3])
    for _ in range(2):
        plan = write_plan(tmp_path, "grid", later, finished=6)
    assert plan == read_plan(tmp_path)
    assert (plan.design, plan.written) == (DESIGN, first.written)
    (event,) = plan.events
    assert "after 6 finished runs: primary car/3d/moderate/0.5 became car/3d/moderate/0.3; seeds" in event.what
    path = tmp_path / "design.json"
    path.write_text(path.read_text().replace(METRIC, "car/3d/moderate/0.7"))
    with pytest.raises(InputError, match="changed since it was written"):
        read_plan(tmp_path)
    with pytest.raises(InputError, match="not found"):
        note(tmp_path / "nowhere", "a look")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_plan(tmp_path, "grid", DESIGN, finished=0)
    for seed, step in enumerate((3.0, 3.2, 2.9)):
        leave_record(tmp_path, "none", 50, seed, {METRIC: 10.0 + seed, "car/3d/easy/0.5": 20.0 + seed})
        leave_record(tmp_path, "lift3d", 50, seed, {METRIC: 10.0 + seed + step, "car/3d/easy/0.5": 20.0 - step})
        leave_record(tmp_path, "mesh", 50, seed, {METRIC: 12.0 + seed**2 - step, "car/3d/easy/0.5": 20.0 + step})
    return tmp_path


def test_the_planned_analysis_comes_first_and_added_seeds_apart(runs: Path, tmp_path: Path) -> None:
    before = read_board([runs])
    (entry,) = before.planned
    assert (entry["arm"], entry["rival"], entry["missing_seeds"]) == ("lift3d", "none", [])
    assert entry["difference"]["holm"] == entry["difference"]["p"]  # a family of one
    mesh = next(row for row in before.rows if row["arm"] == "mesh")
    assert mesh["metrics"][METRIC]["vs"]["none"]["holm"] is None  # exploratory
    assert before.later == []
    for arm in ("none", "lift3d"):
        leave_record(runs, arm, 50, 3, {METRIC: 99.0})
    page = tmp_path / "board.html"
    after = write_all([runs], page)
    assert after.rows == before.rows
    assert after.added_seeds == [3]
    assert next(row for row in after.later if row["arm"] == "lift3d")["seeds"] == [0, 1, 2, 3]
    text = page.read_text()
    assert text.index("The planned analysis") < text.index("With seeds added later")
    assert "Seeds 3 were added later" in page.with_suffix(".md").read_text()
    assert json.loads(page.with_suffix(".json").read_text())["plan"]["design"]["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(("metric", "scale", "said"), [(METRIC, 1.0, "0.5"), ("val/accuracy", 0.01, "0.005")])
def test_what_the_seeds_can_tell_is_said_in_the_metric_s_own_scale(
    tmp_path: Path, metric: str, scale: float, said: str
) -> None:
    write_plan(tmp_path, "grid", Design(metric, [("lift3d", "none")], [50], [0, 1, 2]), finished=0)
    for seed, step in enumerate((3.0, 3.2, 2.9)):
        leave_record(tmp_path, "none", 50, seed, {metric: scale * (10.0 + seed)})
        leave_record(tmp_path, "lift3d", 50, seed, {metric: scale * (10.0 + seed + step)})
    (line,) = tellable(read_board([tmp_path]))
    assert f"3 seeds tell a difference of {said} with" in line
    assert f"; {2 * scale:g} would take 2 seeds" in line


def test_a_missing_planned_comparison_still_costs(tmp_path: Path, runs: Path) -> None:
    alone = read_board([runs]).planned[0]["difference"]["p"]
    (tmp_path / "design.json").unlink()
    write_plan(runs, "grid", Design(METRIC, [("lift3d", "none"), ("giraffe", "none")], [50], [0, 1, 2]), finished=0)
    first, second = read_board([runs]).planned
    assert first["difference"]["holm"] == pytest.approx(2 * alone)
    assert (second["difference"], second["missing_seeds"]) == (None, [0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (None, "no run of giraffe"),
        ({"key": "b"}, "their runs differ in code"),
        ({"evaluator": {"name": "kitti", "version": "2"}}, "their runs differ in evaluator"),
        ({"seed": 7}, "no seed has the metric in both"),
        (
            {"stated": {"versions": {"torch": "3"}, "contents": {"data.root": "1", "data.injection.folder": "2"}}},
            "their runs differ in versions of torch and what was read as data.root",
        ),
    ],
)
def test_why_a_planned_comparison_has_no_pair(tmp_path: Path, changes: dict[str, Any] | None, said: str) -> None:
    write_plan(tmp_path, "grid", Design(METRIC, [("giraffe", "none")], [50], [0, 7]), finished=0)
    leave_record(tmp_path, "none", 50, 0, {METRIC: 10.0})
    if changes is not None:
        leave_record(tmp_path, "giraffe", 50, changes.pop("seed", 0), {METRIC: 11.0}, **changes)
    board = read_board([tmp_path])
    assert board.planned[0]["difference"] is None
    assert notes(board).count(f"giraffe - none at 50 frames (road_world val) has no pair: {said}.") == 1
    assert "apart" not in board.rows[0]


def test_a_sweep_states_its_plan_before_it_runs(toy_folder: Path) -> None:
    design = f"design: {{primary: {METRIC}, comparisons: [[lift3d, none]]}}\nseeds:"
    grid = (toy_folder / "grid.yaml").read_text().replace("seeds:", design).replace("[50, 100]", "[50]")
    (toy_folder / "grid.yaml").write_text(grid)
    assert main(["sweep", "grid.yaml", "--seeds", "0"]) == 0
    plan = read_plan(toy_folder / "runs/grid")
    assert plan is not None
    assert (plan.design.seeds, plan.design.stated, plan.runs_before) == ([0, 1], True, 0)
    board = read_board([toy_folder / "runs/grid"])
    assert board.planned[0]["missing_seeds"] == [1]

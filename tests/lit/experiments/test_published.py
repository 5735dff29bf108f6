"""A paper's figures: checked in the grid file, shown in every table, and outside of every rank and statistic."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from datamodules.errors import InputError
from lit.experiments.published import FILE, check_published, find_published
from lit.leaderboard.files import write_all
from lit.results import write_record
from tests.lit.recorded_runs import leave_record

ENTRY: dict[str, Any] = {
    "source": "Paper, Table 1;\n KITTI val",
    "metric": "car/3d/moderate/0.7",
    "arms": {"none": [21.57, 15.51, 13.58], "lift3d": [1, 18.09, None]},
    "others": {"SDF-Label": [1.23, 0.54, None]},
}
ARMS = ["none", "lift3d", "mesh"]


def checked(**changes: object) -> Any:
    return check_published(Path("grid.yaml"), ENTRY | changes, ARMS)


def record(root: Path, arm: str, seed: int, value: float, **more: Any) -> None:
    metrics = {"car/3d/easy/0.5": value + 4, "car/3d/moderate/0.5": value, "car/3d/hard/0.5": value - 2}
    metrics |= {name.replace("0.5", "0.7"): figure / 2 for name, figure in metrics.items()}
    leave_record(root, arm, 50, seed, metrics, **more)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(3):
        record(tmp_path, "none", seed, 10.0 + seed)
        record(tmp_path, "lift3d", seed, 12.0 + 2 * seed)
        record(tmp_path, "mesh", seed, 13.0 + 0.1 * seed, human_labels=False)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arms": {"lift3": [1, 2, 3]}}, r"published\.arms\.lift3: no such arm.*did you mean 'lift3d'"),
        ({"arms": {"lift3d": [1, 2]}}, r"published\.arms\.lift3d is \[1, 2\], expected three numbers"),
        ({"arms": {"lift3d": [1, 2, "3"]}}, "expected three numbers"),
        ({"arms": {"lift3d": [1, 2, True]}}, "expected three numbers"),
        ({"arms": {"lift3d": [1, 2, 10**400]}}, "expected three numbers"),
        ({"others": [1]}, r"published\.others is \[1\], expected `object`"),
        ({"metric": "car/3d/easy/0.7"}, "expected a moderate one"),
        ({"source": None}, r"published\.source is None, expected `str`"),
        ({"arm": {}}, r"unknown key published\.arm,.*did you mean 'arms'"),
    ],
)
def test_bad_figures_are_one_line(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        checked(**changes)
    assert "\n" not in str(caught.value)


def test_figures_survive_their_file(tmp_path: Path) -> None:
    write_record(tmp_path / "a" / FILE, to_builtins(checked()))
    found = find_published([tmp_path / "a"])
    assert found is not None
    assert found.text("lift3d") == "1.00 / 18.09 / –"
    assert found.text("mesh") == "–"
    assert found.by_metric("lift3d") == {"car/3d/easy/0.7": 1.0, "car/3d/moderate/0.7": 18.09}
    assert find_published([tmp_path]) is None
    write_record(tmp_path / "b" / FILE, to_builtins(checked(source="another table")))
    assert find_published([tmp_path / "a", tmp_path / "b"]) is None
    (tmp_path / "b" / FILE).write_text('{"rows": 1}')
    with pytest.raises(InputError, match="expected a sweep's published figures"):
        find_published([tmp_path / "b"])


def test_figures_change_no_rank_and_no_statistic(runs: Path, tmp_path: Path) -> None:
    plain = write_all([runs], tmp_path / "plain.html").rows
    before = (tmp_path / "plain.md").read_text()
    write_record(runs / FILE, to_builtins(checked()))
    page = tmp_path / "with.html"
    rows = write_all([runs], page).rows
    assert [row["arm"] for row in rows] == [row["arm"] for row in plain] == ["lift3d", "mesh", "none"]
    for row, other in zip(rows, plain, strict=True):
        assert {**row, "published": {}} == other
    assert json.loads(page.with_suffix(".json").read_text())["rows"] == rows
    text = page.with_suffix(".md").read_text()
    assert "| easy / moderate / hard | paper, car/3d 0.7 |" in text
    assert "| 18.00 / 14.00 / 12.00 | 1.00 / 18.09 / – |" in text  # ours, at the headline's IoU of 0.5, and theirs
    assert "Paper: Paper, Table 1; KITTI val" in text
    assert "SDF-Label 1.23 / 0.54 / –" in text
    assert "paper" not in before
    html = page.read_text()
    assert "<th>paper, car/3d 0.7</th>" in html
    assert ">21.57 / 15.51 / 13.58</td>" in html
    table = list(csv.DictReader(page.with_suffix(".csv").open()))
    stated = {(line["arm"], line["metric"]): line["paper"] for line in table if line["paper"]}
    assert stated[("none", "car/3d/hard/0.7")] == "13.58"
    assert len(stated) == 5  # never in the line of another IoU


def test_rows_without_human_labels_say_so(runs: Path, tmp_path: Path) -> None:
    write_all([runs], tmp_path / "board.html")
    assert "| road_world val | mesh | 50 unlabelled | 3 |" in (tmp_path / "board.md").read_text()
    assert "<b>mesh</b> at 50 unlabelled frames on road_world (val)" in (tmp_path / "board.html").read_text()

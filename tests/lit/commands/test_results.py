"""Published results: every figure follows from the records beside it, and a changed one is told."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from lit.cli import main
from lit.experiments.archive import unpack_records
from lit.experiments.design import Design, write_plan
from lit.results import read_record, write_record
from tests.lit.recorded_runs import METRIC, leave_record

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    sweep = tmp_path / "runs/grid"
    write_plan(sweep, "grid", Design(METRIC, [("lift3d", "none")], [50], [0, 1, 2]), finished=0)
    for seed, step in enumerate((3.0, 3.4, 2.9)):
        leave_record(sweep, "none", 50, seed, {METRIC: 10.0 + seed})
        leave_record(sweep, "lift3d", 50, seed, {METRIC: 10.0 + seed + step})
    assert main(["results", "pack", str(sweep), "--out", str(tmp_path / "docs/grid")]) == 0
    return tmp_path / "docs"


def test_packed_results_are_checked(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "check", str(packed)]) == 0
    assert "every figure follows from its raw records" in capsys.readouterr().out
    before = hashlib.sha256((packed / "grid/records.zip").read_bytes()).digest()
    assert main(["results", "pack", str(packed.parent / "runs/grid"), "--out", str(packed / "grid")]) == 0
    assert hashlib.sha256((packed / "grid/records.zip").read_bytes()).digest() == before


@pytest.mark.parametrize("suffix", [".json", ".csv", ".md"])
def test_a_figure_that_does_not_follow_is_named(packed: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = packed / f"grid/leaderboard{suffix}"
    mean = {".json": "14.1", ".csv": "14.1", ".md": "14.10 "}[suffix]
    assert mean in path.read_text()
    path.write_text(path.read_text().replace(mean, mean.replace("14.1", "15.1"), 1))
    assert main(["results", "check", str(packed)]) == 1
    assert f"leaderboard{suffix}: " in capsys.readouterr().out


def test_the_overview_says_what_each_arm_gained(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = packed / "overview.md"
    assert main(["results", "overview", str(packed), "--out", str(page)]) == 0
    text = page.read_text()
    assert capsys.readouterr().out.endswith(text)
    assert text.count("## ") == 1
    (row,) = [line for line in text.splitlines() if line.startswith("| lift3d |")]
    assert row.startswith("| lift3d | grid | 3 | 14.10 ± 0.98 | +3.10 [+2.44, +3.76] | – | ")
    planned = json.loads((packed / "grid/leaderboard.json").read_text())["planned"][0]["difference"]
    assert row.endswith(f"| {planned['p']:.2g} | {planned['holm']:.2g} |")
    assert main(["results", "check", str(packed)]) == 0
    page.write_text(text.replace("+3.10", "+4.10"))
    assert main(["results", "check", str(packed)]) == 1
    assert "overview.md: says otherwise than the tables" in capsys.readouterr().out


def test_an_overview_needs_tables_with_nothing_inserted(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(folder: Path) -> str:
        assert main(["results", "overview", str(folder)]) == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        return error

    assert "holds no records.zip" in refusal(tmp_path / "runs")
    table = packed / "grid/leaderboard.json"
    content = json.loads(table.read_text())
    table.write_text(json.dumps({**content, "rows": [row for row in content["rows"] if row["arm"] == "none"]}))
    assert "no grid has car/3d/moderate/0.5 of an arm beside none" in refusal(packed)
    table.write_text(json.dumps({**content, "rows": [{"arm": "none"}]}))
    assert "expected a leaderboard" in refusal(packed)
    table.unlink()
    assert "pack the sweep again" in refusal(packed)


def test_damaged_archives_are_refused(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = packed / "grid/records.zip"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert main(["results", "check", str(packed)]) == 2
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.json", "{}")
    assert main(["results", "check", str(packed)]) == 2
    assert "'../outside.json'" in capsys.readouterr().err
    assert not (tmp_path / "outside.json").exists()
    assert main(["results", "check", str(tmp_path / "runs")]) == 2
    assert "holds no records.zip" in capsys.readouterr().err


def test_what_this_project_publishes_follows_from_its_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "check", str(ROOT / "docs/results")]) == 0
    assert "every figure follows" in capsys.readouterr().out


def test_published_rows_say_commit_key_and_evaluator(packed: Path) -> None:
    for row in json.loads((packed / "grid/leaderboard.json").read_text())["rows"]:
        assert row["commits"] == ["c0ffee"]
        assert len(row["keys"]) == 3
        assert row["evaluator"] == {"name": "kitti", "version": "1"}


def test_folders_of_this_machine_may_go_by_another_name(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, out = tmp_path / "runs/grid", tmp_path / "public/grid"
    for path in sweep.rglob("result.json"):
        record = read_record(path, "a record")
        root = {"root": "/srv/kitti", "masks": "/srv/kitti/masks", "other": "/srv/kittiwake"}
        write_record(path, record | {"config": {"data": root, "given": ["data.root=/srv/kitti"]}})
    assert main(["results", "pack", str(sweep), "--out", str(out)]) == 0
    assert "hold 3 absolute paths (/srv/kitti); see --rename" in capsys.readouterr().out
    assert main(["results", "pack", str(sweep), "--out", str(out), "--rename", "/srv/kitti/=data/kitti"]) == 0
    assert "hold 1 absolute paths (/srv/kittiwake)" in capsys.readouterr().out
    assert main(["results", "check", str(out)]) == 0
    unpack_records(out / "records.zip", tmp_path / "unpacked")
    record = read_record(next((tmp_path / "unpacked").rglob("result.json")), "a record")
    assert record["config"]["data"] == {"root": "data/kitti", "masks": "data/kitti/masks", "other": "/srv/kittiwake"}
    assert record["config"]["given"] == ["data.root=data/kitti"]
    assert record["renamed"] == ["data/kitti"]
    assert main(["results", "pack", str(sweep), "--out", str(out), "--rename", "kitti=data"]) == 2
    assert "--rename kitti=data: expected FOLDER=NAME, an absolute path" in capsys.readouterr().err

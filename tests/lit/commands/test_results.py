"""Published results: every figure follows from the records beside it, and a changed one is told."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from lit.cli import main
from lit.experiments.design import Design, write_plan
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

"""The bench of trainings: its command lines are taken, and its record says what failed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import InputError
from lit import ROOT
from lit.commands.bench.training import command as bench
from lit.commands.bench.training.cases import BY_NAME, CASES, SETS, places_of
from lit.commands.bench.training.device_render import measure_render
from lit.trainer_cli import resolve

PLACES = ("world", "surround", "small", "bank", "backbone", *SETS)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Nothing is written or trained; the command lines that would be run."""
    lines: list[list[str]] = []

    def fit(line: list[str], limit: float | None) -> str:
        lines.append(line)
        path = next((word.partition("=")[2] for word in line if word.startswith("--trainer.callbacks.path=")), None)
        if "centernet3d_injected" in str(path):
            return "status 2: error: no bank"
        if path is not None:
            speed = 6.0 if "injected" in path else 8.0
            found = {"pictures_per_second": speed, "seconds_per_step": 2 / speed, "cpu_seconds_per_step": 1 / speed**2}
            Path(path).write_text(json.dumps({**found, "share": {"data": 0.25}}))
        return "" if path is not None else "not done after 1 s"

    monkeypatch.setattr(bench, "write_inputs", lambda *_: {name: tmp_path / name for name in PLACES})
    monkeypatch.setattr(bench, "_fit", fit)
    return lines


def test_the_record(quick: list[list[str]], tmp_path: Path) -> None:
    record = bench.run(tmp_path / "out.json", dry_run=True)
    assert json.loads((tmp_path / "out.json").read_text()) == record
    assert record["dry_run"]
    assert record["machine"]["cores"] >= 1
    assert set(record["trainings"]) == set(CASES)
    assert record["injected_share"] == {"fcos3d": 0.75, "fcos3d_cpu": pytest.approx(0.75**2)}
    assert record["trainings"]["lift3d"]["pictures_per_second"] == 8.0
    assert record["trainings"]["centernet3d_injected"] == {"failed": "status 2: error: no bank"}
    assert record["short_training"] == {"failed": "not done after 1 s"}
    assert record["render"]["ms_per_object_1"] > 0


@pytest.mark.parametrize("name", [name for name, case in {**CASES, **BY_NAME}.items() if case.module == "torch"])
@pytest.mark.parametrize("tiny", [True, False])
def test_command_lines_are_taken(name: str, tiny: bool, tmp_path: Path) -> None:
    places = {place: tmp_path / place for place in PLACES}
    resolved: dict[str, Any] = resolve(bench.command_line({**CASES, **BY_NAME}[name], places, tmp_path / "run", tiny))
    assert resolved["trainer"]["devices"] in (1, "1")


def test_only_what_is_read_is_written() -> None:
    assert places_of([CASES["fcos3d"]], tiny=True) == {"surround"}
    assert places_of([CASES["fcos3d_injected"]], tiny=False) == {"surround", "bank", "backbone"}
    assert places_of([BY_NAME["g3dr"]], tiny=False) == {"posed128"}


def test_the_renderer_is_measured() -> None:
    assert measure_render("cpu", tiny=True)["ms_per_object_1"] > 0


def test_bad_names_and_options_are_one_line() -> None:
    with pytest.raises(InputError, match=r"--only centernet: expected one of centernet3d.*did you mean 'centernet3d'"):
        bench.run(only=["centernet"])
    done = subprocess.run([ROOT / "scripts/gpu_bench.sh", "--wrong"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: --wrong: expected --out FILE.json or --dry-run\n")

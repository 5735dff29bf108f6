from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.cli import main
from lit.commands.bench.starting.nuscenes_tables import run


def test_a_first_start_and_the_next_one(tmp_path: Path) -> None:
    measured = run(tmp_path / "out.json", share=[0.001, 0.002], devkit=False)
    assert (measured["tables_samples_0.001"], measured["tables_samples_0.002"]) == (80, 80)
    for name in ("cold", "warm"):
        assert measured[f"tables_{name}_seconds_0.002"] > 0
    assert (tmp_path / "out.json").is_file()


def test_no_figure_without_tables_or_a_place_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--root", str(tmp_path / "none")], f"--root {tmp_path / 'none'}: no such folder"),
        (["--root", str(tmp_path)], "the reader stopped: "),
        (["--out", str(tmp_path)], f"--out {tmp_path}: cannot be written (Is a directory)"),
    ):
        assert main(["bench", "nuscenes-tables", *words]) == 2
        (line,) = capsys.readouterr().err.strip().split("\n")
        assert said in line
        assert "datamodules." not in line


def test_a_share_that_is_none() -> None:
    with pytest.raises(InputError, match="--share 0: expected above 0"):
        run(share=0)

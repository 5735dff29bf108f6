"""The command line: bad input is one line and status 2, help needs no torch, and options reach their classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.cli import ROOT, check_packages, main, one_line
from tests.lit.toy_training import EXPERIMENT


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf" / "injection").mkdir(parents=True)
    (tmp_path / "conf" / "injection" / "toy.yaml").write_text("class_path: tests.lit.toy_training.ToyInjection\n")
    (tmp_path / "conf" / "injection" / "none.yaml").write_text("null\n")
    (tmp_path / "conf" / "injection" / "empty.yaml").write_text("# class_path: lost\n")
    path = tmp_path / "conf" / "toy.yaml"
    path.write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run, expect status 2 and exactly one line on stderr; return it."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_help_and_a_misspelt_command_do_not_import_torch() -> None:
    code = "import sys; from lit.cli import main; print(main(['--help']), main(['swep']), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("0 2 False\n")
    assert "did you mean 'sweep'?" in done.stderr


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--data.injectoin", "null"], "did you mean 'injection'?"),
        (["--data.train_frames", "many"], "data.train_frames: got 'many', expected int or null"),
        (["--trainer.max_stps", "3"], "did you mean 'trainer.max_steps'?"),
        (["--data.injection", "conf/injection/tyo.yaml"], "did you mean 'toy.yaml'?"),
        (["--data.injection=conf/injection/empty.yaml"], "conf/injection/empty.yaml: empty, expected a configuration"),
        (["--ckpt_path", "gone.ckpt"], "--ckpt_path gone.ckpt: no such file"),
        (["--model.rate", "fast"], "model.rate: got 'fast', expected float"),
        (["--model", "tests.lit.toy_training.ToyModle"], "did you mean 'ToyModel'?"),
        (["--model", "nowhere.at.All"], "model: no module 'nowhere'; check the class_path"),
        (["--data.injection", "collections.OrderedDict"], "does not correspond to a subclass of ToyInjection"),
        (["--data.injection.cuont", "[1, 2]"], "ToyInjection has no option 'cuont'; did you mean 'count'?"),
        (["--trainer.callbacks", "[{class_path: lit.callbacks.record.Recrod}]"], "did you mean 'Record'?"),
        (["--data.broken", "true"], "label_2/000003.txt:2: 14 columns"),
    ],
)
def test_bad_options_are_one_line(
    experiment: Path, capsys: pytest.CaptureFixture[str], extra: list[str], expected: str
) -> None:
    assert expected in refused(capsys, "fit", "-c", experiment, *extra)


def test_bad_files_are_one_line(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no file" in refused(capsys, "fit", "-c", "conf/tyo.yaml")
    experiment.write_text(EXPERIMENT + "modle: 3\n")
    assert "option 'modle' is not known; did you mean 'model'?" in refused(capsys, "fit", "-c", experiment)
    experiment.write_text("model: {class_path: [\n")
    refused(capsys, "fit", "-c", experiment)


def test_own_commands_refuse_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected one of kitti" in refused(capsys, "prepare", "kiti", "--root", tmp_path)
    assert "--train" in refused(capsys, "prepare", "world", "--root", tmp_path, "--trian", "3")
    assert "integer >= 1" in refused(capsys, "prepare", "world", "--root", tmp_path, "--train", "0")
    assert "no such folder" in refused(capsys, "leaderboard", tmp_path / "absent")
    for name in ("board.csv", "board.json", "board.md", "board"):
        said = refused(capsys, "leaderboard", tmp_path, "--out", tmp_path / name)
        assert f"{name}: expected a page's name, which ends in .html; board.html gets CSV, Markdown and JSON" in said
    assert "result.json" in refused(capsys, "leaderboard", tmp_path)
    assert "no grid file" in refused(capsys, "sweep", tmp_path / "grid.yaml")
    assert "expected one of render" in refused(capsys, "bench", "rendr")


def test_injection_file_option_and_null(experiment: Path) -> None:
    from lit.trainer_cli import resolve

    base = ["fit", "-c", str(experiment)]
    given = resolve([*base, "--data.injection", "conf/injection/toy.yaml", "--data.injection.probability", "0.3"])
    assert given["data"]["init_args"]["injection"] == {
        "class_path": "tests.lit.toy_training.ToyInjection",
        "init_args": {"probability": 0.3, "count": [1, 3]},
    }
    for nothing in ("null", "conf/injection/none.yaml"):
        assert resolve([*base, "--data.injection", nothing])["data"]["init_args"]["injection"] is None


def test_packages_must_be_this_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_packages()
    monkeypatch.setattr("lit.cli.ROOT", tmp_path)
    with pytest.raises(InputError, match="package 'lit' resolves to"):
        check_packages()


def test_worker_errors_keep_only_their_message() -> None:
    wrapped = (
        "Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\ndatamodules.errors.InputError: calib/000001.txt: no P2 row; copy it: all of it'
    )
    assert one_line(InputError(wrapped)) == "calib/000001.txt: no P2 row; copy it: all of it"

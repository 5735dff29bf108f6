"""What every command shares: one line for an error whatever it says, closed pipes, other locales, the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datamodules.errors import InputError
from datamodules.files.training_checkpoints import check_checkpoint
from lit.cli import MOST_LETTERS, ROOT, main, one_line
from tests.lit.detection_training import module

CONFIG = str(ROOT / "conf" / "experiment" / "world_centernet.yaml")


def test_a_message_is_one_short_line_that_a_terminal_takes_literally() -> None:
    text = one_line(InputError("begin \x1b[31mred\n| next " + "x" * 33_000 + " the cure"))
    assert text.isprintable()
    assert len(text) <= MOST_LETTERS
    assert "|" not in text
    assert text.startswith("begin ")
    assert text.endswith("the cure")
    assert one_line(PermissionError(13, "Permission denied", "/a/b")).startswith("/a/b: Permission denied")


def test_a_closed_pipe_ends_quietly() -> None:
    code = "import sys; from lit.cli import main; sys.exit(main(['--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_a_terminal_of_few_letters_stops_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "lit", "prepare", "weights", "--checkpoint", str(tmp_path / "車"), "--out", "x.y"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: --out x.y")
    assert len(done.stderr.splitlines()) == 1


def test_the_home_folder_is_found_behind_an_equals_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["evaluate", "kitti", "--gt=~/none", "--pred", "~/none"]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "validate"])
def test_untrained_weights_are_not_scored(
    command: str, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, "-c", CONFIG, "--data.root", str(tiny_world), "--trainer.default_root_dir", str(tmp_path)]
    assert main(words) == 2
    assert "no --ckpt_path" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_checkpoint_of_another_architecture_is_one_line(
    command: str, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, root = tmp_path / "narrow.ckpt", tmp_path / "run"
    parts: dict[str, object] = {"loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []}
    parts |= {"epoch": 0, "global_step": 1, "pytorch-lightning_version": "2.0.0"}
    torch.save({**parts, "state_dict": module().state_dict()}, checkpoint)  # of a neck with half the channels
    words = [command, "-c", CONFIG, "--data.root", str(tiny_world), "--trainer.default_root_dir", str(root)]
    assert main([*words, "--ckpt_path", str(checkpoint)]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: --ckpt_path {checkpoint}: of another architecture than this configuration's")
    assert line.endswith("expected a checkpoint that this very configuration trained")
    assert not list(root.glob("**/*.json"))


def test_files_that_are_no_checkpoint_are_named(tmp_path: Path) -> None:
    whole = {
        "state_dict": {"a": torch.zeros(2)},
        "pytorch-lightning_version": "2",
        "loops": {},
        "optimizer_states": [],
        "lr_schedulers": [{"total_steps": 5}],
    }
    cases = [
        ([1], "holds a list"),
        ({"a": torch.zeros(1)}, "holds 'a'"),
        ({"state_dict": {}}, "weights without a training"),
        ({**whole, "loops": None}, "holds no loops"),
    ]
    for content, says in cases:
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(InputError, match=says):
            check_checkpoint(tmp_path / "a.ckpt", resumed=True, steps=5)
    torch.save(whole, tmp_path / "a.ckpt")
    check_checkpoint(tmp_path / "a.ckpt", resumed=True, steps=5)
    check_checkpoint(tmp_path / "a.ckpt", resumed=False, steps=9)
    with pytest.raises(InputError, match="schedule ends after 5 steps, expected the 9"):
        check_checkpoint(tmp_path / "a.ckpt", resumed=True, steps=9)
    for name in ("empty", "folder"):
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match=name):
            check_checkpoint(tmp_path / name, resumed=True)


def test_machines_without_a_device_are_one_line(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "-c", CONFIG, "--data.root", str(tiny_world), "--trainer.default_root_dir", str(tmp_path)]
    for extra in (["--trainer.accelerator", "tpu"], ["--trainer.devices", "999", "--trainer.accelerator", "cpu"]):
        assert main([*words, *extra]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()[-1]) <= MOST_LETTERS + 10

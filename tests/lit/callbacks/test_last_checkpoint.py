from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datamodules.files.training_checkpoints import check_checkpoint
from lit.cli import main
from lit.results import read_result
from tests.datamodules.test_processes import gone

LIMIT = 300  # seconds; two processes that wait for each other would wait half an hour


@pytest.mark.slow
def test_processes_with_skewed_clocks_save_together_and_end(toy_folder: Path) -> None:
    words = "fit -c toy.yaml --trainer.devices 2 --trainer.strategy ddp --trainer.default_root_dir run"
    skewed = "--trainer.callbacks+=tests.lit.callbacks.skewed_clocks.SkewedClocks --checkpoint.seconds 500"
    with Path("log.txt").open("w") as log:
        command = [sys.executable, "-m", "lit", *words.split(), *skewed.split()]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pair = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            assert pair.wait(timeout=LIMIT) == 0, Path("log.txt").read_text()[-2000:]
        finally:
            if pair.poll() is None:
                os.killpg(pair.pid, signal.SIGKILL)
    assert (toy_folder / "run" / "last.ckpt").is_file()
    assert read_result(toy_folder / "run" / "result.json").content["steps"] == 4


def test_checkpoints_need_no_folder_of_temporary_files(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(toy_folder / "nowhere"))
    best = "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.dirpath=best"
    assert main(f"fit -c toy.yaml --trainer.default_root_dir run {best}".split()) == 0
    check_checkpoint("run/last.ckpt", resumed=True)
    (kept,) = Path("best").iterdir()
    check_checkpoint(kept, resumed=True)
    assert not list(Path("run").glob(".*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_second_process_ends_with_the_first(toy_folder: Path) -> None:
    words = "fit -c toy.yaml --model.hang true --trainer.devices 2 --trainer.strategy ddp"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with Path("log.txt").open("w") as log:
        command = [sys.executable, "-m", "lit", *words.split()]
        first = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    until = time.monotonic() + LIMIT
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    while not (second := [int(number) for number in children.read_text().split()]):
        assert first.poll() is None, Path("log.txt").read_text()[-2000:]
        assert time.monotonic() < until
        time.sleep(0.1)
    first.kill()
    first.wait()
    assert gone(second)

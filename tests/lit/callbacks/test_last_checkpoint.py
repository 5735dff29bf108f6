from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lit.results import read_result

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

"""A killed training run, resumed from its last checkpoint, goes on with the very losses it would have had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lit.cli import ROOT, main

STEPS, KILLED, EPOCH = 9, 5, 3  # 12 frames in batches of 4: three steps an epoch

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: sums depend on the number of threads


def command(folder: Path, world: Path, log: Path, *extra: str) -> list[str]:
    words = ["fit", "-c", str(ROOT / "conf/experiment/world_centernet.yaml"), "--data.root", str(world)]
    words += ["--data.batch_size", "4", "--data.workers", "0", "--data.size", "[96, 320]", "--data.train_frames", "12"]
    words += ["--trainer.max_steps", str(STEPS), "--trainer.max_epochs", "-1", "--trainer.limit_val_batches", "1"]
    words += ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(folder)]
    words += ["--data.samples_per_epoch", "12", "--checkpoint.seconds", "0"]
    words += ["--data.injection", str(ROOT / "conf/injection/world_renderer.yaml")]
    return [*words, "--trainer.callbacks+=tests.lit.toy_training.LossLog", f"--trainer.callbacks.path={log}", *extra]


def losses(log: Path) -> dict[int, str]:
    return {int(step): loss for step, loss in (line.split() for line in log.read_text().splitlines())}


def test_kill_and_resume_gives_the_same_losses(tiny_world: Path, tmp_path: Path) -> None:
    assert main(command(tmp_path / "whole", tiny_world, tmp_path / "whole.txt")) == 0
    killed = command(tmp_path / "cut", tiny_world, tmp_path / "cut.txt", f"--trainer.callbacks.kill_after={KILLED}")
    done = subprocess.run(
        [sys.executable, "-m", "lit", *killed], cwd=ROOT, capture_output=True, check=False, env=ONE_THREAD
    )
    assert done.returncode == 9, done.stderr
    assert not (tmp_path / "cut" / "result.json").exists()
    assert main(command(tmp_path / "cut", tiny_world, tmp_path / "resumed.txt", "--ckpt_path", "last")) == 0
    whole, cut, resumed = (losses(tmp_path / f"{name}.txt") for name in ("whole", "cut", "resumed"))
    assert list(resumed) == list(range(EPOCH + 1, STEPS + 1))
    assert cut == {step: whole[step] for step in range(1, KILLED + 1)}
    assert resumed == {step: whole[step] for step in resumed}
    assert (tmp_path / "cut" / "result.json").is_file()

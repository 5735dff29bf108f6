"""FCOS3D on six cameras, run as users run it: killed and resumed, and on two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lit.cli import ROOT, main
from lit.results import read_result, result_file
from tests.lit.test_resume import EPOCH, KILLED, ONE_THREAD, STEPS, losses

pytest.importorskip("mmdet3d")


def command(folder: Path, world: Path, steps: int, *extra: str) -> list[str]:
    """Words of a training on the tiny surround world: 24 pictures in batches of 8, three steps an epoch."""
    words = ["fit", "-c", str(ROOT / "conf/experiment/nuscenes_fcos3d_world.yaml"), "--data.root", str(world)]
    for split in ("train", "val"):
        words += [f"--data.{split}_split", str(world / "ImageSets" / f"{split}.txt")]
    words += ["--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false"]
    return [*words, "--trainer.default_root_dir", str(folder), *extra]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lit", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=ONE_THREAD, text=True)


def test_kill_and_resume_gives_the_same_losses(tiny_surround: Path, tmp_path: Path) -> None:
    """With injection, augmentation, batch statistics and the optimiser's state."""

    def words(name: str, log: str, *extra: str) -> list[str]:
        injection = ["--data.injection", str(ROOT / "conf/injection/surround_world_renderer.yaml")]
        callback = ["--trainer.callbacks+=tests.lit.toy_training.LossLog", f"--trainer.callbacks.path={tmp_path / log}"]
        brief = ["--checkpoint.seconds", "0", "--trainer.limit_val_batches", "1"]
        return command(tmp_path / name, tiny_surround, STEPS, *injection, *brief, *callback, *extra)

    assert main(words("whole", "whole.txt")) == 0
    killed = run(words("cut", "cut.txt", f"--trainer.callbacks.kill_after={KILLED}"))
    assert killed.returncode == 9, killed.stderr
    assert main(words("cut", "resumed.txt", "--ckpt_path", "last")) == 0
    whole, cut, resumed = (losses(tmp_path / f"{name}.txt") for name in ("whole", "cut", "resumed"))
    assert list(resumed) == list(range(EPOCH + 1, STEPS + 1))
    assert cut == {step: whole[step] for step in range(1, KILLED + 1)}
    assert resumed == {step: whole[step] for step in resumed}


@pytest.mark.slow
def test_two_processes_equal_one(tiny_surround: Path, tmp_path: Path) -> None:
    """Two processes train together; two and one that test the weights submit the same boxes and score the same."""
    loose = ["--model.detector.overrides", "{test_cfg: {score_thr: 0.0, max_per_img: 20}}"]
    everything = ["--data.val_split", str(tiny_surround / "ImageSets" / "trainval.txt"), *loose]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "4"]
    trained = run([*command(tmp_path, tiny_surround, 3), *two])
    assert trained.returncode == 0, trained.stderr
    weights = ["--ckpt_path", str(tmp_path / "last.ckpt")]
    test_two = ["test", *command(tmp_path / "two", tiny_surround, 3, *everything, *weights, *two)[1:]]
    tested = run(test_two)
    assert tested.returncode == 0, tested.stderr
    assert main(["test", *command(tmp_path / "one", tiny_surround, 3, *everything, *weights)[1:]]) == 0
    found, expected = (read_result(tmp_path / name / result_file("test")).metrics for name in ("two", "one"))
    assert len(expected) > 50
    assert found == pytest.approx(expected, nan_ok=True)
    two_boxes, one_boxes = (submitted(tmp_path / name) for name in ("two", "one"))
    assert list(two_boxes) == list(one_boxes)
    assert min(map(len, one_boxes.values())) > 10
    for token, rows in one_boxes.items():
        np.testing.assert_allclose(two_boxes[token], rows, rtol=1e-6, atol=1e-6)


def submitted(folder: Path) -> dict[str, np.ndarray]:
    """Place, size and score of each submitted box, by sample."""
    results = json.loads((folder / "results_nusc.json").read_text())["results"]
    return {
        token: np.array([[*box["translation"], *box["size"], box["detection_score"]] for box in boxes])
        for token, boxes in sorted(results.items())
    }

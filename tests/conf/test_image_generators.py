"""The experiments on plain object images train a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.results import read_result
from tests.lit.posed_boxes import write_posed_boxes

SMALL = "--model.channel_base 256 --model.channel_max 8 --model.z_dim 8 --model.w_dim 8"
PAPER = f"--model.resolution 64 {SMALL} --trainer.accelerator cpu --trainer.devices 1 --trainer.strategy auto"
CASES = {
    "stylegan2_studio": (SMALL, "val/fid"),
    "stylegan2_paper": (PAPER + " --trainer.callbacks.init_args.extractor random:0", "val/fid"),
    "pose_regressor": ("", "val/azimuth_error"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_image_experiment_trains_a_step(name: str, tmp_path: Path) -> None:
    folder = write_posed_boxes(tmp_path / "boxes", objects=5, views=2, size=64)
    changes, figure = CASES[name]
    words = ["fit", "-c", str(ROOT / "conf" / "experiment" / f"{name}.yaml"), *changes.split()]
    words += ["--data.folder", str(folder), "--data.batch_size", "2", "--data.num_workers", "0"]
    words += ["--data.steps_per_epoch", "1", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    if "paper" in name:
        words += ["--trainer.callbacks.init_args.weights", "null"]
    assert main([*words, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    record = read_result(tmp_path / "run" / "result.json")
    assert record.metrics[figure] >= 0
    assert (tmp_path / "run" / "last.ckpt").is_file()

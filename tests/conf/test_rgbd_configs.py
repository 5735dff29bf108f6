"""G3DR's first stage and its super-resolution by their experiment files, from photographs to photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from datamodules.objects.photos.depth_images import photo_paths
from lit.cli import ROOT, main
from lit.commands.configured_model import configured_model
from lit.results import read_result
from tests.datamodules.objects.photos.test_depth_images import write_folder
from tests.lit.posed_boxes import write_posed_boxes

STEP = (
    "--trainer.max_steps 2 --trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 --trainer.accelerator cpu "
    "--trainer.enable_progress_bar false --data.batch_size 2 --data.steps_per_epoch 2"
)
TINY = "--data.size 16 --data.val_every 3 --model.size 16 --model.groups 4"


def words(name: str, folder: Path) -> list[str]:
    config = str(ROOT / "conf" / "experiment" / f"{name}.yaml")
    return ["-c", config, *STEP.split(), "--trainer.default_root_dir", str(folder)]


def test_photographs_teach_a_model_that_draws_photographs(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", 9, channels=4)
    options = [*TINY.split(), "--data.root", str(root)]
    straight = ["--model.channels", "[10,10]", "--model.groups", "1"]
    assert main(["fit", *words("rgbd_autoencoder", tmp_path / "encoder"), *options, *straight]) == 0
    metrics = read_result(tmp_path / "encoder" / "result.json").metrics
    assert metrics["val/absolute_error"] > 0
    assert metrics["val/hue_kept"] <= 1
    unet = "--model.classes [class0,class1] --model.encoder_channels [10,10] --model.channels [8,16] --model.heads 2"
    options += [*unet.split(), "--model.sample_steps", "2"]
    options += ["--model.autoencoder", str(tmp_path / "encoder" / "last.ckpt")]
    assert main(["fit", *words("rgbd", tmp_path / "run"), *options]) == 0
    record = read_result(tmp_path / "run" / "result.json")
    assert {"val/fid", "val/loss"} <= {*record.metrics}
    assert record.content["evaluator"]["name"] == "fid/random-0"
    drawn = ["--class", "class1", "--count", "2", "--steps", "2", "--min-area", "0", "--root", str(tmp_path / "drawn")]
    assert main(["prepare", "class-photos", "--rgbd", str(tmp_path / "run" / "last.ckpt"), *drawn]) == 0
    assert len(photo_paths(tmp_path / "drawn")) == 2


def test_super_resolution_is_scored_beside_cubic_interpolation(tmp_path: Path) -> None:
    boxes = write_posed_boxes(tmp_path / "boxes", objects=3, views=2, size=64)
    options = ["--data.folder", str(boxes), "--data.val_every", "3", "--model.features", "8", "--model.blocks", "1"]
    assert main(["fit", *words("rcan", tmp_path / "run"), *options]) == 0
    metrics = read_result(tmp_path / "run" / "result.json").metrics
    assert metrics["val/fid"] > 1e-6
    assert metrics["val/psnr_gain"] == pytest.approx(metrics["val/psnr"] - metrics["val/psnr_bicubic"], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("rgbd_paper", 3.5e8, 5.5e8), ("rgbd_autoencoder_paper", 5e7, 8e7)],
)
def test_paper_sizes_are_the_papers(name: str, low: float, high: float) -> None:
    experiment = ROOT / "conf" / "experiment" / f"{name.removesuffix('_paper')}.yaml"
    with torch.device("meta"):
        model = configured_model(experiment, ["--model", str(ROOT / "conf" / "model" / f"{name}.yaml")])
    assert low < sum(p.numel() for p in model.parameters()) < high

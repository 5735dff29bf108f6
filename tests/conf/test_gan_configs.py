"""The configurations of segmenters and of the lifting stage on a GAN's views train a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.proxies.segmentation import Segmenter
from lit.results import read_result
from lit.trainer_cli import resolve
from tests.lit.posed_boxes import write_posed_boxes

CONF = ROOT / "conf"
FAST = ["--trainer.max_steps", "1", "--trainer.enable_progress_bar", "false"]


def test_the_object_segmenter_trains_a_step_and_loads(tmp_path: Path) -> None:
    boxes = write_posed_boxes(tmp_path / "boxes", objects=2, views=4, size=32)
    options = ["--data.folder", str(boxes), "--data.held_out", "1", "--data.batch_size", "4"]
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), *FAST, *options]
    assert main(["fit", "-c", str(CONF / "experiment" / "object_segmenter.yaml"), *run]) == 0
    metrics = read_result(tmp_path / "run" / "result.json").metrics
    assert {"val/iou", "val/iou/object", "val/iou/background"} <= set(metrics)
    assert Segmenter.load(tmp_path / "run" / "last.ckpt").classes == ["background", "object"]


@pytest.mark.parametrize("model", [None, "segmenter_road_hrnet"])
def test_the_road_segmenter_trains_a_step(model: str | None, tiny_world: Path, tmp_path: Path) -> None:
    options = ["--data.root", str(tiny_world), "--data.batch_size", "2", "--data.train_frames", "2"]
    options += ["--data.val_frames", "2", "--trainer.default_root_dir", str(tmp_path), *FAST]
    chosen = ["--model", str(CONF / "model" / f"{model}.yaml")] if model else []
    assert main(["fit", "-c", str(CONF / "experiment" / "road_segmenter.yaml"), *chosen, *options]) == 0
    names = {"val/iou/road", "val/iou/vehicle", "val/iou/person"}
    assert names <= set(read_result(tmp_path / "result.json").metrics)


def test_the_lifting_stage_reads_gan_views(tmp_path: Path) -> None:
    boxes = write_posed_boxes(tmp_path / "boxes", objects=2, views=9, size=24)
    experiment = ["-c", str(CONF / "experiment" / "lift3d_gan.yaml"), "--data.folder", str(boxes)]
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *experiment, *run, "--trainer.max_steps", "1"]) == 0
    bank = [
        "--trainer.callbacks.init_args.folder",
        str(tmp_path / "bank"),
        "--ckpt_path",
        str(tmp_path / "run/last.ckpt"),
    ]
    assert main(["predict", *experiment, *run, *bank]) == 0
    assert (tmp_path / "bank" / "bank.json").is_file()


def test_missing_gan_views_are_named() -> None:
    config = resolve(["fit", "-c", str(CONF / "experiment" / "lift3d_gan.yaml")])
    assert config["data"]["init_args"]["create"] is False  # renders must not stand in for a GAN's views unnoticed
    banks = [entry["init_args"].get("folder") for entry in config["trainer"]["callbacks"]]
    assert "data/gan_bank" in banks

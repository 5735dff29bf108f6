"""The single-view experiments train a step, leave a record with its geometry scores, and write a bank."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.assets.bank import AssetBank
from lit.cli import ROOT, main
from lit.results import read_result
from tests.datamodules.objects.photos.test_depth_images import write_folder
from tests.lit.posed_boxes import write_posed_boxes

TINY = """--model.network.unet.resolution 16 --model.network.unet.plane_channels 4 --model.network.unet.base 8
--model.network.unet.learned_channels 2 --model.network.unet.multipliers [1,2] --model.objective.samples.coarse 8
--model.objective.samples.fine 8 --model.eval_samples.coarse 8 --model.eval_samples.fine 8
--trainer.accelerator cpu --trainer.precision 32 --trainer.max_steps 2 --trainer.max_epochs 1
--trainer.check_val_every_n_epoch 1 --trainer.enable_progress_bar false --data.batch_size 2 --data.steps_per_epoch 2
--data.num_workers 0"""
RANDOM = ["--model.objective.perceptual.weights", "random", "--model.objective.clip.weights", "random"]


def words(name: str, folder: Path) -> list[str]:
    chosen = ["-c", str(ROOT / "conf" / "experiment" / f"{name}.yaml"), *TINY.split(), "--model.bake_shape", "[16,8,8]"]
    return [*chosen, "--trainer.default_root_dir", str(folder)]


def test_the_studio_experiment_trains_and_writes_a_bank(tmp_path: Path) -> None:
    boxes = write_posed_boxes(tmp_path / "boxes", objects=5, views=4, size=16, relief=2.0)
    options = [*words("g3dr_small", tmp_path / "run"), "--data.folder", str(boxes), "--data.val_every", "2"]
    options += ["--data.val_views", "2", "--trainer.callbacks.init_args.folder", str(tmp_path / "bank")]
    assert main(["fit", *options]) == 0
    metrics = read_result(tmp_path / "run" / "result.json").metrics
    assert 1 <= metrics["val/nfs_yaw_0"] <= 64
    assert {"val/depth_accuracy", "val/psnr", "val/psnr_photo", "val/fid_yaw_50"} <= {*metrics}
    assert main(["predict", *options, "--ckpt_path", str(tmp_path / "run" / "last.ckpt")]) == 0
    assert len(AssetBank(str(tmp_path / "bank"))) == 5


def test_the_crops_of_labelled_frames_become_a_bank(tiny_world: Path, tmp_path: Path) -> None:
    options = [*words("g3dr_crops", tmp_path / "run"), "--data.root", str(tiny_world), "--data.size", "16"]
    options += ["--data.min_height", "8", "--data.val_every", "4", "--data.prior_cars", "2", "--data.frames", "6"]
    options += ["--data.mask_folder", str(tmp_path / "masks"), "--data.val_photos", "1"]
    options += ["--trainer.callbacks.init_args.folder", str(tmp_path / "bank")]
    assert main(["fit", *options]) == 0
    checkpoint = str(tmp_path / "run" / "last.ckpt")
    assert main(["predict", *options, "--ckpt_path", checkpoint, "--model.pretrained", checkpoint]) == 0
    assert len(AssetBank(str(tmp_path / "bank"))) > 2


@pytest.mark.parametrize("model", ["g3dr_paper", "g3dr_released"])
def test_both_configurations_train_on_a_folder(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip  # type: ignore[import-untyped]

    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 4, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    tiny = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny)
    root = write_folder(tmp_path / "photos", 6)
    options = [*words("g3dr_paper", tmp_path / "run"), "--data.root", str(root), "--data.size", "16"]
    if model != "g3dr_paper":
        at = options.index(TINY.split()[0])
        options[at:at] = ["--model", str(ROOT / "conf" / "model" / f"{model}.yaml")]
    options += ["--data.val_every", "3", "--trainer.callbacks.init_args.extractor", "random:0"]
    options += [*RANDOM, "--model.objective.clip.model", "tiny"]
    assert main(["fit", *options]) == 0
    assert "val/fid_yaw_9" in read_result(tmp_path / "run" / "result.json").metrics


def test_absent_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "photos", 6)
    options = ["--data.root", str(root), "--trainer.callbacks.init_args.extractor", "random:0"]
    assert main(["fit", *words("g3dr_paper", tmp_path / "run"), *options]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "vgg16-397923af.pth" in said

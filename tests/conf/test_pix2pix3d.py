"""pix2pix3D's configurations: all resolve, and the small ones train a step, are scored and can be ablated."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.assets.bank import AssetBank
from lit.cli import ROOT, main
from lit.experiments.grid import read_grid, whole_first
from lit.posing.field_bank import FieldBank
from lit.results import read_result
from lit.trainer_cli import resolve
from lit.weights.official.pix2pix3d import read_pix2pix3d
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn
from tests.lit.posing.painted_block import block_field

CONF = ROOT / "conf"
EXPERIMENT = str(CONF / "experiment" / "pix2pix3d_small.yaml")


@pytest.mark.parametrize("path", sorted(CONF.glob("model/pix2pix3d_*.yaml")), ids=lambda path: path.stem)
def test_every_model_resolves_and_takes_the_ablations(path: Path) -> None:
    switches = ["--model.labels_3d", "false", "--model.weights.cross_view", "0", "--model.critics.image", "false"]
    switches += ["--model.critics.labels", "alone", "--model.random_pose", "1.0"]
    chosen = resolve(["fit", "-c", EXPERIMENT, "--model", str(path), *switches])["model"]["init_args"]
    whole = resolve(["fit", "-c", EXPERIMENT, "--model", str(path)])["model"]["init_args"]
    assert chosen["weights"] == whole["weights"] | {"cross_view": 0.0}
    assert chosen["critics"] == whole["critics"] | {"image": False, "labels": "alone"}
    assert (chosen["labels_3d"], chosen["random_pose"]) == (False, 1.0)


def test_an_arm_that_takes_another_model_keeps_what_all_arms_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # a grid's paths are the clone's
    grid = read_grid(CONF / "sweep" / "pix2pix3d_ablations.yaml", overrides={"model.total_images": "800"})
    for arm, name in (("seg_full", "LitPix2Pix3D"), ("pix2nerf", "LitPix2Nerf")):
        found = resolve(grid.cell(arm, None, 1).command)
        assert found["model"]["class_path"].endswith(name)
        assert (found["model"]["init_args"]["total_images"], found["model"]["init_args"]["seed"]) == (800, 1)
        assert (found["data"]["init_args"]["seed"], found["data"]["init_args"]["batch_size"]) == (1, 4)
    assert whole_first({"a.b": 1, "c": 2, "a": None}) == {"a.b": 1, "c": 2, "a": None}


@pytest.mark.parametrize("kind", ["edge", "seg"])
def test_the_small_ones_train_a_step_and_bake_a_bank(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = write_drawn(tmp_path, objects=3, views=2, size=64, kind=kind)
    words = ["fit", "-c", EXPERIMENT, "--model", str(CONF / "model" / f"pix2pix3d_small_{kind}.yaml")]
    words += ["--data.images", str(images), "--data.labels", str(labels), "--data.kind", kind, "--data.val_every", "3"]
    words += ["--data.test_every", "null", "--data.batch_size", "2", "--data.steps_per_epoch", "1"]
    words += ["--data.create", "false", "--data.held_out_maps", "2", "--trainer.max_epochs", "1"]
    words += ["--trainer.check_val_every_n_epoch", "1", "--trainer.enable_progress_bar", "false"]
    words += ["--model.network.classes", "3", "--data.classes", "3"] if kind == "seg" else []
    assert main([*words, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    metrics = read_result(tmp_path / "run" / "result.json").metrics
    assert {"val/fid", "val/miou" if kind == "seg" else "val/ap"} <= set(metrics)
    assert read_pix2pix3d(tmp_path / "run" / "last.ckpt").kind == ("edges" if kind == "edge" else "segmentation")
    monkeypatch.setattr(FieldBank, "solid", lambda self, network, latent: block_field(self.axes))  # after one step
    words += ["--trainer.callbacks.init_args.folder", str(tmp_path / "bank"), "--model.bank.looks", "2"]
    words += ["--model.bank.shape", "[12, 8, 8]", "--model.bank.cells", "24", "--data.predict", "all"]
    words += ["--ckpt_path", str(tmp_path / "run" / "last.ckpt"), "--trainer.default_root_dir", str(tmp_path / "again")]
    assert main(["predict", *words[1:]]) == 0
    assert len(AssetBank(tmp_path / "bank")) == 3 * 2 * 2

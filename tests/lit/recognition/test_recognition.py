"""Classifiers and pose estimators on a tiny set: a step of each, scores by split, bad input in a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from datamodules.errors import InputError
from datamodules.recognition.class_writer import ClassSetSettings, write_class_images
from lit.cli import ROOT, main
from lit.recognition.classifier_network import build_classifier
from lit.recognition.image_classifier import ImageClassifier
from lit.recognition.pose_classifier import PoseClassifier
from lit.recognition.recogniser import _first_difference, _listed
from lit.results import read_result

EXPERIMENTS = ROOT / "conf" / "experiment"
NARROW: dict[str, Any] = {"weights": "none", "options": {"channels": [4, 4, 8, 8]}}
SMALL = (
    "--data.size 32 --data.batch_size 3 --trainer.max_steps 2 --trainer.enable_progress_bar false "
    '--model.classes [bicycle,car] --model.options {"channels":[4,4,8,8]}'
)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classes") / "set"
    write_class_images(root, ClassSetSettings(("car", "bicycle"), 2, 1, 2, size=32, supersample=1))
    return root


def fit(name: str, tiny_set: Path, root: Path, *words: str) -> int:
    given = ["--data.folder", str(tiny_set), "--trainer.default_root_dir", str(root), *SMALL.split(), *words]
    return main(["fit", "-c", str(EXPERIMENTS / f"{name}.yaml"), *given])


@pytest.mark.parametrize(
    ("name", "words", "figure"),
    [
        ("image_classifier", ["--data.augment=datamodules.recognition.augmix.AugMix"], "accuracy"),
        ("pose_classifier", ["--model.size=32", "--model.pool=1"], "accuracy_30deg"),
        ("neural_mesh_pose", ["--model.side=3", "--model.descent.steps=2"], "accuracy_10deg"),
    ],
)
def test_each_trains_goes_on_elsewhere_and_is_scored_by_split(
    name: str, words: list[str], figure: str, tiny_set: Path, tmp_path: Path
) -> None:
    assert fit(name, tiny_set, tmp_path / "run", *words) == 0
    record = read_result(tmp_path / "run" / "result.json")
    found = record.metrics
    unlike = [found[f"{split}/{figure}"] for split in ("light", "occlusion", "shape", "weather")]
    assert found[f"ood/{figure}"] == pytest.approx(sum(unlike) / 4)
    assert 0 <= found[f"id/{figure}"] <= 1
    assert record.content["evaluator"]["version"] in ("mean-1", "poses-1")
    trained = torch.load(tmp_path / "run/last.ckpt", weights_only=True)["state_dict"]
    start = ["--model.start_from", str(tmp_path / "run/last.ckpt"), "--model.lr", "0", "--model.weight_decay", "0"]
    assert fit(name, tiny_set, tmp_path / "next", *words, *start, "--trainer.max_steps", "1") == 0
    again = torch.load(tmp_path / "next/last.ckpt", weights_only=True)["state_dict"]
    key = next(key for key in trained if key.endswith("conv1.weight") or key.endswith("conv1.0.weight"))
    assert torch.equal(trained[key], again[key])


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("image_classifier", ["--model.classes", "[car,van]"], "the training pictures show bicycle, car"),
        ("image_classifier", ["--model.classes", "[car]"], "classes ['car']: expected two or more"),
        ("image_classifier", ["--model.smoothing", "1"], "smoothing 1: expected a share in [0, 1)"),
        ("image_classifier", ["--model.start_from", "gone.ckpt"], "gone.ckpt"),
        ("pose_classifier", ["--data.folder", "{empty}"], "train: no such folder"),
        (
            "pose_classifier",
            ["--data.posed", "false"],
            "data.posed false: a pose classifier needs pictures whose poses",
        ),
        ("neural_mesh_pose", ["--data.posed", "false"], "data.posed false: render-and-compare learns from"),
        ("neural_mesh_pose", ["--model.side", "1"], "model.side 1: expected at least 2"),
        ("neural_mesh_pose", ["--model.descent.steps", "-1"], "descent.steps -1: expected at least 0"),
        ("neural_mesh_pose", ["--data.size", "30"], "data.size 30: expected a multiple of model.stride 4"),
    ],
)
def test_bad_input_is_one_line(
    name: str, words: list[str], said: str, tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    given = [word.format(empty=tmp_path / "empty") for word in words]
    assert fit(name, tiny_set, tmp_path / "run", *given) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert said in line


def test_any_timm_model_classifies(tmp_path: Path) -> None:
    network = build_classifier("vit_tiny_patch16_224", {"img_size": 32, "depth": 1}, "none", 3)
    module = ImageClassifier(["a", "b", "c"], "vit_tiny_patch16_224", "none", {"img_size": 32, "depth": 1})
    assert module(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 3)
    with pytest.raises(InputError, match=r"data.size 48: the network takes 32 x 32"):
        module(torch.zeros(2, 3, 48, 48, dtype=torch.uint8))
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    other = build_classifier("vit_tiny_patch16_224", {"img_size": 32, "depth": 1}, str(tmp_path / "vit.pth"), 5)
    own, given = other.state_dict(), network.state_dict()
    assert own["head.weight"].shape[0] == 5
    assert torch.equal(own["patch_embed.proj.weight"], given["patch_embed.proj.weight"])
    for name, weights, said in (
        ("resnet10", "none", r"network 'resnet10' with options"),
        ("resnet10t", None, "weights null with network 'resnet10t': expected timm"),
        ("resnet10t", str(tmp_path / "none.pth"), "does not exist: expected timm"),
        ("resnet10t", str(tmp_path / "vit.pth"), "of another model, no fitting 'conv1.0.weight'"),
    ):
        with pytest.raises(InputError, match=said):
            build_classifier(name, {}, weights, 3)
    assert "resnet10t" in timm.list_models("resnet10*")


def test_sizes_are_tried_before_a_training() -> None:
    narrow = NARROW["options"]
    for name, options, said in (
        ("maxvit_pico_rw_256", {"depths": (1, 1, 1, 1)}, r"network takes no pictures of 32 x 32 \(AssertionError: h"),
        ("resnet10t", {"in_chans": 1, **narrow}, r"data.size 32: the network takes no pictures of 32 x 32 \(RuntimeE"),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 1, "global_pool": ""}, r"gives \(5, 2\) numbers a picture"),
    ):
        with pytest.raises(InputError, match=said):
            ImageClassifier(["a", "b"], name, "none", options).try_size(32)
    with pytest.raises(InputError, match="lr -1, weight_decay 0"):
        ImageClassifier(["a", "b"], "resnet10t", lr=-1, **NARROW)
    module = ImageClassifier(["a", "b"], "resnet10t", **NARROW)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.try_size(32)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_pictures_are_normalised_as_the_models_weights_know_them() -> None:
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    other = ImageClassifier(["a", "b"], "vit_tiny_patch16_224", "none", {"img_size": 32, "depth": 1})
    assert other.normalised(white).unique().tolist() == [1.0]
    module = ImageClassifier(["a", "b"], "resnet10t", **NARROW)
    assert module.normalised(white)[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def test_a_pretraining_on_other_classes_gives_all_but_the_last_layer(tmp_path: Path) -> None:
    first = ImageClassifier(["a", "b"], "resnet10t", **NARROW)
    torch.save({"state_dict": first.state_dict()}, tmp_path / "last.ckpt")
    options: dict[str, Any] = NARROW | {"weights": str(tmp_path / "last.ckpt")}
    second = ImageClassifier(["x", "y", "z"], "resnet10t", **options)
    own, given = second.network.state_dict(), first.network.state_dict()
    assert own["fc.weight"].shape == (3, 8)
    assert all(torch.equal(own[name], given[name]) for name in given if not name.startswith("fc."))
    with pytest.raises(InputError, match=r"network.fc.weight has the shape \(2, 8\), expected \(3, 8\)"):
        ImageClassifier(["x", "y", "z"], "resnet10t", start_from=str(tmp_path / "last.ckpt"), **NARROW)


def test_a_split_of_another_lens_is_refused(tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_set / "id", tmp_path / "wide")
    poses = json.loads((tmp_path / "wide/poses.json").read_text())
    (tmp_path / "wide/poses.json").write_text(json.dumps(poses | {"field_of_view": 60.0}))
    words = ["--model.side=3", f"--data.splits={{id: id, wide: {tmp_path / 'wide'}}}"]
    assert fit("neural_mesh_pose", tiny_set, tmp_path / "run", *words) == 2
    assert "data.splits wide: a field of view of 60 degrees, expected 49.1" in capsys.readouterr().err


def test_long_lists_of_classes_part_somewhere() -> None:
    names = [f"n{number:03d}" for number in range(30)]
    assert _listed(names).endswith("n011, ... (30)")
    assert _first_difference(names, [*names[:20], "x", *names[21:]]) == " (number 21 is 'n020', 'x' among the pictures)"
    assert _first_difference(names, names[:29]) == " (number 30 is 'n029', nothing among the pictures)"


def test_poses_are_those_of_the_estimator() -> None:
    module = PoseClassifier(["a", "b"], "resnet10t", stride=32, bins=12, size=32, **NARROW).eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = module.validation_step(_batch(images), 0)
    assert found.shape == (3, 3, 3)
    assert torch.allclose(found @ found.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(3, 3, 3))


def _batch(images: torch.Tensor) -> Any:
    from datamodules.recognition.class_images import ClassBatch

    count = len(images)
    return ClassBatch(images, torch.zeros(count, dtype=torch.int64), torch.zeros(count, 4), tuple("abc"[:count]))

"""What a run leaves behind."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.cli import ROOT, main
from lit.provenance import run_key
from lit.results import read_result, write_json, write_record
from tests.datamodules.injection_scenes import OneAsset
from tests.lit.recorded_runs import METRIC, leave_record
from tests.lit.toy_training import EXPERIMENT, ToyDataModule, ToyInjection

toy_frames = ToyDataModule.frames


def test_fit_leaves_a_complete_record(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    argv = ["fit", "-c", str(tmp_path / "toy.yaml"), "--trainer.default_root_dir", str(tmp_path / "run")]
    argv += ["--data.injection", "tests.lit.toy_training.ToyInjection", "--record.arm", "toy", "--record.frames", "8"]
    assert main([*argv, "--seed_everything", "5", "--model.bonus", "40"]) == 0
    result = read_result(tmp_path / "run" / "result.json")
    content = result.content
    assert (result.arm, result.frames, result.seed, result.dataset, result.split) == ("toy", 8, 5, "toy", "val")
    assert list(result.metrics) == ["car/3d/moderate/0.5"]
    assert 40 <= result.metrics["car/3d/moderate/0.5"] <= 41
    assert content["injected_objects"] == 4 * 4  # four steps of four frames, one object each
    assert content["injected"] | {"classes": 0, "edges": 0} == {
        "images": 16, "objects": 16, "distinct": 1, "passes": 16.0, "source": None, "pool": None,
        "classes": 0, "edges": 0,
    }  # fmt: skip
    assert content["labelled"]["classes"]["Car"]["frames"][:2] == [0, 16]
    assert content["images_per_second"] > 0
    assert content["duration_seconds"] > 0
    assert content["human_labels"] is None  # this data module does not say
    assert result.key is not None
    assert result.key.versions["torch"]
    assert content["config"]["model"]["init_args"]["bonus"] == 40.0
    assert result.key == run_key(content["config"])
    assert content["trained"] is None
    assert (tmp_path / "run" / content["samples"][0]).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_the_labelled_frames_are_those_that_the_data_were_told(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    argv = ["fit", "-c", str(tmp_path / "toy.yaml"), "--trainer.default_root_dir", str(tmp_path / "run")]
    assert main([*argv, "--data.train_frames", "6"]) == 0
    assert read_result(tmp_path / "run" / "result.json").frames == 6


def test_an_injection_that_never_injects_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    monkeypatch.setattr("lit.callbacks.record.ENOUGH", 16)
    monkeypatch.setattr(ToyInjection, "source", OneAsset(), raising=False)
    argv = ["fit", "-c", str(tmp_path / "toy.yaml"), "--trainer.default_root_dir", str(tmp_path / "run")]
    argv += ["--data.injection", "tests.lit.toy_training.ToyInjection"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="nothing was injected")
        assert main(argv) == 0
    monkeypatch.setattr(ToyDataModule, "frames", lambda self, injected: toy_frames(self, False))
    with pytest.warns(match="^nothing was injected into 16 images, expected objects of OneAsset; look at"):
        assert main(argv) == 0


def test_a_failed_fit_leaves_no_record(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    argv = ["fit", "-c", str(tmp_path / "toy.yaml"), "--trainer.default_root_dir", str(tmp_path / "run")]
    with pytest.raises(RuntimeError, match="not finite"):
        main([*argv, "--model.fail", "true"])
    assert not (tmp_path / "run" / "result.json").exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"schema": 1})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"schema": 2})
    assert json.loads(path.read_text()) == {"schema": 1}


def test_broken_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"schema": 1, "metr')
    with pytest.raises(InputError, match="no valid JSON"):
        read_result(path)
    path.write_text('{"schema": 99}')
    with pytest.raises(InputError, match="schema 99, expected 2"):
        read_result(path)


def test_a_changed_record_is_told(tmp_path: Path) -> None:
    path = leave_record(tmp_path, "none", 50, 0, {METRIC: 10.25})
    assert read_result(path).metrics == {METRIC: 10.25}
    path.write_text(path.read_text().replace("10.25", "10.75"))
    with pytest.raises(InputError, match="changed since it was written"):
        read_result(path)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("metrics", [1], r"metrics is \[1\], expected `object`"),
        ("metrics", {"car": "1"}, "metrics.car is '1', expected `float`"),
        ("seed", True, "seed is True, expected `int`"),
        ("seed", 10**400, "seed is 1000.*, expected `int` <"),
        ("frames", 0, "frames is 0, expected `int` >= 1"),
        ("arm", "a\nb", "arm is 'a.+b', expected"),
        ("injected_objects", "many", "injected_objects is 'many', expected `float"),
        ("samples", ["../../secret.png"], r"samples\[0\] is '../../secret.png', expected"),
        ("evaluator", "kitti", "evaluator is 'kitti', expected"),
    ],
)
def test_fields_of_the_wrong_kind_are_named(tmp_path: Path, field: str, value: object, expected: str) -> None:
    path = tmp_path / "result.json"
    content = {"schema": 2, "arm": "a", "frames": 5, "seed": 0, "dataset": "d", "split": "val", "metrics": {"car": 1}}
    write_record(path, content)
    assert read_result(path).metrics == {"car": 1.0}
    write_record(path, content | {field: value})
    with pytest.raises(InputError, match=expected) as refused:
        read_result(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_weights_of_a_fold_are_not_scored_on_frames_they_were_trained_on(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "world"
    shutil.copytree(tiny_world, root)
    ids = [one for split in ("train", "val") for one in (root / f"ImageSets/{split}.txt").read_text().split()]
    (root / "drives.txt").write_text("".join(f"{one} drive_{number // 3}\n" for number, one in enumerate(ids)))
    words = [
        "-c",
        str(ROOT / "conf/experiment/world_centernet.yaml"),
        "--data.root",
        str(root),
        "--data.injection=null",
    ]
    words += ["--trainer.max_steps=1", "--trainer.max_epochs=-1", "--data.workers=0", "--trainer.limit_val_batches=1"]
    words += ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    words += ["--data.train_frames=null", "--data.batch_size=2"]
    assert main(["fit", *words, "--data.fold=[1, 2]"]) == 0
    assert read_result(tmp_path / "run/result.json").fold == (1, 2)
    scored = ["validate", *words, f"--ckpt_path={tmp_path / 'run/last.ckpt'}"]
    assert main([*scored, "--data.fold=[1, 2]"]) == 0
    for fold in ("[0, 2]", "null"):
        capsys.readouterr()
        assert main([*scored, f"--data.fold={fold}"]) == 2
        assert "the checkpoint was trained on world with fold [1, 2], expected the same" in capsys.readouterr().err

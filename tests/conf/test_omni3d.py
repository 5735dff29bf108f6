"""The Omni3D experiment on files of the tiny world: a step with injected cars, and its grid's arms."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.experiments.grid import read_grid
from lit.results import read_result
from lit.trainer_cli import resolve

CONF = ROOT / "conf"


@pytest.fixture(scope="module")
def words(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that train on files of the tiny world."""
    files = tmp_path_factory.mktemp("files")
    assert main(["prepare", "omni3d", "--root", str(tiny_world), "--out", str(files)]) == 0
    data = [f"--data.root={tiny_world}", f"--data.train_file={files}/train.json", f"--data.val_file={files}/val.json"]
    return ["-c", str(CONF / "experiment" / "omni3d_centernet.yaml"), *data, "--trainer.enable_progress_bar=false"]


def test_it_trains_with_injected_cars_and_scores_ap3d(words: list[str], tiny_world: Path, tmp_path: Path) -> None:
    more = [f"--data.injection={CONF / 'injection' / 'mesh.yaml'}", "--data.injection.probability=1.0"]
    more += [f"--data.road_masks={tiny_world / 'training' / 'road_2'}", "--data.batch_size=2", "--trainer.max_steps=3"]
    assert main(["fit", *words, *more, f"--trainer.default_root_dir={tmp_path}"]) == 0
    record = read_result(tmp_path / "result.json").content
    assert record["injected_objects"] > 0
    assert {"omni3d/AP2D", "omni3d/AP3D", "omni3d/AP3D/0.25"} <= set(record["metrics"])
    assert record["evaluator"]["name"] == "omni3d"
    assert record["dataset"] == f"{tiny_world.name} (Omni3D)"
    assert "data.init_args.root" in record["key"]["contents"]


def test_fcos3d_trains_from_the_same_files(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("mmdet3d")
    model = [f"--model={CONF / 'model' / 'fcos3d_small.yaml'}", "--model.detector.classes=[Car, Pedestrian, Cyclist]"]
    brief = ["--data.batch_size=2", "--trainer.max_steps=2", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", *words, *model, *brief]) == 0
    assert "omni3d/AP3D" in read_result(tmp_path / "result.json").metrics


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data.spelling=omni3d"], "the validation file has no label of Car that counts (of others:"),
        (
            ["--model.detector.classes=[Pedestrian]"],
            "Omni3DMetrics' classes Car: the detector learns Pedestrian, expected",
        ),
    ],
)
def test_nothing_to_score_is_told_before_the_training(
    more: list[str], said: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *words, *more, "--data.injection=null", f"--trainer.default_root_dir={tmp_path}"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_it_learns(words: list[str], tmp_path: Path) -> None:
    """After 100 steps on twelve pictures it finds cars in these; untrained it finds none."""
    train = next(word.split("=")[1] for word in words if word.startswith("--data.train_file"))
    found = []
    for steps in (1, 100):
        root = tmp_path / str(steps)
        more = [f"--data.val_file={train}", f"--trainer.max_steps={steps}", f"--trainer.default_root_dir={root}"]
        assert main(["fit", *words, *more]) == 0
        found.append(read_result(root / "result.json").metrics["omni3d/AP3D"])
    assert found[0] < 1
    assert found[1] > found[0] + 5


def test_the_grid_plans_the_rows_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = read_grid(CONF / "sweep" / "omni3d_world.yaml")
    assert grid.design.primary == "omni3d/AP3D"
    assert grid.design.comparisons == [("dst", "none"), ("dst_camera", "dst"), ("dst_camera", "camera")]
    resolved = {cell.arm: resolve(cell.command)["data"]["init_args"] for cell in grid.cells() if cell.seed == 0}
    assert {arm for arm, data in resolved.items() if data["injection"]} == {"dst", "dst_camera"}
    assert {arm for arm, data in resolved.items() if data["augment"]["init_args"]["pitch"]} == {"camera", "dst_camera"}
    assert all(step.serves("dst_camera") == step.serves("dst") for step in grid.prepare)
    assert [step.name for step in grid.prepare if step.serves("none")] == [
        "world",
        "test_world",
        "omni3d",
        "omni3d_test",
    ]

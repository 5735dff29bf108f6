"""Every file in conf/ parses; every detector experiment and injection trains a step on the tiny world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datamodules.assets.bank import AssetBankWriter
from datamodules.files.seals import SEAL_KEY
from lit.cli import ROOT, main
from lit.experiments.grid import read_grid, value_text
from lit.results import read_result

CONF = ROOT / "conf"
EXPERIMENTS = sorted(CONF.glob("experiment/*.yaml"))
DETECTORS = [path for path in EXPERIMENTS if path.stem.startswith(("kitti", "world"))]
CHOSEN = {  # what a configuration leaves to choose, and what the tiny world needs
    "kitti_centernet": ["--model.detector.backbone_weights", "none"],
    "kitti_monodle": ["--model.detector.backbone_weights", "none", "--model.detector.head_channels", "16"],
    "kitti_small": ["--data.subset", "seed", "--data.augment", str(CONF / "augment" / "camera_small.yaml")],
}
SINGLE = [path for path in sorted(CONF.glob("injection/*.yaml")) if not path.stem.startswith("surround")]
SURROUND = [path for path in EXPERIMENTS if "nuscenes" in path.stem]
FAST = (
    "--trainer.max_steps 1 --trainer.max_epochs 1 --trainer.enable_progress_bar false --trainer.num_sanity_val_steps 0"
)


@pytest.fixture(scope="module")
def tiny_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of two opaque blocks."""
    import numpy as np

    from datamodules.assets.voxels.voxel_assets import VoxelAsset

    folder = tmp_path_factory.mktemp("bank") / "bank"
    with AssetBankWriter(
        folder, generator="test", config_hash="0", checkpoint_hash="0", licence="CC0-1.0", seed=0
    ) as writer:
        for index in range(2):
            grid = np.full((16, 8, 8, 4), 60 + 90 * index, np.uint8)
            grid[..., 3] = 255
            writer.write(VoxelAsset(f"block{index}", "Car", np.array([4.0, 1.5, 1.7]), grid))
    return folder


@pytest.fixture(scope="module")
def tiny_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of posed views: one grey card seen from four sides."""
    import numpy as np

    from datamodules.assets.view_assets import ViewAsset
    from datamodules.objects.studio import view_projection

    folder, dims = tmp_path_factory.mktemp("views") / "bank", np.array([4.0, 1.5, 1.7])
    rgba = np.full((4, 16, 16, 4), 90, np.uint8)
    rgba[..., 3] = 0
    rgba[:, 5:11, 2:14, 3] = 255
    projection = np.stack([view_projection(dims, azimuth, 5.0, 16) for azimuth in (0, 90, 180, 270)])
    with AssetBankWriter(folder, generator="test") as writer:
        depth = np.where(rgba[..., 3] > 0, 9.0, 0.0)
        writer.write(ViewAsset("card", "Car", dims, rgba, depth, projection))
    return folder


@pytest.fixture(scope="module")
def tiny_in_place(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank in place of the tiny world's frames: meshes as they are."""
    folder = tmp_path_factory.mktemp("in_place") / "bank"
    words = ["-c", str(CONF / "experiment" / "world_centernet.yaml"), "--strength", "0", "--seeds", "2"]
    data = ["--data.root", str(tiny_world), "--data.injection", str(CONF / "injection" / "mesh.yaml")]
    assert main(["prepare", "dst-in-place", "--bank", str(folder), "--workers", "1", *words, *data]) == 0
    return folder


def test_conf_is_not_empty() -> None:
    for folder in ("data", "model", "injection", "augment", "experiment", "sweep"):
        assert list(CONF.glob(f"{folder}/*.yaml")), folder


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_is_yaml_and_its_references_exist(path: Path) -> None:
    for value in strings(yaml.safe_load(path.read_text())):
        if value.startswith(("../", "./")) and value.endswith(".yaml"):
            assert (path.parent / value).is_file(), value


def strings(value: Any) -> list[str]:
    """All strings in a nested value."""
    if isinstance(value, dict):
        return [text for entry in value.values() for text in strings(entry)]
    if isinstance(value, list):
        return [text for entry in value for text in strings(entry)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_resolves(path: Path) -> None:
    from lit.trainer_cli import resolve

    config = resolve(["fit", "-c", str(path)])
    assert config["model"]["class_path"]
    assert config["data"]["class_path"]


@pytest.fixture(scope="module")
def resolved() -> set[frozenset[str]]:
    """Commands that were resolved for another sweep."""
    return set()


@pytest.mark.parametrize("path", sorted(CONF.glob("sweep/*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_resolves(path: Path, resolved: set[frozenset[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from lit.trainer_cli import resolve

    monkeypatch.chdir(ROOT)  # a grid's paths are the clone's
    grid = read_grid(path)
    first = {cell.arm: cell for cell in reversed(list(grid.cells()))}  # seeds and counts of frames are plain numbers
    assert first.keys() == grid.arms.keys()
    runs = [cell.command for cell in first.values()]
    steps = [step.command for step in grid.prepare if step.command[0] in ("fit", "predict") and not step.bank]
    for command in (*runs, *steps):
        elsewhere = frozenset(word for word in command if not word.startswith("--trainer.default_root_dir"))
        if elsewhere not in resolved:  # grids share arms and steps, and each takes most of a second
            config = resolve(command)
            assert config["model"]["class_path"]
            assert command in steps or f"--record.arm={config['record']['arm']}" in command
            resolved.add(elsewhere)


def fit(root: Path, experiment: Path, world: Path, *extra: str) -> dict[str, Any]:
    """Train one step on the tiny world and return the record."""
    words = [
        *FAST.split(),
        "--trainer.default_root_dir",
        str(root),
        "--data.root",
        str(world),
        "--data.size",
        "[96, 320]",
    ]
    words += ["--data.batch_size", "2", "--data.workers", "0", "--data.train_frames", "12"]
    assert main(["fit", "-c", str(experiment), *words, *extra]) == 0
    return read_result(root / "result.json").content


@pytest.mark.parametrize("path", DETECTORS, ids=lambda path: path.stem)
def test_every_detector_experiment_trains_a_step(path: Path, tiny_world: Path, tmp_path: Path) -> None:
    record = fit(tmp_path, path, tiny_world, "--data.injection", "null", *CHOSEN.get(path.stem, []))
    assert record["injected_objects"] == 0
    assert "car/3d/moderate/0.7" in record["metrics"]


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.stem)
def test_every_injection_trains_a_step(
    path: Path, tiny_world: Path, tiny_bank: Path, tiny_views: Path, tiny_in_place: Path, tmp_path: Path
) -> None:
    extra = ["--data.injection", str(path)]
    if path.stem != "none":
        extra += ["--data.injection.probability", "1.0", "--trainer.max_steps", "3"]
    if "AssetBank" in path.read_text():
        part = {"lift3d_at_recomposition": "pictures.", "recomposition_at_lift3d": "places."}.get(path.stem, "")
        extra += [f"--data.injection.source.{part}folder", str(tiny_bank)]
    if "InPlaceSource" in path.read_text():
        extra += ["--data.injection.source.folder", str(tiny_in_place)]
    if "CentrePaste" in path.read_text():
        extra += ["--data.injection.source.folder", str(tiny_views)]
    record = fit(tmp_path, CONF / "experiment" / "world_centernet.yaml", tiny_world, *extra)
    assert (record["injected_objects"] > 0) == (path.stem != "none")


@pytest.mark.parametrize("name", ["kitti_centernet", "kitti_monodle"])
def test_recipes_at_full_size_demand_a_choice_of_weights(
    name: str, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = str(CONF / "experiment" / f"{name}.yaml")
    words = ["--data.root", str(tiny_world), "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "-c", experiment, *words]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "expected a choice of timm (ImageNet weights, downloaded once), a file with timm's state dict" in said


@pytest.mark.parametrize("path", sorted(CONF.glob("augment/*.yaml")), ids=lambda path: path.stem)
def test_augment_files_turn_zoom_and_shift(path: Path) -> None:
    from lit.trainer_cli import resolve

    experiment = str(CONF / "experiment" / "kitti_small.yaml")
    augment = resolve(["fit", "-c", experiment, "--data.augment", str(path), "--data.augment.roll", "0"])
    options = augment["data"]["init_args"]["augment"]["init_args"]
    assert (options["pitch"], options["roll"], options["yaw"]) == (2.0, 0.0, 2.0)
    assert options["scale"] == [0.8, 1.25]


TABLES = sorted(CONF.glob("sweep/lift3d_table*.yaml"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_tables_name_their_source_and_files_that_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = read_grid(path, overrides={"data.root": "elsewhere"})
    assert len(grid.seeds) >= 3
    assert grid.published is not None
    assert grid.published.source.startswith("Li et al., Lift3D, CVPR 2023, Table")
    assert "none" in grid.arms
    for entry in grid.arms.values():
        for value in strings(entry.options):
            assert not value.endswith(".yaml") or Path(value).is_file(), value
    for step in grid.prepare:
        for word in step.command:
            assert not word.endswith(".yaml") or Path(word).is_file(), word
    assert all(cell.command.count("--data.root=elsewhere") == 1 for cell in grid.cells())


def test_full_size_kitti_is_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from lit.trainer_cli import resolve

    monkeypatch.chdir(ROOT)
    grid = read_grid(CONF / "sweep" / "kitti_augmentation.yaml", overrides={"data.root": "elsewhere"})
    assert set(grid.arms) == {"none", "camera", "recomposition", "recomposition_camera", "mesh", "lift3d"}
    assert len(grid.seeds) >= 3
    assert grid.design is not None
    assert grid.prepare[0].command == ["prepare", "kitti", "--root", "elsewhere"]
    for arm, entry in grid.arms.items():
        assert (entry.options["data.injection"] is None) == (arm in ("none", "camera"))
        assert ("data.augment" in entry.options) == arm.endswith("camera")
    command = next(cell.command for cell in grid.cells() if cell.arm == "recomposition_camera")
    config = resolve(command)
    data, detector = config["data"]["init_args"], config["model"]["init_args"]["detector"]["init_args"]
    assert (data["root"], data["size"], data["fit"]) == ("elsewhere", [384, 1280], "pad")
    assert (detector["backbone"], detector["backbone_weights"]) == ("dla34", "timm")
    assert data["augment"]["init_args"]["pitch"] > 0


@pytest.mark.parametrize(("table", "arm"), [("3", "lift3d"), ("3", "mesh"), ("4", "plain"), ("4", "map_shadow")])
def test_arms_of_the_tables_train_a_step(
    table: str, arm: str, tiny_world: Path, tiny_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    grid = read_grid(CONF / "sweep" / f"lift3d_table{table}_world.yaml")
    options = {**grid.options, **grid.arms[arm].options, "data.root": str(tiny_world)}
    options |= {"data.train_split": "train"} if "data.train_split" in options else {}
    options |= {"data.injection.source.folder": str(tiny_bank)} if arm != "mesh" else {}
    words = [f"--{key}={value_text(value)}" for key, value in options.items()]
    words += ["--data.injection.probability=1.0", "--trainer.max_steps=3"]
    record = fit(tmp_path, grid.experiment, tiny_world, *words)
    assert record["injected_objects"] > 0
    assert record["human_labels"] == (table != "3")


def test_the_lift3d_experiment_trains_a_step_and_bakes_a_bank(tmp_path: Path) -> None:
    experiment = ["-c", str(CONF / "experiment" / "lift3d.yaml")]
    options = ["--data.folder", str(tmp_path / "posed"), "--data.create_objects", "2", "--data.create_views", "10"]
    options += ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.enable_progress_bar", "false"]
    steps = ["--data.create_size", "24", "--trainer.max_steps", "1"]
    assert main(["fit", *experiment, *options, *steps]) == 0
    assert read_result(tmp_path / "run" / "result.json").metrics
    bank = [
        "--trainer.callbacks.init_args.folder",
        str(tmp_path / "bank"),
        "--ckpt_path",
        str(tmp_path / "run/last.ckpt"),
    ]
    assert main(["predict", *experiment, *options, *bank]) == 0
    assert (tmp_path / "bank" / "bank.json").is_file()


@pytest.mark.parametrize("name", ["giraffe", "giraffe_hd"])
def test_the_giraffe_experiments_train_a_step_and_write_a_bank(name: str, tmp_path: Path) -> None:
    import torch

    experiment = ["-c", str(CONF / "experiment" / f"{name}.yaml")]
    options = ["--data.folder", str(tmp_path / "posed"), "--data.create_objects", "5", "--data.create_views", "4"]
    options += ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.enable_progress_bar", "false"]
    options += ["--model.bank.reference", str(tmp_path / "posed"), "--model.bank.calibration_objects", "1"]
    options += ["--model.bank.objects", "2", "--model.bank.min_foreground", "0", "--model.bank.max_border", "1"]
    options += ["--trainer.callbacks.init_args.folder", str(tmp_path / "bank")]
    assert main(["fit", *experiment, *options, "--trainer.max_steps", "1"]) == 0
    assert read_result(tmp_path / "run" / "result.json").metrics
    content = torch.load(tmp_path / "run/last.ckpt", weights_only=False)
    del content[SEAL_KEY]  # what follows is meant
    for key in ("ema.scene.field.density_out.bias", "ema.front.to_rgb.3.bias"):  # cars that are solid after one step
        if key in content["state_dict"]:
            content["state_dict"][key][-1] += 5.0
    torch.save(content, tmp_path / "solid.ckpt")
    assert main(["predict", *experiment, *options, "--ckpt_path", str(tmp_path / "solid.ckpt")]) == 0
    assert (tmp_path / "bank" / "bank.json").is_file()


@pytest.mark.parametrize("injection", [None, *sorted(CONF.glob("injection/surround_*.yaml"))], ids=str)
def test_fcos3d_trains_a_step_on_six_cameras(
    injection: Path | None, tiny_surround: Path, tiny_bank: Path, tmp_path: Path
) -> None:
    pytest.importorskip("mmdet3d")
    words = [*FAST.split(), "--trainer.default_root_dir", str(tmp_path), "--data.root", str(tiny_surround)]
    words += ["--data.batch_size", "2", "--data.scene_share", "0.5"]
    words += ["--data.train_split", str(tiny_surround / "ImageSets" / "train.txt")]
    words += ["--data.val_split", str(tiny_surround / "ImageSets" / "val.txt")]
    if injection is not None:
        words += ["--data.injection", str(injection), "--data.injection.probability", "1.0"]
        words += ["--data.injection.min_pixels", "1", "--trainer.max_steps", "3"]
        if "AssetBank" in injection.read_text():
            words += ["--data.injection.source.folder", str(tiny_bank)]
    assert main(["fit", "-c", str(CONF / "experiment" / "nuscenes_fcos3d_world.yaml"), *words]) == 0
    record = read_result(tmp_path / "result.json").content
    assert "nuscenes/mAP" in record["metrics"]
    assert record["evaluator"]["name"] == "nuscenes"
    assert (record["injected_objects"] > 0) == (injection is not None)
    assert len((tmp_path / "train_scenes.txt").read_text().split()) == 1

"""Keys: what enters them, what does not, and that they follow what files hold, not what they are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lit import provenance
from lit.provenance import input_hash, inputs, run_key
from lit.results import SCHEMA, read_result, write_record


def config(root: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seed_everything": 0,
        "trainer": {"max_steps": 3, "default_root_dir": "runs/a", "enable_progress_bar": True},
        "model": {"rate": 0.1},
        "data": {"class_path": "some.Data", "init_args": {"root": root, "injection": None}},
        "record": {"arm": "none"},
        "ckpt_path": None,
    }
    return found | changes


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("data/world", "data/copy"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "000000.txt").write_text("Car 1 2 3")
    return tmp_path / "data/world"


def test_places_and_names_do_not_enter_contents_and_options_do(world: Path) -> None:
    first = run_key(config("data/world"))
    trainer = {"max_steps": 3, "default_root_dir": "elsewhere", "enable_progress_bar": False}
    assert run_key(config("data/world", trainer=trainer, record={"arm": "b"}, ckpt_path="last")).digest == first.digest
    assert run_key(config("data/copy")).digest == first.digest  # the same files by another name
    assert run_key(config("data/world", model={"rate": 0.2})).digest != first.digest
    assert first.contents == {"data.init_args.root": input_hash(world)}
    (world / "000000.txt").write_text("Car 1 2 4")
    changed = run_key(config("data/world"))
    assert changed.digest != first.digest
    assert changed.ground != first.ground
    (world / "000000.txt").rename(world / "000001.txt")
    assert run_key(config("data/world")).digest != changed.digest


def test_a_recipe_is_what_seeds_share(world: Path) -> None:
    first, second = run_key(config("data/world")), run_key(config("data/world", seed_everything=1))
    assert (first.recipe, first.ground) == (second.recipe, second.ground)
    assert first.digest != second.digest
    banks = []
    for seed in (0, 1):
        (world / f"bank{seed}").mkdir()
        (world / f"bank{seed}/rows").write_text(str(seed))
        source = {"class_path": "some.Bank", "init_args": {"folder": f"data/world/bank{seed}"}}
        data = {"class_path": "some.Data", "init_args": {"root": "data/copy", "injection": source}}
        banks.append(config("", data=data, seed_everything=seed))
    assert len({run_key(bank).recipe for bank in banks}) == 2
    assert len({run_key(bank, varied=["data.injection.folder"]).recipe for bank in banks}) == 1  # by plan
    assert len({run_key(bank).ground for bank in banks}) == 1  # objects differ between the arms of a comparison


def test_road_masks_that_one_arm_reads_are_no_ground(world: Path) -> None:
    """They say where objects are placed; an arm without injection, which reads none, is compared with it."""
    (world.parent / "masks").mkdir()
    (world.parent / "masks/000000.txt").write_text("road")
    inits = {"root": "data/world", "injection": None, "road_masks": "data/masks"}
    keys = [run_key(config("data/world")), run_key(config("", data={"class_path": "some.Data", "init_args": inits}))]
    assert len({key.digest for key in keys}) == 2
    assert len({key.ground for key in keys}) == 1
    for arm, key in zip(("none", "masks"), keys):
        # As records stated it that counted masks in, of a training and of what scored its checkpoint.
        stated = msgspec.to_builtins(key) | {"ground": f"stated of {arm}"}
        trained = {"digest": key.digest, "recipe": key.recipe, "ground": f"stated of {arm}"}
        record = {"schema": SCHEMA, "arm": arm, "frames": 1, "seed": 0, "dataset": "d", "metrics": {"ap": 1.0}}
        write_record(Path(arm) / "result.json", {**record, "split": "val", "key": stated})
        write_record(Path(arm) / "result_test.json", {**record, "split": "test", "key": stated, "trained": trained})
    for name in ("result.json", "result_test.json"):
        none, masks = (read_result(Path(arm) / name).ground for arm in ("none", "masks"))
        assert none == masks
    (Path("masks") / "result.json").unlink()  # what is stated of the training is all that is left
    assert read_result(Path("masks/result_test.json")).ground != none


def test_numbers_that_change_with_the_seed_by_plan_are_no_part_of_the_recipe(world: Path) -> None:
    def found(seed: int, lr: float = 0.1) -> dict[str, Any]:
        return config("", model={"class_path": "some.Model", "init_args": {"seed": seed, "lr": lr}})

    varied = ["model.seed", "model.absent"]
    assert run_key(found(0)).recipe != run_key(found(1)).recipe
    assert run_key(found(0), varied=varied).recipe == run_key(found(1), varied=varied).recipe
    assert run_key(found(0), varied=varied).recipe != run_key(found(1, 0.2), varied=varied).recipe
    assert run_key(found(0), varied=varied).config != run_key(found(1), varied=varied).config


def test_code_and_libraries_enter(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_key(config("data/world"))
    monkeypatch.setattr(provenance, "code_hash", lambda: "other")
    assert run_key(config("data/world")).recipe != first.recipe
    monkeypatch.undo()
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "0"})
    assert run_key(config("data/world")).ground != first.ground


def test_what_a_run_writes_is_no_input(world: Path) -> None:
    found = config(".", model={"weights": "data/copy/000000.txt", "name": "resnet18"})
    assert [name for name, _, _ in inputs(found)] == ["model.weights"]


def test_a_class_says_which_files_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ImageSets/train.txt", "ImageSets/val.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{len(name):06d}\n")
    for name in ("image_2/000019.png", "image_2/000017.png", "image_2/000001.png", "velodyne/000019.bin"):
        (tmp_path / "training" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "training" / name).write_text(name)
    node = {"class_path": "datamodules.kitti.KittiDataModule", "init_args": {"root": str(tmp_path)}}
    ((name, place, files),) = inputs({"data": node})
    assert (name, place) == ("data.init_args.root", tmp_path)
    read = {path.relative_to(tmp_path).as_posix() for path in files or [] if path.exists()}
    assert read == {
        "ImageSets/train.txt",
        "ImageSets/val.txt",
        "training/image_2/000017.png",
        "training/image_2/000019.png",
    }


def test_masks_that_a_run_keeps_for_later_ones_do_not_change_its_key(tmp_path: Path) -> None:
    options = {"mask_folder": str(tmp_path / "masks"), "min_height": 5.0}
    source = {"class_path": "datamodules.assets.recomposition.RecompositionSource", "init_args": options}
    first = run_key({"data": source})
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "000001-0.png").write_text("made by the first run")
    assert run_key({"data": source}) == first
    assert list(inputs({"data": {**source, "init_args": {"mask_folder": None}}})) == []


def test_hashes_are_remembered_until_a_file_changes(world: Path) -> None:
    path = world / "000000.txt"
    first, state = input_hash(world), path.stat()
    path.write_text("Car 9 9 9")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert input_hash(world) == first  # same size and time: believed
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert input_hash(world) != first


def test_what_is_too_large_counts_by_names_and_sizes(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MOST_READ", 4)
    first = input_hash(world)
    assert first.startswith("sizes:")
    (world / "000000.txt").write_text("Car 1 2 34")
    assert input_hash(world) != first

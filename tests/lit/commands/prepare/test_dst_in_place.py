"""``prepare dst-in-place``: resumed to the same bytes, replayed with the plain meshes' labels, bad input in a line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from datamodules.assets.in_place.in_place_bank import InPlaceSource
from datamodules.augment import resize
from datamodules.errors import InputError
from datamodules.injection import Injection
from datamodules.kitti.datamodule import KittiDataset
from datamodules.randomness import derive
from datamodules.renders.crops.placed_crop import OneObject, place_draw
from lit.cli import ROOT, main
from lit.commands.injected_frames import injecting_datamodule
from lit.commands.prepare.dst import in_place_frames
from lit.experiments.grid import read_grid
from lit.generators.dst.diffusion import DstDiffusion
from tests.lit.generators.test_dst import TINY

CONF = ROOT / "conf"
EXPERIMENT = CONF / "experiment" / "world_centernet.yaml"
MESH = ["--data.injection", str(CONF / "injection" / "mesh.yaml"), "--data.injection.source.models", "3"]
PLAIN = ["--data.injection.compositor.noise", "false"]  # noise is drawn anew at every replay


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of random weights, 32 pixels wide."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pipeline") / "sd"
    DstDiffusion("none", **TINY).pipeline().save_pretrained(folder, safe_serialization=True)
    return folder


def words(world: Path, bank: Path, *extra: str, seeds: int = 2) -> list[str]:
    common = ["-c", str(EXPERIMENT), "--bank", str(bank), "--size", "32", "--workers", "1", "--frames", "3"]
    return ["prepare", "dst-in-place", *common, "--seeds", str(seeds), *extra, "--data.root", str(world), *MESH, *PLAIN]


def drawn(pipeline: Path) -> list[str]:
    return ["--pipeline", str(pipeline), "--steps", "4", "--strength", "0.5", "--guidance", "2"]


def files(bank: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(bank.rglob("*")) if path.is_file()}


def test_a_stopped_run_goes_on_to_the_same_bytes(
    tiny_world: Path,
    pipeline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(words(tiny_world, whole, *drawn(pipeline))) == 0
    said = capsys.readouterr().out
    assert "objects in" in said
    assert "edge_ap_in_place" in said
    index = InPlaceSource(whole).index
    assert (index.source, index.strength, index.classes, len(index.frames)) == ("MeshSource", 0.5, ["Car"], 3)
    assert set(index.figures) == {"edge_ap_drawn", "edge_ap_in_place", "edge_ap_before", "edge_ap_of_chance"}
    write, count = in_place_frames.write_frame, []

    def failing(*arguments: Any) -> str:
        count.append(1)
        if len(count) > 1:
            raise InputError("stopped")
        return write(*arguments)

    monkeypatch.setattr(in_place_frames, "write_frame", failing)
    assert main(words(tiny_world, stopped, *drawn(pipeline))) == 2
    assert len(files(stopped)) == 1
    monkeypatch.undo()
    assert main(words(tiny_world, stopped, *drawn(pipeline))) == 0
    assert files(stopped) == files(whole)
    half = next((stopped / "frames").glob("*.npz"))
    half.write_bytes(half.read_bytes()[:500])
    assert main(words(tiny_world, stopped, *drawn(pipeline))) == 0
    assert files(stopped) == files(whole)
    capsys.readouterr()
    assert main(words(tiny_world, stopped, "--strength", "0")) == 2
    assert "holds objects of other settings; delete it" in capsys.readouterr().err


@pytest.fixture(scope="module")
def plain(tiny_world: Path) -> Injection:
    """The mesh arm's injection, one object a frame."""
    found = injecting_datamodule(EXPERIMENT, ["--data.root", str(tiny_world), *MESH, *PLAIN]).injection
    assert found is not None
    return OneObject(found, 32, "render").injection


@pytest.mark.parametrize("strength", ["0", "0.5"])
def test_labels_are_those_of_the_plain_mesh(
    strength: str, tiny_world: Path, pipeline: Path, plain: Injection, tmp_path: Path
) -> None:
    bank, seen, landed = tmp_path / "bank", 0, 0
    given = ["--strength", "0"] if strength == "0" else drawn(pipeline)
    assert main(words(tiny_world, bank, *given, seeds=1)) == 0
    replaying = copy.copy(plain)
    replaying.source, replaying.min_pixels = InPlaceSource(bank), 1
    reader = KittiDataset(tiny_world, "train", extras=True)
    for frame in (reader.read(index) for index in range(3)):
        if not replaying.source.of(frame.sample_id):
            continue
        seen += 1
        before, after = plain(frame, place_draw(0, 0, frame.sample_id)), replaying(frame, derive(7, seen))
        one, other = before.objects, after.objects
        for name in ("center", "dims", "yaw"):
            np.testing.assert_array_equal(getattr(one.boxes, name), getattr(other.boxes, name))
        for name in ("names", "bbox", "truncation", "occlusion", "alpha"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert other.provenance[-1].startswith(one.provenance[-1])
        assert bool((before.image != after.image).any()) == (strength != "0")
        small = resize(frame, 160, 48)  # as inject_at: training does
        found = replaying(small, derive(8, seen)).objects
        if len(found) > len(small.objects):
            landed += 1
            np.testing.assert_array_equal(found.boxes.center[-1], one.boxes.center[-1])
            np.testing.assert_allclose(found.bbox[-1] * 2, one.bbox[-1], atol=2.1)
    assert seen
    assert landed


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([], "--pipeline: expected a diffusers folder"),
        (["--pipeline", "nowhere"], "nowhere: no such folder, expected a diffusers folder"),
        (["--strength", "1.5"], "argument --strength: invalid share value: '1.5'"),
        (["--pipeline", "nowhere", "--strength", "0.01"], "--strength 0.01 of 20 steps: less than one"),
        (["--seeds", "400"], "--seeds 400: expected 0 or more, and 1 to 100"),
        (["--strength", "0", "--data.injection", "null"], "injects nothing; add --data.injection"),
        (["--strength", "0", "--data.rot", "x"], "rot"),
    ],
)
def test_bad_input_is_one_line(
    extra: list[str], said: str, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(tiny_world, tmp_path / "bank")
    if "null" in extra:
        given = given[: given.index("--data.injection")]
    assert main([*given, *extra]) == 2
    (line,) = (text for text in capsys.readouterr().err.splitlines() if text.startswith("error: "))
    assert said in line
    assert not (tmp_path / "bank" / "in_place.json").exists()


def test_a_folder_of_something_else_is_left_alone(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(words(tiny_world, tmp_path, "--strength", "0")) == 2
    assert "holds mine.txt and no in_place.json, expected a new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["world_dst", "kitti_frames_dst"])
def test_its_arms_are_planned_and_their_banks_prepared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit.commands.prepare.dst.in_place import _parse
    from lit.trainer_cli import resolve

    monkeypatch.chdir(ROOT)
    grid = read_grid(CONF / "sweep" / f"{name}.yaml", overrides={"data.root": "elsewhere"} if "kitti" in name else None)
    assert grid.seeds == [0, 1, 2, 3, 4]
    planned = {tuple(pair) for pair in grid.design.comparisons}
    assert planned >= {("dst", "none"), ("dst_in_place", "mesh"), ("dst_in_place", "none")}
    made = {place for step in grid.prepare for place in step.creates}
    for cell in grid.cells():
        if cell.arm != "dst_in_place":
            continue
        (folder,) = (w.split("=")[1] for w in cell.command if w.startswith("--data.injection.source.folder="))
        assert f"{folder}/in_place.json" in made
    steps = [step for step in grid.prepare if step.command[1] == "dst-in-place"]
    assert len(steps) == grid.banks
    mesh = next(cell for cell in grid.cells() if cell.arm == "mesh")
    for step in steps[:1]:
        options, rest = _parse(step.command[2:])
        config = resolve(["fit", "-c", str(options.config), *rest])["data"]["init_args"]
        same = resolve(mesh.command)["data"]["init_args"]
        assert config["injection"] == same["injection"]  # the mesh arm's own cars and places
        for key in ("root", "size", "inject_at", "subset"):
            assert config[key] == same[key], key
        assert json.loads(json.dumps(config["train_frames"])) == same["train_frames"]

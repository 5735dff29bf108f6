"""``prepare road-masks`` and ``prepare empty-frames``, with a segmenter that the test makes up or the world's maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.injection.surround_site import SurroundSite
from datamodules.kitti.datamodule import KittiDataset
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.tables import Tables
from lit.cli import main
from lit.proxies.segmentation import Segmenter


class Painted(torch.nn.Module):
    """Sees road below the middle row, and a vehicle in the first ``columns`` columns, one column more each image."""

    def __init__(self, road: bool = True, columns: int = 0, growth: int = 0) -> None:
        super().__init__()
        self.classes = ["background", "road", "vehicle"]
        self.road, self.columns, self.growth, self.seen = road, columns, growth, 0

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = images.shape
        found = torch.zeros(batch, 3, height, width)
        found[:, 0] = 0.4
        if self.road:
            found[:, 1, height // 2 :] = 0.6
        found[:, 2, :, : self.columns + self.growth * self.seen] = 0.9
        self.seen += 1
        return found


@pytest.fixture
def root(tiny_world: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    shutil.copytree(tiny_world, folder)
    shutil.rmtree(folder / "training" / "road_2")
    return folder


@pytest.fixture
def command(root: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "seg.ckpt").write_text("weights")
    return ["--root", str(root), "--checkpoint", str(tmp_path / "seg.ckpt")]


def use(monkeypatch: pytest.MonkeyPatch, model: Painted) -> Painted:
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: model))
    return model


def test_road_masks_are_where_placement_reads_them(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted(columns=10))
    assert main(["prepare", "road-masks", *command]) == 0
    assert "18 of 18 masks" in capsys.readouterr().out
    road = KittiDataset(root, "train", extras=True).read(0).road
    assert road is not None
    assert not road[:48].any()
    assert road[48:, 10:].all()
    assert not road[:, :10].any()


def test_road_masks_resume(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted())
    assert main(["prepare", "road-masks", *command]) == 0
    (root / "training" / "road_2" / "000004.png").unlink()
    kept = {p: p.stat().st_mtime_ns for p in (root / "training" / "road_2").iterdir()}
    model = use(monkeypatch, Painted())
    assert main(["prepare", "road-masks", *command]) == 0
    assert model.seen == 1
    assert "wrote 1 of 18" in capsys.readouterr().out
    assert (root / "training" / "road_2" / "000004.png").is_file()
    assert all(p.stat().st_mtime_ns == time for p, time in kept.items())


def test_masks_of_another_source_are_kept(
    tiny_world: Path,
    root: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(monkeypatch, Painted())
    shutil.copytree(tiny_world / "training" / "road_2", root / "training" / "road_2")
    before = (root / "training" / "road_2" / "000000.png").read_bytes()
    assert main(["prepare", "road-masks", *command]) == 2
    assert "masks of another source" in capsys.readouterr().err
    note = root / "training" / "road_2.json"
    note.write_text("[1]")
    assert main(["prepare", "road-masks", *command]) == 2
    assert "road_2.json: Expected `object`" in capsys.readouterr().err
    assert main(["prepare", "road-masks", *command, "--folder", "predicted_2"]) == 0
    assert (root / "training" / "predicted_2" / "000000.png").is_file()
    assert (root / "training" / "road_2" / "000000.png").read_bytes() == before


def test_a_segmenter_without_road_leaves_no_masks(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted(road=False))
    assert main(["prepare", "road-masks", *command]) == 2
    error = capsys.readouterr().err.strip()
    assert "no road in any of 18 frames" in error
    assert len(error.splitlines()) == 1
    assert not list((root / "training" / "road_2").iterdir())
    model = use(monkeypatch, Painted())
    model.classes = ["background", "sky", "vehicle"]
    assert main(["prepare", "road-masks", *command]) == 2
    assert "classes background, sky, vehicle, expected one of road" in capsys.readouterr().err


def test_masks_that_miss_the_labelled_vehicles_are_refused(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted(columns=240))
    assert main(["prepare", "road-masks", *command]) == 2
    error = capsys.readouterr().err.strip()
    assert "labelled vehicles stand on its road, expected at least 80%" in error
    assert len(error.splitlines()) == 1
    assert not list((root / "training" / "road_2").iterdir())
    assert main(["prepare", "road-masks", *command, "--min-coverage", "0"]) == 0


def test_masks_in_a_folder_of_their_own(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, Painted())
    out = tmp_path / "derived"
    assert main(["prepare", "road-masks", *command, "--out", str(out)]) == 0
    assert not (root / "training" / "road_2").exists()
    assert KittiDataset(root, "train", extras=True).read(0).road is None
    assert KittiDataset(root, "train", extras=True, road_masks=str(out)).read(0).road is not None
    with pytest.raises(InputError, match=r"correct data\.road_masks"):
        KittiDataset(root, "train", extras=True, road_masks=str(tmp_path / "nowhere"))


def test_road_masks_of_nuscenes_are_where_surround_injection_reads_them(
    tiny_surround: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seg.ckpt").write_text("weights")
    use(monkeypatch, Painted())
    split, out = str(tiny_surround / "ImageSets" / "train.txt"), tmp_path / "road"
    command = ["--root", str(tiny_surround), "--checkpoint", str(tmp_path / "seg.ckpt"), "--out", str(out)]
    assert main(["prepare", "road-masks", *command, "--version", "v1.0-world", "--split", split]) == 0
    assert "24 of 24 masks" in capsys.readouterr().out
    tables = Tables(tiny_surround / "v1.0-world")
    samples = read_samples(tables, split)
    surround = NuscenesDataset(samples, tiny_surround, True, out).read(0).surround
    assert surround is not None
    places = [camera.road for camera in surround.moment.cameras]
    assert [place is not None and out in place.parents for place in places] == [True] * 6


@pytest.fixture
def of_maps(tiny_surround: Path, tmp_path: Path) -> list[str]:
    """A surround world's copy with maps and without masks, as the command's options."""
    root = tmp_path / "surround"
    shutil.copytree(tiny_surround, root)
    shutil.rmtree(root / "road")
    split, maps = str(root / "ImageSets" / "train.txt"), str(root / "maps" / "expansion")
    return ["--root", str(root), "--maps", maps, "--version", "v1.0-world", "--split", split]


def test_road_masks_from_maps_reach_all_cameras(
    of_maps: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "surround"
    assert main(["prepare", "road-masks", *of_maps]) == 0
    assert "wrote 24 of 24 masks" in capsys.readouterr().out
    samples = read_samples(Tables(root / "v1.0-world"), str(root / "ImageSets" / "train.txt"))
    surround = NuscenesDataset(samples, root, True).read(0).surround
    assert surround is not None
    site = SurroundSite(surround.moment, (3.0, 40.0), (-2.7, 1.7), 20.0)
    assert site.mapped
    points = site.sample(np.random.default_rng(0), 400)
    azimuth = np.arctan2(points[:, 0], points[:, 2])[site.drivable(points[:, [0, 2]])]
    assert (np.abs(azimuth) < 0.5).any()
    assert (np.abs(azimuth) > 2.6).any()  # behind the car too
    next((root / "road").rglob("*.png")).unlink()
    assert main(["prepare", "road-masks", *of_maps]) == 0
    assert "wrote 1 of 24 masks" in capsys.readouterr().out


def test_maps_of_elsewhere_are_refused(
    of_maps: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*options: str) -> str:
        assert main(["prepare", "road-masks", *options]) == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        return error

    assert "only nuScenes has such maps" in refusal("--root", str(root), *of_maps[2:4])
    assert "not allowed with argument" in refusal(*of_maps, "--checkpoint", "seg.ckpt")
    folder = tmp_path / "expansion"  # elsewhere: the world knows its own files' checksums
    shutil.copytree(of_maps[3], folder)
    of_maps[3] = str(folder)
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        for node in content["node"]:
            node["x"] += 9.0  # metres
            node["y"] += 9.0
        path.write_text(json.dumps(content))
    assert "are maps and poses of one release?" in refusal(*of_maps)
    assert not list((tmp_path / "surround" / "road").rglob("*.png"))
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"drivable_area": []}))
    assert "finds no road in any of 24 frames" in refusal(*of_maps)
    next(folder.glob("world-train*.json")).unlink()
    assert "does not exist; expected a map of nuScenes' map expansion" in refusal(*of_maps)


def test_empty_frames_are_a_split(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted(growth=8))  # 0, 8, 16, ... of 320 columns
    assert main(["prepare", "empty-frames", *command, "--min-background", "0.9"]) == 0
    ids = KittiDataset(root, "train").ids
    assert KittiDataset(root, "empty").ids == [i for i, n in zip(ids, range(12)) if 1 - 8 * n / 320 > 0.9]
    use(monkeypatch, Painted(growth=8))
    options = ["--min-background", "0.95", "--name", "emptier", "--split", "val"]
    assert main(["prepare", "empty-frames", *command, *options]) == 0
    assert len(KittiDataset(root, "emptier")) == 2
    assert "2 of 6 frames" in capsys.readouterr().out


def test_no_empty_frame_is_an_error(
    root: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Painted(columns=64))
    assert main(["prepare", "empty-frames", *command]) == 2
    assert "none of 12 frames" in (error := capsys.readouterr().err)
    assert "0.800" in error
    use(monkeypatch, Painted())
    assert main(["prepare", "empty-frames", *command]) == 2
    assert "no vehicle or person in any of 12 frames" in capsys.readouterr().err
    assert main(["prepare", "empty-frames", *command, "--min-background", "1.5"]) == 2
    assert main(["prepare", "empty-frames", *command, "--name", "train"]) == 2
    assert not (root / "ImageSets" / "empty.txt").exists()
    assert np.array_equal(KittiDataset(root, "train").ids, [f"{i:06d}" for i in range(12)])

"""Poses from SeFa and GANSpace directions: labels of a generator whose azimuth is known, refusals, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.object_images import view_angles
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio import view_projection
from lit.cli import main
from lit.commands.prepare import gan_views as prepare_gan_views
from lit.posing import silhouette_hull, sources
from lit.posing.codes import PoseCodes
from lit.posing.direction_poses import (
    DirectionSearch,
    choose,
    label,
    labelling_cars,
    largest_gap,
    loop_codes,
    nearest,
    trusted,
)
from lit.posing.figures import measure_poses
from lit.proxies.pose_regressor import PoseRegressor
from tests.lit.posed_boxes import write_posed_boxes
from tests.lit.posing.test_views import Blob
from tests.lit.posing.toy_poses import SIZE, Compass, Reader

METHODS = pytest.mark.parametrize("method", ["sefa", "ganspace"])
CPU = torch.device("cpu")


def labelled(generator: Compass, search: DirectionSearch) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Latents of the candidates, their azimuth labels and spreads."""
    codes = loop_codes(generator, search, 2)
    latents = codes[:, None].expand(-1, generator.rows, -1)
    found = label(generator, Reader(), latents, labelling_cars(generator, search, CPU), 2)
    return latents, found.azimuth, found.spread


def off(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs((first - second + 180) % 360 - 180))


@METHODS
def test_labels_are_the_azimuths(method: str) -> None:
    generator = Compass()
    search = DirectionSearch(method, directions=3, loops=8)  # type: ignore[arg-type]
    latents, azimuth, spread = labelled(generator, search)
    assert len(latents) == 8 * 24
    assert off(azimuth, generator.azimuth(latents).numpy()).max() < 1.5  # images hold 8 bits
    assert spread.max() < 1
    assert largest_gap(azimuth) < 20
    again = labelled(generator, search)
    assert torch.equal(again[0], latents)
    assert np.array_equal(again[1], azimuth)
    other = loop_codes(generator, DirectionSearch(method, directions=3, loops=8, seed=1), 2)  # type: ignore[arg-type]
    assert not torch.allclose(other, latents[:, 0])


@METHODS
def test_two_directions_are_the_plane_of_the_turn(method: str) -> None:
    """One loop in the plane of the two strongest directions turns once around the circle."""
    generator = Compass()
    latents, azimuth, _ = labelled(generator, DirectionSearch(method, directions=2, loops=1))  # type: ignore[arg-type]
    turn = np.unwrap(np.deg2rad(np.append(azimuth, azimuth[0])))
    assert abs(turn[-1] - turn[0]) == pytest.approx(2 * np.pi)
    assert largest_gap(azimuth) < 30
    away = (latents[:, 0] - 1.5).norm(dim=1)
    assert away.min() > 2  # radius 1.1 sqrt(2) of deviations 3 and 2.5


def test_codes_that_cars_disagree_about_are_not_trusted() -> None:
    generator, search = Compass(blur=60), DirectionSearch("ganspace", directions=2, loops=1)
    latents = loop_codes(generator, search, 2)[:, None].expand(-1, generator.rows, -1)
    found = label(generator, Reader(), latents, labelling_cars(generator, search, CPU), 2)
    assert found.spread.min() > 15
    with pytest.raises(InputError, match=r"0 of 24 codes are trusted .* largest gap of azimuth is 360 degrees"):
        trusted(found, search)


@METHODS
def test_a_half_circle_is_refused(method: str) -> None:
    generator, search = Compass(reach=90), DirectionSearch(method, directions=3, loops=8)  # type: ignore[arg-type]
    latents = loop_codes(generator, search, 2)[:, None].expand(-1, generator.rows, -1)
    found = label(generator, Reader(), latents, labelling_cars(generator, search, CPU), 2)
    with pytest.raises(InputError, match=r"largest gap of azimuth is 1[78]\d degrees, expected at most 45"):
        trusted(found, search)
    wide = DirectionSearch(method, directions=3, loops=8, max_gap=200)  # type: ignore[arg-type]
    assert len(trusted(found, wide)) == len(latents)


def test_gaps() -> None:
    assert largest_gap(np.array([350.0, 10, 30, 200])) == 170
    assert largest_gap(np.array([5.0])) == largest_gap(np.array([])) == 360
    assert largest_gap(np.arange(0, 360, 15.0)) == 15


def test_kept_codes_are_spread_and_cheap() -> None:
    azimuth = np.repeat(np.arange(0, 360, 10.0), 2) + 5
    cost = np.tile([0.0, 0.5], 36)
    chosen = nearest(azimuth, cost, 36)
    assert chosen.tolist() == list(range(0, 72, 2))
    assert len(set(nearest(azimuth, cost, 60).tolist())) == 60  # none twice
    assert len(nearest(azimuth[:5], cost[:5], 12)) == 5
    tempting = np.where((azimuth > 100) & (azimuth < 140), 0.0, 9.0)
    assert largest_gap(azimuth[nearest(azimuth, tempting, 12)]) <= 90  # no code is so good that it leaves its side


def test_codes_of_one_body_and_one_paint_are_chosen() -> None:
    """Of every azimuth there are three codes: of a long body, of a short one, and of the long one in another paint."""
    dims = np.array([4.0, 1.5, 1.7])
    azimuth = np.arange(0, 360, 10.0)
    cameras = np.stack([view_projection(dims, a, 5, 48) for a in azimuth])
    line = np.linspace(-1, 1, 30)
    cube = np.stack(np.meshgrid(line, line, line), -1).reshape(-1, 3)

    def masks(length: float) -> np.ndarray:
        shown = np.zeros((len(cameras), 48, 48), bool)
        for image, camera in zip(shown, cameras):
            points = cube * [length, 0.9, 0.9] @ camera[:, :3].T + camera[:, 3]
            columns, rows = np.rint(points[:, :2] / points[:, 2:]).astype(int).T
            image[rows, columns] = True
        return shown

    every = np.concatenate([masks(0.95), masks(0.5), masks(0.95)])
    paint = np.concatenate([np.full((72, 3), 200.0), np.full((36, 3), 20.0)])
    angles = np.tile(azimuth, 3) + np.repeat([0.0, 0.2, 0.1], 36)
    order = np.random.default_rng(0).permutation(108)
    chosen = order[choose(angles[order], every[order], paint[order], np.tile(cameras, (3, 1, 1))[order], 24)]
    assert len(chosen) == 24
    kinds = np.bincount(chosen // 36, minlength=3)
    assert kinds.max() == 24  # all of one kind


def test_cameras_tell_their_angles() -> None:
    angles = np.array([[10.0, 5], [100, 0], [350, -3], [200, 20]])
    dims = np.array([4.0, 1.5, 1.7])
    cameras = np.stack([view_projection(dims, a, e, 64) for a, e in angles])
    assert np.allclose(view_angles(cameras, dims), angles)
    near = view_projection(dims, 30, 5, 64, distance=9.0, field_of_view=0.4)
    assert np.allclose(view_angles(near[None], dims), [[30, 5]])
    assert near[2, 3] == pytest.approx(9.0)
    assert not np.allclose(near, view_projection(dims, 30, 5, 64, distance=9.0))


class Truth:
    """A matcher that is right for the poses it was told."""

    def __init__(self, degrees: np.ndarray) -> None:
        self.radians = np.deg2rad(degrees)

    def azimuths(self, rgba: np.ndarray) -> np.ndarray:
        assert (rgba[..., 3] == 255).all()
        return np.where(np.arange(len(rgba)) == 0, np.nan, self.radians)  # nothing seen in the first


def test_figures_find_wrong_labels() -> None:
    generator, dims = Compass(), np.array([4.0, 1.5, 1.7])
    latents = loop_codes(generator, DirectionSearch("sefa", directions=2, loops=1), 2)
    poses = latents[:, None].expand(-1, generator.rows, -1)
    azimuth = generator.azimuth(poses).numpy()

    def figures(turned: float, elevation: float) -> tuple[float, float]:
        cameras = np.stack([view_projection(dims, a + turned, elevation, SIZE) for a in azimuth])
        codes, matcher = PoseCodes("toy", poses, cameras, dims), Truth(azimuth)
        found = measure_poses(
            generator,
            Reader(),
            codes,
            2,
            lambda x: np.ones((len(x), SIZE, SIZE)),
            cars=2,
            matcher=matcher,  # type: ignore[arg-type]
        )
        assert (found.poses, found.cars) == (24, 2)
        assert found.matched_error == pytest.approx(turned, abs=1e-3)
        assert f"by matching {turned:.1f}" in str(found)
        return found.azimuth_error, found.elevation_error

    assert figures(0, 7) == pytest.approx((0, 0), abs=0.5)
    assert figures(25, 10) == pytest.approx((25, 3), abs=0.5)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("gan.safetensors", "seg.ckpt", "pose.ckpt"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(prepare_gan_views, "read_stylegan2", lambda path: Compass())
    monkeypatch.setattr(prepare_gan_views, "load_segmenter", lambda path: Blob())
    monkeypatch.setattr(PoseRegressor, "load", staticmethod(lambda path: Reader()))
    monkeypatch.setattr(silhouette_hull, "CELLS", 12)  # quick
    files = ["--generator", str(tmp_path / "gan.safetensors"), "--segmenter", str(tmp_path / "seg.ckpt")]
    found = ["--regressor", str(tmp_path / "pose.ckpt"), "--root", str(tmp_path / "out")]
    small = ["--directions", "3", "--loops", "6", "--poses-count", "12", "--pose-layers", "2", "--objects", "2"]
    return ["prepare", "gan-views", *files, *found, *small]


@METHODS
def test_the_command_writes_a_posed_image_set(
    method: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--poses", method]) == 0
    out = tmp_path / "out"
    posed = PosedImageSet.load(out)
    assert (len(posed), posed.views, posed.image_size, posed.name) == (2, 9, SIZE, "Car")
    assert posed.source.endswith(f"poses of {method}")
    assert np.allclose(posed.dims, sources.mean_car())
    assert np.allclose(posed.dims[0], [3.94, 1.53, 1.64], atol=0.1)
    for car in range(2):  # the image itself says which azimuth it shows
        angles = view_angles(posed.projection[car], posed.dims[car])
        shown = Reader().pose(torch.from_numpy(posed.rgba[car, ..., :3]).permute(0, 3, 1, 2))
        assert off(angles[:, 0], shown[:, 0].numpy()).max() < 2
        assert np.allclose(angles[:, 1], 7)
        assert largest_gap(angles[:, 0]) < 120
    figures = json.loads((out / "poses.json").read_text())
    assert figures["rows"][0]["azimuth_error"] < 2
    assert figures["rows"][0]["poses"] == 12
    assert figures["rows"][0]["largest_gap"] <= 90  # a step of 30 to either side, whatever the masks are
    assert "12 poses of " + method in capsys.readouterr().out
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "posed.json").unlink()
    (out / "gan-000001.npz").unlink()
    progress = json.loads((out / "draws.json").read_text())
    (out / "draws.json").write_text(json.dumps({**progress, "draws": progress["draws"][:1]}))
    assert main([*command, "--poses", method]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert main([*command, "--poses", method, "--loops", "7"]) == 2
    assert "another loops" in capsys.readouterr().err


def test_dims_and_camera_are_options(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--poses", "sefa", "--dims", "5", "2", "2", "--distance", "11"]) == 0
    posed = PosedImageSet.load(tmp_path / "out")
    assert np.allclose(posed.dims, [5, 2, 2])
    assert np.allclose(posed.projection[:, :, 2, 3], 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-overlap", "0.3"], "expected 0, there is no template"),
        (["--templates", "folder"], "leave it out"),
        (["--directions", "1"], "expected 2 to 8"),
        (["--views", "13"], "sefa has 12 poses"),
        (["--max-spread", "-1"], "0 of 144 codes are trusted"),
        (["--max-gap", "1"], "expected at most 1"),
        (["--poses", "pca"], "invalid choice"),
        (["--poses", "templates"], "--templates: not given"),
    ],
)
def test_bad_requests_are_one_line(
    options: list[str], message: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--poses", "sefa", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_regressor_is_asked_for(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    at = command.index("--regressor")
    assert main([*command[:at], *command[at + 2 :], "--poses", "sefa"]) == 2
    assert "needs --regressor" in capsys.readouterr().err
    assert main([*command[:at], *command[at + 2 :], "--templates", "folder", "--judge", "folder"]) == 2
    assert "--judge folder: needs --regressor" in capsys.readouterr().err


def test_templates_are_judged_as_well(command: list[str], tmp_path: Path) -> None:
    write_posed_boxes(tmp_path / "templates", objects=2, views=4, size=SIZE)
    folder = str(tmp_path / "templates")
    chosen = ["--templates", folder, "--template-object", "0", "1", "--steps", "2", "--views", "3", "--judge", folder]
    assert main([*command, *chosen]) == 0
    rows = json.loads((tmp_path / "out" / "poses.json").read_text())["rows"]
    assert [row["id"] for row in rows] == ["box000", "box001"]
    assert rows[0]["largest_gap"] == pytest.approx(90)
    assert 0 < rows[0]["matched_error"] <= 180

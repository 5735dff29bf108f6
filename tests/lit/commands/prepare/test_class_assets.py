"""From a class's name to photographs and to 3D assets, each by one command, on tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from datamodules.assets.bank import AssetBank
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.images import read_image
from datamodules.object_classes import object_class
from datamodules.objects.photos.depth_images import FolderPhotos, photo_paths
from lit.cli import ROOT, main
from lit.commands.configured_model import configured_model
from lit.generators.rgbd.diffusion import RgbdDiffusion
from lit.generators.upsampler import Upsampler
from lit.proxies.pose_regressor import PoseRegressor

CONFIG = str(ROOT / "conf" / "experiment" / "g3dr_small.yaml")
TINY = """--model.network.unet.resolution 16 --model.network.unet.plane_channels 4 --model.network.unet.base 8
--model.network.unet.learned_channels 2 --model.network.unet.multipliers [1,2] --model.bake_shape [16,8,8]"""
G3DR = TINY.split()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of both stages and of a pose regressor."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = RgbdDiffusion(
        ("car", "van"), "none", size=32, encoder_channels=(8, 8), channels=(8, 16), heads=2, width=8, groups=4
    )
    regressor = PoseRegressor(4, 2)
    field = configured_model(Path(CONFIG), G3DR)
    for name, module in (("rgbd", model), ("pose", regressor), ("g3dr", field)):
        content = {"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}
        torch.save(content if name != "g3dr" else {"state_dict": module.state_dict()}, folder / f"{name}.ckpt")
    return folder


def drawing(weights: Path, *more: str) -> list[str]:
    return ["--rgbd", str(weights / "rgbd.ckpt"), "--steps", "2", "--min-area", "0", "--seed", "3", *more]


def test_a_class_becomes_photographs_that_data_reads(weights: Path, tmp_path: Path) -> None:
    words = ["prepare", "class-photos", "--root", str(tmp_path), *drawing(weights, "--class", "car", "van")]
    assert main([*words, "--count", "2", "--size", "16"]) == 0
    paths = photo_paths(tmp_path)
    wanted = [f"{name}/{name}00000{number}.png" for name in ("car", "van") for number in (0, 1)]
    assert [path.as_posix() for path in paths] == wanted
    photo = FolderPhotos(tmp_path, paths, 16, masks=True).read(3)
    assert photo.name == "van"
    assert photo.rgb.shape == (16, 16, 3)


def test_a_class_becomes_assets_by_one_command(weights: Path, tmp_path: Path) -> None:
    words = ["prepare", "class-assets", "-c", CONFIG, "--g3dr", str(weights / "g3dr.ckpt"), "--count", "2"]
    words += [*drawing(weights, "--class", "car"), *G3DR]
    assert main([*words, "--bank", str(tmp_path / "one"), "--root", str(tmp_path / "first"), "--batch", "2"]) == 0
    bank = AssetBank(tmp_path / "one")
    assert bank.ids == ["car000000", "car000001"]
    asset = bank[0]
    assert isinstance(asset, VoxelAsset)
    assert asset.name == "Car"
    np.testing.assert_allclose(asset.dims, object_class("Car").dims)
    assert np.asarray(asset.grid).shape == (16, 8, 8, 4)
    words += [
        "--regressor",
        str(weights / "pose.ckpt"),
        "--dims",
        "4",
        "1.5",
        "1.7",
        "--root",
        str(tmp_path / "second"),
    ]
    assert main([*words, "--bank", str(tmp_path / "two"), "--batch", "1"]) == 0
    other = AssetBank(tmp_path / "two")[0]
    assert isinstance(other, VoxelAsset)
    np.testing.assert_allclose(other.dims, [4, 1.5, 1.7])
    assert not np.array_equal(np.asarray(other.grid), np.asarray(asset.grid))  # the pose turned it
    for folder in ("first", "second"):
        assert [path.as_posix() for path in photo_paths(tmp_path / folder)] == [f"car/{id}.png" for id in bank.ids]
    first, second = (read_image(tmp_path / folder / "car" / "car000001.png") for folder in ("first", "second"))
    assert np.abs(first.astype(int) - second).max() <= 1  # the same picture in a batch of another size


def test_a_model_with_an_upsampler_sees_photographs_of_its_size(weights: Path, tmp_path: Path) -> None:
    network = Upsampler(features=4, groups=1, blocks=1, reduction=2, bicubic=True)
    content = {"hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(content, tmp_path / "rcan.ckpt")
    words = ["prepare", "class-assets", "-c", CONFIG, "--g3dr", str(weights / "g3dr.ckpt"), "--count", "1", *G3DR]
    words += [*drawing(weights, "--class", "car"), "--model.upsampler", str(tmp_path / "rcan.ckpt")]
    assert main([*words, "--bank", str(tmp_path / "bank"), "--root", str(tmp_path / "photos")]) == 0
    assert len(AssetBank(tmp_path / "bank")) == 1
    assert read_image(tmp_path / "photos" / "car" / "car000000.png").shape == (3, 32, 32)


def test_bad_input_is_one_line(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ["prepare", "class-photos", "--root", str(tmp_path / "photos")]
    assets = ["prepare", "class-assets", "--bank", str(tmp_path / "bank"), "-c", CONFIG, "--class", "car"]
    for words, says in (
        (
            [*images, "--rgbd", str(tmp_path / "no"), "--class", "car"],
            "no such file or folder, expected",
        ),
        ([*images, *drawing(weights, "--class", "dog")], "rgbd.ckpt learned car, van"),
        ([*images, *drawing(weights, "--class", "car", "vna")], "learned car, van; did you mean 'van'"),
        (
            [*images, *drawing(weights, "--class", "car", "--prompt", "red")],
            "learned classes, expected a model of texts",
        ),
        ([*images, *drawing(weights, "--class", "car", "car")], "--class car car: expected different names"),
        ([*images, *drawing(weights, "--class", "car", "van", "--prompt", "red")], "--prompt with 2 classes"),
        ([*images, *drawing(weights, "--class", "car", "--guidance", "99")], "--guidance 99: expected"),
        ([*images, *drawing(weights, "--class", "car", "--steps", "1001")], "1001 steps of the sampler: expected 1 to"),
        ([*images, *drawing(weights, "--class", "car", "--device", "tpu9")], "--device tpu9: not usable here"),
        (
            [*assets, *drawing(weights), "--g3dr", str(tmp_path / "no.ckpt")],
            "no.ckpt: no such file",
        ),
        ([*assets, *drawing(weights), "--g3dr", str(weights / "g3dr.ckpt"), "--dims", "0", "1", "1"], "dims 0 1 1"),
        (
            [*assets, *drawing(weights), "--g3dr", str(weights / "g3dr.ckpt"), "--azimuth", "inf"],
            "azimuth inf: expected",
        ),
        ([*assets, *drawing(weights), "--g3dr", str(weights / "pose.ckpt"), *G3DR], "is missing; expected"),
    ):
        assert main(words) == 2, says
        (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert says in said
    assert not (tmp_path / "bank").exists()
    assert not (tmp_path / "photos").exists()

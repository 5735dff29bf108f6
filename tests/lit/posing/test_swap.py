from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.object_images import ImageBatch
from lit.commands.evaluate.command import main
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.swap import measure_pose_swap
from lit.proxies.pose_regressor import PoseRegressor, azimuth_error
from lit.weights import write_stylegan2


class Turned(StyleGAN2Generator):
    """Its images are a stripe at a column that the first two rows of the latent tell."""

    def __init__(self) -> None:
        super().__init__(16, 8, 8, 1, 64, 4)
        self.synthesis.forward = self.draw  # type: ignore[method-assign]

    def draw(self, latent: torch.Tensor, noise: str = "const") -> torch.Tensor:
        column = (torch.sigmoid(3 * latent[:, :2, 0].mean(1)) * 15.99).long()
        image = torch.full((len(latent), 3, 16, 16), -1.0)
        image[torch.arange(len(latent)), :, :, column] = 1.0
        return image


class Reader(PoseRegressor):
    """Column times ten degrees."""

    def pose(self, images: torch.Tensor) -> torch.Tensor:
        column = images[:, 0, 0].argmax(1).float()
        return torch.stack([column * 10, torch.zeros_like(column)], 1)


def test_the_split_that_keeps_the_pose_is_found() -> None:
    torch.manual_seed(0)
    generator = Turned()
    rows = [measure_pose_swap(generator, Reader(), split, pairs=64, batch=20) for split in (1, 2, 5)]
    assert rows[0].shared_pose > 0
    for row in rows[1:]:
        assert row.shared_pose == row.shared_pose_median == 0
        assert row.follows > 0.8  # not where both look the same way
        assert row.shared_shape == pytest.approx(row.unrelated)
        assert row.unrelated > 10
    assert rows[0].unrelated == rows[1].unrelated  # the same samples for every split


def test_bad_splits_are_named() -> None:
    for split in (0, 6):
        with pytest.raises(InputError, match=f"pose_layers {split}"):
            measure_pose_swap(Turned(), Reader(), split)


def test_azimuth_error_goes_the_short_way() -> None:
    assert azimuth_error(torch.tensor([350.0, 10, 180]), torch.tensor([10.0, 350, 0])).tolist() == [20, 20, 180]


def test_regressor_learns_where_a_bright_spot_is() -> None:
    torch.manual_seed(0)
    model = PoseRegressor(width=8, layers=2, lr=3e-3)
    azimuth = torch.rand(256) * 360
    images = torch.zeros(256, 3, 16, 16, dtype=torch.uint8)
    angle = torch.deg2rad(azimuth)
    images[range(256), :, (8 + 6 * angle.cos()).round().long(), (8 + 6 * angle.sin()).round().long()] = 255
    batch = ImageBatch(images, torch.stack([azimuth, torch.full((256,), 10.0)], 1), ("x",) * 256)
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    found = model.eval().pose(images)
    assert azimuth_error(found[:, 0], azimuth).median() < 12
    assert (found[:, 1] - 10).abs().mean() < 5


def test_command_writes_a_row_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    write_stylegan2(tmp_path / "g.safetensors", StyleGAN2Generator(16, 8, 8, 1, 64, 4))
    regressor: Any = PoseRegressor(width=8, layers=2)
    saved = {"state_dict": regressor.state_dict(), "hyper_parameters": dict(regressor.hparams)}
    torch.save({**saved, "pytorch-lightning_version": "2.0.0"}, tmp_path / "r.ckpt")
    words = ["pose-swap", "--generator", str(tmp_path / "g.safetensors"), "--regressor", str(tmp_path / "r.ckpt")]
    assert main([*words, "--pairs", "4", "--out", str(tmp_path / "f.json")]) == 0
    rows = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert [row["pose_layers"] for row in rows] == [1, 2, 3, 4, 5]
    assert "shared pose" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"none\.ckpt: no such file; expected a checkpoint of .*pose_regressor\.yaml"):
        main([*words[:-1], str(tmp_path / "none.ckpt")])

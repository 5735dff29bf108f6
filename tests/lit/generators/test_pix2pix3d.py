from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from datamodules.assets.bank import AssetBank
from datamodules.errors import InputError
from datamodules.images import read_image
from datamodules.object_classes import object_class
from datamodules.objects.labelled.cameras import turned_about_upright
from datamodules.objects.labelled_views import LabelledViews
from lit.adversarial.labelled_game import LabelledWeights
from lit.adversarial.phase import Turn
from lit.callbacks.bank_writer import BankWriter
from lit.callbacks.image_samples import ImageSamples
from lit.callbacks.single_view_scores import SampleViewScores
from lit.commands.evaluate.yaw import read_yaw_table
from lit.generators.pix2pix3d import Critics, LitPix2Pix3D
from lit.metrics.alignment import composite
from lit.posing.field_bank import FieldBank, object_axes
from lit.rendering.camera_march import camera_rays
from lit.weights.official.pix2pix3d import read_pix2pix3d
from tests.lit.networks.pix2pix3d.small import around, label_maps, small
from tests.lit.posing.painted_block import block_field


def model(kind: str = "segmentation", network: dict[str, Any] | None = None, **changes: Any) -> LitPix2Pix3D:
    critics = Critics(channel_base=64, channel_max=8, group=2, r1_every=2, **changes.pop("judges", {}))
    weights = changes.pop("weights", LabelledWeights(smooth=1.0, cross_view=0.1, full_size=True))
    settings: dict[str, Any] = {"batch_images": 4, "density_every": 2, "ema_kimg": 0.02, "total_images": 1000}
    return LitPix2Pix3D(small(kind, **(network or {})), None, weights, critics, **(settings | changes))


def views(kind: str = "segmentation", count: int = 16) -> DataLoader[Any]:
    """Pictures that show their labels in grey."""
    labels = label_maps(kind, count)
    grey = (labels if kind == "edges" else labels[:, None] / 1.5 - 1).expand(-1, 3, -1, -1)
    cameras = around(count)

    def batch(rows: list[int]) -> LabelledViews:
        return LabelledViews(grey[rows].float(), labels[rows], cameras[rows], [f"view{row}" for row in rows])

    return DataLoader(range(count), 4, collate_fn=batch)  # type: ignore[arg-type]


def fit(one: LitPix2Pix3D, folder: Path, kind: str = "segmentation", **changes: Any) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            losses.append({name: float(value) for name, value in outputs.items()})

    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_epochs": 1}
    settings |= {"default_root_dir": folder, "enable_checkpointing": False, "enable_model_summary": False}
    settings |= {"num_sanity_val_steps": 0}
    callbacks = [Keep(), *changes.pop("callbacks", [])]
    trainer = pl.Trainer(callbacks=callbacks, **(settings | changes))
    trainer.fit(one, views(kind), views(kind, 4))
    trainer.save_checkpoint(folder / "last.ckpt")
    return losses


@pytest.mark.parametrize("kind", ["segmentation", "edges"])
def test_three_players_train_and_the_file_alone_is_enough(kind: str, tmp_path: Path) -> None:
    one = model(kind)
    before = nn.utils.parameters_to_vector(one.ema.parameters()).clone()
    samples = ImageSamples(columns=2, rows=2, folder=str(tmp_path))
    losses = fit(one, tmp_path, kind, callbacks=[samples])
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in losses)
    assert [step for step in range(4) if "density" in losses[step]] == [0, 2]
    assert [step for step in range(4) if {"image_r1", "label_r1"} <= set(losses[step])] == [0, 2]
    assert all({"adversarial", "adversarial_labels", "cross_view", "image", "label"} <= set(step) for step in losses)
    assert {"pictures" in step for step in losses} == {True, False}  # the coin falls both ways
    assert not torch.equal(nn.utils.parameters_to_vector(one.ema.parameters()), before)
    assert bool(one.ema.mapping.w_avg.any())
    assert samples.images == 4
    read = read_pix2pix3d(tmp_path / "last.ckpt")
    assert read.config == one.ema.config
    batch = next(iter(views(kind)))
    drawn = one.sample(batch.labels, batch.cameras, batch.keys)
    latent = read.latents(one.codes(batch.keys), batch.cameras, batch.labels)
    assert torch.equal(read(latent, batch.cameras, "const").image, drawn.image)
    assert torch.equal(one.sample(batch.labels, batch.cameras, batch.keys).image, drawn.image)
    image, maps = one.synthesise(batch.labels, one.codes(batch.keys), batch.cameras)
    assert torch.equal(image, drawn.image)
    assert maps.shape == (4, 1 if kind == "edges" else 4, 16, 16)
    assert one.z_dim == 8
    other = one.sample(batch.labels, batch.cameras, batch.keys, sample=1)
    assert not torch.equal(other.image, drawn.image)
    started = model(kind, start=str(tmp_path / "last.ckpt"), judges_start=str(tmp_path / "last.ckpt"))
    assert torch.equal(started.game.generator.mapping.w_avg, read.mapping.w_avg)
    judges = [made.game.label_critic for made in (started, one)]
    vectors = [nn.utils.parameters_to_vector(judge.parameters()) for judge in judges if judge is not None]
    assert torch.equal(*vectors)
    with pytest.raises(InputError, match="differs from the network in features"):
        model(kind, {"features": 12}, start=str(tmp_path / "last.ckpt"))


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"labels_3d": False}, {"labels", "adversarial_labels", "cross_view", "label"}),
        ({"weights": LabelledWeights(smooth=1.0, cross_view=0.0)}, {"cross_view"}),
        ({"judges": {"image": False}}, {"adversarial", "image"}),
        ({"judges": {"labels": "none"}}, {"adversarial_labels", "label"}),
        ({"judges": {"labels": "alone"}}, set()),
    ],
)
def test_switches(changes: dict[str, Any], absent: set[str], tmp_path: Path) -> None:
    losses = fit(model(random_pose=0.0, **changes), tmp_path, limit_train_batches=1)
    everything = {"adversarial", "adversarial_labels", "pictures", "labels", "cross_view", "image", "label"}
    assert everything - set(losses[0]) == absent


def test_judges_together_and_rare_consistency(tmp_path: Path) -> None:
    one = model(random_pose=0.0, judges={"together": True}, cross_view_every=2)
    rendered: list[bool] = []
    one.game.generator.register_forward_pre_hook(lambda *_: rendered.append(torch.is_grad_enabled()))
    losses = fit(one, tmp_path)
    assert [phase.name for phase in one.played] == ["generator", "judges"]
    assert rendered[:2] == [True, False]  # both judge the one
    assert rendered.count(False) == len(losses) == 4
    assert [step for step in range(4) if "cross_view" in losses[step]] == [0, 2]
    assert [step for step in range(4) if {"image_r1", "label_r1"} <= set(losses[step])] == [0, 2]
    assert all({"image", "label"} <= set(step) for step in losses)


def test_other_cameras_are_never_the_own_ones() -> None:
    one = model(random_pose=1.0)
    batch = next(iter(views()))
    for seed in range(8):
        step = one.play_of(Turn(batch, 0, 4, torch.Generator().manual_seed(seed)))
        assert not step.own
        assert not (step.cameras == batch.cameras).all(1).any()
    one.pool = around(5)[1:2]
    step = one.play_of(Turn(batch, 0, 4, torch.Generator().manual_seed(0)))
    assert torch.equal(step.cameras, one.pool.expand(4, -1))


class Counting(pl.LightningDataModule):
    """Views, and the weights of as many classes as asked for."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def class_weights(self, root: bool = False) -> torch.Tensor:
        return torch.full((self.classes,), 2.0 if root else 4.0)

    def train_dataloader(self) -> DataLoader[Any]:
        return views()


@pytest.mark.parametrize("wrong", [{"random_pose": 1.5}, {"lr": -1.0}, {"total_images": 0}, {"seed": -1}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=rf"model\.{name} {value}: expected"):
        model(**wrong)


def test_the_data_balances_the_classes(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_steps": 1}
    settings |= {"default_root_dir": tmp_path, "enable_checkpointing": False, "enable_model_summary": False}
    one = model(balance="root", random_pose=0.0)
    pl.Trainer(**settings).fit(one, Counting(4))
    assert one.game.class_weights is not None
    assert one.game.class_weights.tolist() == [2.0] * 4
    with pytest.raises(InputError, match="data of 3 classes, a network of 4"):
        pl.Trainer(**settings).fit(model(balance="root"), Counting(3))
    with pytest.raises(InputError, match="does not tell its classes' pixels"):
        pl.Trainer(**settings).fit(model(balance="inverse"), views())


def test_prediction_bakes_the_averaged_generators_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = model(bank=FieldBank(shape=(12, 8, 8), cells=24))
    one.ema.decoder.label.heads.bias.data[0] = -20.0  # empty space
    with pytest.raises(InputError, match="none of the label maps became a whole object"):
        predict(one, tmp_path / "empty")
    monkeypatch.setattr(one.ema, "field", lambda planes: block_field(object_axes("+x", "+y")))
    predict(one, tmp_path / "bank")
    bank = AssetBank(tmp_path / "bank")
    assert [asset.id for asset in (bank[index] for index in range(len(bank)))] == [f"view{row}" for row in range(4)]
    assert bank[0].dims.prod() == pytest.approx(np.prod(object_class("Car").dims), rel=1e-6)


def predict(one: LitPix2Pix3D, folder: Path) -> None:
    writer = BankWriter(str(folder), licence="CC0-1.0")
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = pl.Trainer(callbacks=[writer], enable_model_summary=False, default_root_dir=folder.parent, **settings)
    trainer.predict(one, views("segmentation", 4), return_predictions=False)


def test_samples_are_seen_after_a_turn_and_their_depth_is_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plane through the origin across the view has place 0 everywhere, half a diagonal nearer to it -1."""
    one, batch = model("edges"), next(iter(views("edges", 4)))
    drawn_with: list[torch.Tensor] = []
    whole = one.ema.rendered

    def plane(planes: torch.Tensor, cameras: torch.Tensor, size: int, draw: Any) -> Any:
        origins, directions = camera_rays(cameras, size)
        along = cameras[:, :16].view(-1, 4, 4)[:, None, :3, 2]
        depth = (-nearer[-1] - (origins * along).sum(-1)) / (directions * along).sum(-1)
        drawn_with.append(cameras)
        return whole(planes, cameras, size, draw)._replace(depth=depth.unflatten(1, (1, size, size)))

    monkeypatch.setattr(one.ema, "rendered", plane)
    nearer: list[float] = []
    for half, place in ((0.0, 0.0), (0.49, -1.0)):
        nearer.append(half)
        seen = one.turned(batch, [0.0, 0.3, -0.3, 1.0])
        side = one.ema.resolution
        assert seen.rgba.shape == (4, side, side, 4)
        torch.testing.assert_close(seen.depth, torch.full((4, side, side), place), atol=1e-5, rtol=0)
    torch.testing.assert_close(drawn_with[0], turned_about_upright(batch.cameras, [0.0, 0.3, -0.3, 1.0]))
    picture = one.sample(batch.labels, batch.cameras, batch.keys).image
    white = composite(one.turned(batch, [0.0] * 4).rgba, 1.0).permute(0, 3, 1, 2)
    torch.testing.assert_close(white, (picture + 1) / 2, atol=1e-5, rtol=0)


def test_scores_of_samples_against_the_yaw(tmp_path: Path) -> None:
    scores = SampleViewScores(ranges=[0.0, 50.0], extractor="random:0", sheet_photos=3, splits=2, folder=str(tmp_path))
    fit(model("edges", {"conditional": False}, labels_3d=False, judges={"labels": "none"}), tmp_path, "edges",
        callbacks=[scores])  # fmt: skip
    figures = json.loads((tmp_path / "samples_val.json").read_text())
    assert figures["fid_yaw_0"] > 0
    assert 1 <= figures["nfs_yaw_50"] <= 64
    assert "PSNR on grey 1" in figures["evaluator"]["name"]
    assert "psnr_photo" not in figures
    table = read_yaw_table(tmp_path / "yaw_val.json")
    assert (table.yaw, table.nfs) == ([0.0, 50.0], [figures["nfs_yaw_0"], figures["nfs_yaw_50"]])
    side = read_image(tmp_path / "samples_val.png").shape[-1] // 5
    assert read_image(tmp_path / "samples_val.png").shape[-2:] == (3 * 2 * side, 5 * side)
    with pytest.raises(InputError, match="no turned"):
        scores.setup(pl.Trainer(accelerator="cpu", logger=False), pl.LightningModule(), "fit")

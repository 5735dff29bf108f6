from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from datamodules.assets.bank import AssetBank
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.visibility import viewing_direction
from datamodules.errors import InputError
from datamodules.geometry import wrap_angle
from datamodules.objects.object_images import ObjectImages
from lit.callbacks.bank_writer import BankWriter
from lit.callbacks.image_samples import ImageSamples
from lit.generators.compositional_gan import CompositionalGAN
from lit.generators.giraffe import Giraffe
from lit.generators.giraffe_hd import GiraffeHD
from lit.networks.discriminators.conv_discriminator import ConvDiscriminator
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.fields.feature_image import Codes
from lit.networks.fields.object_scene import Scene, SceneRanges
from lit.networks.giraffe import GiraffeGenerator
from lit.networks.giraffe_hd import GiraffeHDGenerator
from lit.posing.view_bank import ViewBank, fitted_projection
from tests.lit.posed_boxes import write_posed_boxes

SIZE = 16
STILL = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
RANGES: dict[str, Any] = {"scale": ((2.6, 1.1, 1.0),) * 2, "translation": STILL, "elevation": (0.0, 20.0)}
RANGES |= {"radius": 12.0, "field_of_view": 27.0, "depth": (8.6, 15.4)}


def giraffe(**changes: Any) -> Giraffe:
    torch.manual_seed(0)
    network = GiraffeGenerator(
        ranges=SceneRanges(**RANGES), resolution=SIZE, size=8, samples=8, z_dim=16, background_z_dim=8, features=16,
        hidden=24, layers=4, octaves=3, background_hidden=8, least=8,
    )  # fmt: skip
    settings: dict[str, Any] = {"lr": 2e-3, "discriminator_lr": 1e-3, "gamma": 1.0, "gamma_every": 32}
    return Giraffe(network, ConvDiscriminator(SIZE, 32), **(settings | {"half_life": 300.0} | changes))


def giraffe_hd(**changes: Any) -> GiraffeHD:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"z_dim": 8, "background_z_dim": 8, "features": 8, "hidden": 16, "layers": 4, "octaves": 3}
    sizes |= {"background_hidden": 8, "mapping_layers": 2, "channel_base": 256, "channel_max": 16}
    network = GiraffeHDGenerator(SceneRanges(**RANGES), resolution=SIZE, size=8, samples=8, **sizes)
    discriminator = StyleGAN2Discriminator(SIZE, 256, 16)
    return GiraffeHD(network, discriminator, **({"gamma_every": 16, "box_growth": 64} | changes))


def data(folder: Path, **changes: Any) -> ObjectImages:
    settings: dict[str, Any] = {"batch_size": 8, "val_every": 4, "steps_per_epoch": 4, "create": False}
    return ObjectImages(str(folder), **(settings | changes))


def trainer(folder: Path, **changes: Any) -> pl.Trainer:
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    settings |= {"num_sanity_val_steps": 0, "default_root_dir": folder, "enable_checkpointing": False}
    settings |= {"enable_model_summary": False, "max_epochs": -1, "check_val_every_n_epoch": 1000}
    return pl.Trainer(**(settings | changes))


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=8, views=16, size=SIZE)


HALF = {
    "bf16": lambda: MixedPrecision("bf16-mixed", "cpu"),
    "16": lambda: MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0)),
}


@pytest.mark.parametrize("build", [giraffe, giraffe_hd])
@pytest.mark.parametrize("precision", HALF)
def test_half_precision_follows_full_precision(build: Any, precision: str, boxes: Path, tmp_path: Path) -> None:
    """Of a scaler's choices, too, which the trainer's own option offers on GPUs alone."""
    runs = []
    for plugins in ([], [HALF[precision]()]):
        losses, model = Losses(), build()
        trainer(tmp_path, max_epochs=1, plugins=plugins, callbacks=[losses]).fit(model, datamodule=data(boxes))
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
        assert model.samples(["a"]).dtype == torch.uint8
        runs.append(losses.values)
    assert runs[1] == pytest.approx(runs[0], rel=0.15, abs=0.05)
    assert runs[0] != runs[1]


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.values += [float(outputs[name]) for name in ("discriminator", "generator")]


class Keep(pl.Callback):
    """Saves a checkpoint named after the images seen at every end of an epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{pl_module.images_seen}.ckpt")


@pytest.mark.parametrize("make", [giraffe, giraffe_hd])
def test_training_moves_everything_and_resumes_with_the_same_losses(boxes: Path, tmp_path: Path, make: Any) -> None:
    whole, rest = Losses(), Losses()
    keep = Keep(tmp_path)
    model: CompositionalGAN = make(total_images=64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = trainer(tmp_path, callbacks=[whole, keep])
    run.fit(model, datamodule=data(boxes))
    assert model.images_seen == 64
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    for part in ("network.scene.field.trunk", "network.scene.background.trunk", "discriminator.", "ema.scene.field"):
        assert any(name.startswith(part) for name in moved), part
    resumed: CompositionalGAN = make(total_images=64)
    again = trainer(tmp_path, callbacks=[rest])
    again.fit(resumed, datamodule=data(boxes), ckpt_path=tmp_path / "32.ckpt", weights_only=False)
    assert rest.values == pytest.approx(whole.values[8:], rel=1e-4)


def test_average_lies_between_start_and_present(boxes: Path, tmp_path: Path) -> None:
    model = giraffe(total_images=32, half_life=32.0)
    start = model.network.renderer.convs[0].weight.detach().clone()
    trainer(tmp_path).fit(model, datamodule=data(boxes))
    now, mean = model.network.renderer.convs[0].weight.detach(), model.ema.renderer.convs[0].weight
    share = float(((mean - start) * (now - start)).sum() / (now - start).square().sum())
    assert 0.05 < share < 0.8
    assert not any(p.requires_grad for p in model.ema.parameters())


def test_validation_scores_fixed_samples_of_the_average(boxes: Path, tmp_path: Path) -> None:
    model, module = giraffe(), data(boxes)
    run = trainer(tmp_path, callbacks=[ImageSamples(columns=4, rows=1)])
    first = run.validate(model, datamodule=module, verbose=False)[0]
    assert first["val/fid"] == run.validate(model, datamodule=module, verbose=False)[0]["val/fid"] > 0


class Turntable:
    """Stands for a trained generator: a car of boxes at an azimuth of -turn + 50 degrees, made from object 0's views.

    Attributes:
        hidden: these objects' masks are empty.
    """

    def __init__(self, hidden: bool = False) -> None:
        from tests.lit.posed_boxes import face_colours

        self.scene, self.colours, self.hidden = self, face_colours(np.random.default_rng(3)), hidden
        self.ranges = SceneRanges(**RANGES)

    def codes(self, count: int, generator: torch.Generator) -> Codes:
        return Codes.sample(count, 2, 2, generator=generator)

    def cut_out(self, codes: Codes, scene: Scene) -> Tensor:
        from datamodules.objects.studio import view_projection
        from tests.lit.posed_boxes import render

        views = []
        for turn in scene.turn[:, 0].tolist():
            projection = view_projection(np.array([4.0, 1.5, 1.7]), -np.degrees(turn) + 50, 6.0, 24)
            views.append(torch.from_numpy(render(projection, 24, self.colours, 1)))
        rgba = torch.stack(views).permute(0, 3, 1, 2).float() / 255
        rgba[:, 3] *= 0 if self.hidden else 1
        return rgba


def directions(asset: ViewAsset) -> np.ndarray:
    direction = viewing_direction(np.asarray(asset.projection), asset.dims)
    return np.asarray(np.arctan2(direction[:, 2], direction[:, 0]))


def test_bank_is_calibrated_against_posed_images(tmp_path: Path) -> None:
    reference = write_posed_boxes(tmp_path / "boxes", objects=4, views=24, size=24)
    bank = ViewBank(2, 12, 6.0, reference=str(reference), calibration_objects=1)
    found = bank.calibrated(Turntable(), torch.device("cpu"))
    assert found.sign == -1
    assert abs(np.degrees(found.offset) - 50) < 10
    asset = bank.write(Turntable(), torch.device("cpu"))[0]
    truth = np.radians(50) - np.arange(12) * 2 * np.pi / 12
    assert np.degrees(np.abs(wrap_angle(directions(asset) - truth))).max() < 12


def test_bank_does_not_depend_on_the_number_of_ranks() -> None:
    bank, network = ViewBank(3, 4, 6.0, offset=50.0, sign=-1), Turntable()
    whole = bank.write(network, torch.device("cpu"))
    parts = [asset for rank in range(2) for asset in bank.write(network, torch.device("cpu"), rank, 2)]
    assert [a.id for a in whole] == ["gan-000000", "gan-000001", "gan-000002"]
    assert sorted(a.id for a in parts) == [a.id for a in whole]
    for asset in whole:
        other = next(part for part in parts if part.id == asset.id)
        assert np.array_equal(asset.rgba, other.rgba)
        assert (asset.depth[asset.rgba[..., 3] > 0] > 0).all()


def test_filter_refuses_empty_masks_and_those_at_the_border() -> None:
    bank = ViewBank(min_foreground=0.1, max_border=0.0)
    alpha = np.zeros((3, 10, 10), np.uint8)
    alpha[0, 3:7, 3:7], alpha[1, 3:7, :7], alpha[2, 4:6, 4:6] = 255, 255, 255
    assert bank.confident(alpha).tolist() == [True, False, False]
    with pytest.raises(InputError, match=r"none of 8 generated objects has a mask"):
        ViewBank(2, 4).write(Turntable(hidden=True), torch.device("cpu"))


def test_projection_fits_the_mask() -> None:
    alpha = np.zeros((40, 40), np.uint8)
    alpha[12:22, 5:31] = 255
    projection = fitted_projection(np.array([3.9, 1.5, 1.6]), 90.0, 5.0, alpha)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points = corners @ projection[:, :3].T + projection[:, 3]
    pixels = points[:, :2] / points[:, 2:]
    assert np.ptp(pixels[:, 1]) == pytest.approx(10.0)
    assert (pixels.min(0) + pixels.max(0)) / 2 == pytest.approx([17.5, 16.5])


@pytest.mark.parametrize("make", [giraffe, giraffe_hd])
def test_prediction_writes_a_bank(boxes: Path, tmp_path: Path, make: Any) -> None:
    bank = ViewBank(2, 4, min_foreground=0.0, max_border=1.0, min_views=0.0, attempts=8)
    model: CompositionalGAN = make(bank=bank)
    torch.nn.init.constant_(model.ema.scene.field.density_out.bias, 5.0)  # a fresh field may be empty
    if isinstance(model, GiraffeHD):
        torch.nn.init.ones_(model.ema.front.blocks[-1].to_rgb.bias)
    run = trainer(tmp_path, callbacks=[BankWriter(str(tmp_path / "bank"))])
    run.predict(model, datamodule=data(boxes), return_predictions=False)
    written = AssetBank(tmp_path / "bank")
    assert len(written) == 2
    assert written.index.kind == "views"
    assert isinstance(written[0], ViewAsset)
    assert written[0].rgba.shape[1:] == (SIZE, SIZE, 4)


@pytest.mark.slow
def test_learns_pictures_of_box_cars(boxes: Path, tmp_path: Path) -> None:
    """Within 40 s the distance of random features to held-out cars falls to a third of the untrained generator's."""
    model, module = giraffe(total_images=4800), data(boxes, batch_size=16, steps_per_epoch=300)
    run = trainer(tmp_path, callbacks=[ImageSamples(columns=4, rows=1)])
    untrained = run.validate(model, datamodule=module, verbose=False)[0]["val/fid"]
    run.fit(model, datamodule=module)
    trained = run.validate(model, datamodule=module, verbose=False)[0]["val/fid"]
    assert trained < untrained / 3

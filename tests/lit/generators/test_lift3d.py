from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision

from datamodules.assets.bank import AssetBank
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.assets.voxels.voxel_render import render_voxels
from datamodules.errors import InputError
from datamodules.objects.posed_datamodule import PosedDataModule
from lit.callbacks.bank_writer import BankWriter
from lit.callbacks.generation_metrics import GenerationMetrics
from lit.generators.lift3d import Lift3D
from lit.generators.ray_objective import RayObjective
from lit.networks.fields.triplane_field import TriplaneField
from tests.lit.posed_boxes import write_posed_boxes


def small(objects: int = 4, **changes: Any) -> Lift3D:
    torch.manual_seed(0)
    settings: dict[str, Any]
    settings = {"latent_init": 0.05, "eval_samples": 24, "lr": 8e-3, "latent_lr": 1e-2}
    settings |= {"joint_images": 10_000, "bake_shape": (64, 28, 28)} | changes
    objective = RayObjective(samples=16, perceptual_weight=0.0)
    return Lift3D(TriplaneField(32, 8, 512, 32, 16, 16), objective, objects, **settings)


def data(folder: Path, **changes: Any) -> PosedDataModule:
    settings: dict[str, Any]
    settings = {"batch_objects": 4, "views_per_object": 4, "rays": 256, "ray_shares": [0.6, 0.25, 0.15]}
    settings |= {"steps_per_epoch": 6, "held_out_every": 6, "create": False} | changes
    return PosedDataModule(str(folder), **settings)


def trainer(folder: Path, **changes: Any) -> pl.Trainer:
    settings: dict[str, Any]
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings |= {"num_sanity_val_steps": 0, "default_root_dir": folder, "enable_checkpointing": False} | changes
    return pl.Trainer(**settings)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes")


def test_half_precision_with_a_loss_scaler_follows_full_precision(boxes: Path, tmp_path: Path) -> None:
    """16-mixed, which the trainer's own option offers on GPUs alone."""
    runs = []
    for plugins in ([], [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))]):
        losses, model = Losses(), small(joint_images=32, refine_images=64)
        trainer(tmp_path, max_epochs=1, plugins=plugins, callbacks=[losses]).fit(model, datamodule=data(boxes))
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
        runs.append(losses.values)
    assert runs[1] == pytest.approx(runs[0], rel=0.1)
    assert runs[0] != runs[1]


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))


@pytest.mark.parametrize("killed_after", [6, 9])
def test_resumed_fit_gives_the_same_next_losses(boxes: Path, tmp_path: Path, killed_after: int) -> None:
    """Also when the checkpoint was taken within an epoch (steps 6 to 11 are the second one)."""
    whole, rest = Losses(), Losses()
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=killed_after, save_top_k=-1)
    model = small()
    first = trainer(
        tmp_path, max_steps=14, callbacks=[whole, EMAWeightAveraging(decay=0.9), keep], enable_checkpointing=True
    )
    first.fit(model, datamodule=data(boxes))
    second = trainer(tmp_path, max_steps=14, callbacks=[rest, EMAWeightAveraging(decay=0.9)])
    resumed = small()
    checkpoint = tmp_path / f"step={16 * killed_after}.ckpt"
    second.fit(resumed, datamodule=data(boxes), ckpt_path=checkpoint, weights_only=False)
    assert rest.values == pytest.approx(whole.values[killed_after:], rel=1e-5)
    assert resumed.images_seen == model.images_seen == 14 * 16


def test_training_ends_with_its_images(boxes: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=-1)
    run.fit(small(joint_images=16 * 8), datamodule=data(boxes))
    assert run.global_step == 8


def test_all_losses_together(boxes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = TriplaneField(16, 4, 256, 16, 8, 8, parts=4)
    model = Lift3D(network, RayObjective(samples=8, shared_jitter=True), 4, latent_rows=16)
    run = trainer(tmp_path, max_steps=1)
    run.fit(model, datamodule=data(boxes, patch=8, part_labels=True, ray_shares=None))
    logged = {name for name in run.callback_metrics if name.startswith("train/")}
    assert logged == {"train/photometric", "train/iou", "train/perceptual", "train/semantic"}


def test_second_stage_moves_only_the_planes_of_objects_it_saw(boxes: Path, tmp_path: Path) -> None:
    model, module = small(objects=5, joint_images=32, refine_images=32, smoothness=0.0), data(boxes)
    run = trainer(tmp_path, max_steps=2)
    run.fit(model, datamodule=module)
    assert model.refining
    frozen = {name: value.clone() for name, value in model.state_dict().items()}
    assert model.residuals is not None
    assert (model.residuals.values == 0).all()
    model.total_images = 64
    trainer(tmp_path, max_steps=2).fit(model, datamodule=module)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, frozen[name])}
    assert moved == {"residuals.values"}
    assert (model.residuals.values[:4] != 0).flatten(1).any(1).all()
    assert (model.residuals.values[4] == 0).all()


def test_too_small_a_latent_table_is_bad_input(boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.objects 2 < 4"):
        trainer(tmp_path, max_steps=1).fit(small(objects=2), datamodule=data(boxes))


def test_interpolation_and_samples() -> None:
    model = small()
    assert torch.equal(model.interpolate(0, 3, 0.0), model.latents[0])
    assert torch.allclose(model.interpolate(0, 3, 0.5), (model.latents[0] + model.latents[3]) / 2)
    latents, dims = model.sample_latents(3, seed=1)
    again, _ = model.sample_latents(3, seed=1)
    assert latents.shape == (3, *model.latents.shape[1:])
    assert dims.shape == (3, 3)
    assert torch.equal(latents, again)
    assert not torch.equal(latents, model.sample_latents(3, seed=2)[0])


@pytest.mark.slow
def test_learns_held_out_views_and_bakes_them(boxes: Path, tmp_path: Path) -> None:
    """Within 40 s held-out PSNR rises by 4 dB over the untrained copy, and the baked bank shows the same cars."""
    module, model = data(boxes, rays=512, steps_per_epoch=60, val_views=None), small(joint_images=16 * 240)
    metrics, writer = GenerationMetrics(), BankWriter(str(tmp_path / "bank"))
    run = trainer(tmp_path, max_epochs=-1, callbacks=[metrics, writer], check_val_every_n_epoch=100)
    untrained = run.validate(model, datamodule=module, verbose=False)[0]
    run.fit(model, datamodule=module)
    trained = run.validate(model, datamodule=module, verbose=False)[0]
    assert trained["val/psnr"] > untrained["val/psnr"] + 4
    assert trained["val/mask_iou"] > 0.85
    assert (tmp_path / "views_val.png").stat().st_size > 1000
    run.predict(model, datamodule=module, return_predictions=False)
    bank = AssetBank(tmp_path / "bank")
    assert len(bank) == 4
    held_out = module.held_out
    assert held_out is not None
    for index in range(2):
        asset = bank[index]
        assert isinstance(asset, VoxelAsset)
        assert np.allclose(asset.dims, held_out.dims[held_out.ids.index(asset.id)])
        for view in range(held_out.rgba.shape[1]):
            rgba, _ = render_voxels(asset.grid, held_out.projection[index, view], 0, 0, 32, 32)
            observed = held_out.rgba[index, view]
            both = (rgba[..., 3] > 127) & (observed[..., 3] > 127)
            assert both.sum() > 0.8 * ((rgba[..., 3] > 127) | (observed[..., 3] > 127)).sum()
            assert np.abs(rgba[both][:, :3].astype(float) - observed[both][:, :3]).mean() < 40

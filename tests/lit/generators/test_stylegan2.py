from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision

from datamodules.objects.object_images import ObjectImages
from datamodules.randomness import derive
from lit.adversarial.style_mixing import mixed_latents
from lit.callbacks.image_samples import ImageSamples
from lit.generators.stylegan2 import StyleGAN2
from tests.lit.posed_boxes import write_posed_boxes


def small(**changes: Any) -> StyleGAN2:
    torch.manual_seed(0)
    settings: dict[str, Any]
    settings = {"resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    settings |= {"batch_images": 8, "r1_every": 4, "path_every": 2, "gamma": 1.0, "ema_kimg": 0.1, "total_images": 800}
    return StyleGAN2(**(settings | changes))


def data(folder: Path, **changes: Any) -> ObjectImages:
    return ObjectImages(str(folder), **{"batch_size": 8, "steps_per_epoch": 6, "create": False} | changes)


def trainer(folder: Path, **changes: Any) -> pl.Trainer:
    settings: dict[str, Any]
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings |= {"num_sanity_val_steps": 0, "default_root_dir": folder, "enable_checkpointing": False}
    settings |= {"use_distributed_sampler": False, "limit_val_batches": 0}
    return pl.Trainer(**(settings | changes))


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=5, views=6, size=8)


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.steps.append({name: float(value) for name, value in outputs.items()})


def test_penalties_come_by_images_not_by_steps(boxes: Path, tmp_path: Path) -> None:
    """An interval of 32 images for R1 and of 16 for the path length, whatever the batch."""
    for batch, steps in ((8, 8), (4, 16)):
        losses = Losses()
        run = trainer(tmp_path, max_epochs=1, callbacks=[losses])
        model = small()
        run.fit(model, datamodule=data(boxes, batch_size=batch, steps_per_epoch=steps))
        assert model.images_seen == 64
        assert [i * batch for i, entry in enumerate(losses.steps) if "r1" in entry] == [0, 32]
        assert [i * batch for i, entry in enumerate(losses.steps) if "path" in entry] == [0, 16, 32, 48]


@pytest.mark.parametrize("killed_after", [6, 9])
def test_resumed_fit_gives_the_same_next_losses(boxes: Path, tmp_path: Path, killed_after: int) -> None:
    whole, rest = Losses(), Losses()
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    model = small(augment_target=0.6)
    steps = {"max_epochs": 2, "callbacks": [whole, keep], "enable_checkpointing": True}
    trainer(tmp_path, **steps).fit(model, datamodule=data(boxes))
    saved = {torch.load(p, weights_only=False)["images_seen"]: p for p in tmp_path.glob("*.ckpt")}
    resumed = small(augment_target=0.6)
    second = trainer(tmp_path, max_epochs=2, callbacks=[rest])
    second.fit(resumed, datamodule=data(boxes), ckpt_path=saved[killed_after * 8], weights_only=False)
    assert len(rest.steps) == 12 - killed_after
    for got, wanted in zip(rest.steps, whole.steps[killed_after:]):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    for (name, got), wanted in zip(resumed.state_dict().items(), model.state_dict().values()):
        assert torch.allclose(got, wanted, atol=1e-5), name


class Batches(pl.Callback):
    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.images.append(batch.images.clone())


def test_two_steps_are_those_of_the_paper_written_out(boxes: Path, tmp_path: Path) -> None:
    """Adam's steps one after the other, to the last bit: game, path length and R1 (due at the first step only)."""
    model, batches = small(augment=[], ema_rampup=0.0), Batches()
    start = copy.deepcopy(model)
    trainer(tmp_path, max_epochs=1, callbacks=[batches]).fit(model, datamodule=data(boxes, steps_per_epoch=2))
    generator, discriminator, ema, mean = start.generator, start.discriminator, start.ema, torch.zeros(())

    def adam(network: torch.nn.Module, every: int) -> torch.optim.Adam:
        share = every / (every + 1)
        return torch.optim.Adam(network.parameters(), 0.002 * share, betas=(0.0, 0.99**share))

    first, second = adam(generator, 2), adam(discriminator, 4)

    def step(optimizer: torch.optim.Adam, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def draw(count: int, track: bool = False) -> torch.Tensor:
        one, two = generator.mapping(torch.randn(2 * count, 8)).chunk(2)
        if track:
            generator.mapping.w_avg.lerp_(one.detach().mean(0), 1 - 0.995)
        mixed = torch.rand(count, 1) < 0.9
        later = (torch.arange(4) >= torch.randint(1, 4, (count, 1))) & mixed
        return torch.where(later[..., None], two[:, None], one[:, None])

    for number, images in enumerate(batches.images):
        torch.manual_seed(int(derive(0, 8 * number, 0, "stylegan2").integers(2**62)))
        real = images.float() / 127.5 - 1
        discriminator.requires_grad_(False)
        latents = draw(8, track=True)
        step(first, F.softplus(-discriminator(generator.synthesis(latents))).mean())
        if number == 0:
            latents = draw(4)
            shown = generator.synthesis(latents)
            noise = torch.randn_like(shown)
            (gradient,) = torch.autograd.grad((shown * noise).sum() / 8, latents, create_graph=True)
            lengths = gradient.square().sum(-1).mean(-1).sqrt()
            step(first, 2.0 * 2.0 * (lengths - mean).square().mean())
            mean.lerp_(lengths.detach().mean(), 0.01)
        discriminator.requires_grad_(True)
        with torch.no_grad():
            fake = generator.synthesis(draw(8))
        on_real = discriminator(real)
        on_fake = discriminator(fake)
        step(second, F.softplus(-on_real).mean() + F.softplus(on_fake).mean())
        if number == 0:
            given = real.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(discriminator(given).sum(), given, create_graph=True)
            step(second, 0.5 * 4.0 * gradient.square().flatten(1).sum(1).mean())
        for kept, value in zip(ema.parameters(), generator.parameters()):
            kept.data.lerp_(value.data, 1 - 0.5 ** (8 / 100))
    assert torch.equal(model.path.mean, mean)
    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        for (name, got), wanted in zip(ours.state_dict().items(), theirs.state_dict().values()):
            assert torch.equal(got, wanted), name
    for got, wanted in zip(model.ema.parameters(), ema.parameters()):
        assert torch.equal(got, wanted)


def half(scale: float) -> dict[str, Any]:
    """16-mixed on the CPU, which the trainer's own option would turn to bf16-mixed."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))]}


@pytest.mark.parametrize("precision", [{"precision": "bf16-mixed"}, half(1024.0)], ids=["bf16", "16"])
def test_half_precision_follows_full_precision(boxes: Path, tmp_path: Path, precision: dict[str, Any]) -> None:
    runs = []
    for changes in ({}, precision):
        losses, model = Losses(), small(augment=[])
        run = trainer(tmp_path, max_epochs=1, callbacks=[losses], **changes)
        run.fit(model, datamodule=data(boxes))
        runs.append(losses.steps)
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    for full, rounded in zip(*runs):
        assert rounded == pytest.approx(full, rel=0.15, abs=0.02)
    assert runs[0] != runs[1]


def test_gradients_that_overflow_leave_the_step_out_and_lower_the_scale(boxes: Path, tmp_path: Path) -> None:
    model = small()
    constant = model.generator.synthesis.constant
    assert constant is not None
    start = constant.detach().clone()
    run = trainer(tmp_path, max_epochs=1, **half(2.0**126))
    run.fit(model, datamodule=data(boxes, steps_per_epoch=1))
    assert torch.equal(constant, start)
    assert isinstance(run.precision_plugin, MixedPrecision)
    assert run.precision_plugin.scaler is not None
    assert run.precision_plugin.scaler.get_scale() < 2.0**126


def test_loggers_draw_over_images(boxes: Path, tmp_path: Path) -> None:
    log = CSVLogger(tmp_path)
    run = trainer(tmp_path, max_epochs=2, logger=log, log_every_n_steps=1, callbacks=[ImageSamples()])
    run.limit_val_batches = 1.0
    run.fit(small(), datamodule=data(boxes, steps_per_epoch=3))
    rows = list(csv.DictReader((Path(log.log_dir) / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row.get("train/generator")] == [8, 16, 24, 32, 40, 48]
    assert [int(row["step"]) for row in rows if row.get("val/fid")] == [24, 48]


def test_a_step_moves_what_it_should(boxes: Path, tmp_path: Path) -> None:
    model = small(ema_rampup=0.0, ema_kimg=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer(tmp_path, max_epochs=1).fit(model, datamodule=data(boxes, steps_per_epoch=1))
    after = model.state_dict()
    decay = 0.5 ** (8 / 1000)
    for name, value in after.items():
        if name.startswith("ema.") and "noise_const" not in name and "w_avg" not in name:
            live = name.replace("ema.", "generator.")
            assert torch.allclose(value, decay * before[name] + (1 - decay) * after[live], atol=1e-6), name
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    for part in ("generator", "discriminator"):
        names = {name for name, _ in getattr(model, part).named_parameters(part)}
        assert names <= moved, names - moved
    assert {"generator.mapping.w_avg", "ema.mapping.w_avg", "path.mean"} <= moved
    assert all(p.requires_grad for p in model.discriminator.parameters())
    assert not any(p.requires_grad for p in model.ema.parameters())


def test_mixing_exchanges_later_rows() -> None:
    generator = small().generator
    torch.manual_seed(1)
    latents = mixed_latents(generator, 200, 1.0)
    same = (latents == latents[:, :1]).all(-1)
    lengths = same.sum(1)
    assert set(lengths.tolist()) == {1, 2, 3}  # of four rows, at least one on each side
    assert all((row[: int(n)]).all() and not row[int(n) :].any() for row, n in zip(same, lengths))
    later = latents[range(200), lengths.clamp(max=3)]
    assert torch.equal(later, latents[:, -1])  # one second style, not one a row
    half = mixed_latents(generator, 400, 0.5)
    assert (half[:, 0] == half[:, -1]).all(-1).float().mean().item() == pytest.approx(0.5, abs=0.1)
    plain = mixed_latents(generator, 20, 0.0)
    assert torch.equal(plain, plain[:, :1].expand_as(plain))


def test_adaptive_probability_follows_the_sign_of_real_logits(boxes: Path, tmp_path: Path) -> None:
    model = small(augment_target=-1.0, augment_kimg=0.1)  # any sign lies above: it rises by a step's share
    trainer(tmp_path, max_epochs=1).fit(model, datamodule=data(boxes, steps_per_epoch=3))
    assert model.augment.probability.item() == pytest.approx(3 * 8 / 100)
    model = small(augment_target=2.0)
    trainer(tmp_path, max_epochs=1).fit(model, datamodule=data(boxes, steps_per_epoch=3))
    assert model.augment.probability.item() == 0


def test_samples_belong_to_their_names_and_are_scored(boxes: Path, tmp_path: Path) -> None:
    model = small()
    assert torch.equal(model.sample(["a", "b", "c"])[1], model.sample(["b"])[0])
    scores = ImageSamples(columns=3, rows=1)
    figures = trainer(tmp_path, callbacks=[scores], limit_val_batches=1.0).validate(
        model, datamodule=data(boxes, batch_size=4), verbose=False
    )
    assert figures[0]["val/fid"] > 0
    stated = json.loads((tmp_path / "samples_val.json").read_text())
    assert stated["evaluator"]["name"] == "fid/random-0"
    assert stated["evaluator"]["counts"] == {"images": 6}
    assert (tmp_path / "samples_val.png").is_file()


class Digest(pl.Callback):
    """Writes what each process ends with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.slow
def test_two_processes_hold_the_same_weights(boxes: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1, devices=2, strategy="ddp_spawn", callbacks=[Digest(tmp_path)])
    run.fit(small(), datamodule=data(boxes, batch_size=4))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start = small().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["generator.synthesis.constant"], start["generator.synthesis.constant"])
    assert not torch.equal(first["discriminator.out.weight"], start["discriminator.out.weight"])


@pytest.mark.slow
def test_training_brings_samples_nearer_to_the_data(tmp_path: Path) -> None:
    folder = write_posed_boxes(tmp_path / "boxes", objects=10, views=12, size=16)
    settings = {"resolution": 16, "z_dim": 32, "w_dim": 32, "channel_base": 512, "channel_max": 32}
    model = small(**settings, total_images=1500, batch_images=16, r1_every=16, path_every=8, ema_kimg=0.5, lr=0.003)
    module = data(folder, batch_size=16, steps_per_epoch=375, val_every=2)
    scored = {"callbacks": [ImageSamples(folder=str(tmp_path))], "limit_val_batches": 1.0}
    before = trainer(tmp_path, **scored).validate(model, datamodule=module, verbose=False)[0]["val/fid"]
    trainer(tmp_path, max_epochs=-1).fit(model, datamodule=module)
    after = trainer(tmp_path, **scored).validate(model, datamodule=module, verbose=False)[0]["val/fid"]
    assert after < 0.4 * before

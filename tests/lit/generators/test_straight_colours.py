"""An autoencoder that begins with colours: what passes at first, what training keeps of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from datamodules.errors import InputError
from lit.generators.dst.autoencoder import DstAutoencoder, build_autoencoder, hue_kept, take_over
from lit.generators.dst.straight_colours import begin_with_colours
from lit.generators.rgbd.diffusion import RgbdDiffusion
from lit.networks.image_range import to_pixels


def painted(count: int, channels: int, seed: int) -> Tensor:
    """(B, C, 32, 32) pictures in [-1, 1]: a box in a colour of its own before grey, shaded from left to right."""
    draw = torch.Generator().manual_seed(seed)
    shade = torch.linspace(-0.4, 0.4, 32).expand(count, channels, 32, 32)
    pictures = shade.clone()
    colours = torch.rand(count, channels, 1, 1, generator=draw) * 1.2 - 0.6
    pictures[..., 8:24, 6:26] = shade[..., 8:24, 6:26] * 0.3 + colours
    return pictures


def ids(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize(("channels", "groups"), [(3, 2), (3, 1), (4, 1)])
def test_the_reduced_picture_passes_before_any_training(channels: int, groups: int) -> None:
    torch.manual_seed(0)
    network = build_autoencoder(32, (16, 32, 32), 1, groups, channels).eval()
    pictures = painted(8, channels, 1)
    low = F.interpolate(F.avg_pool2d(pictures, 4), scale_factor=4)

    def decoded() -> Tensor:
        with torch.no_grad():
            found: Tensor = network.decode(network.encode(pictures).latent_dist.mode()).sample
        return found

    assert hue_kept(decoded(), pictures, ids(8))[0].mean() < 0.2
    begin_with_colours(network)
    found = decoded()
    assert hue_kept(found, pictures, ids(8))[0].mean() > 0.5
    for channel in range(channels):
        together = torch.stack([found[:, channel].flatten(), low[:, channel].flatten()])
        assert torch.corrcoef(together)[0, 1] > 0.97
        assert found[:, channel].std() / low[:, channel].std() == pytest.approx(1.0, abs=0.25)


class Painted(NamedTuple):
    """A batch of the autoencoder."""

    images: Tensor
    ids: list[str]


class Rates(Callback):
    """Notes the learning rate of every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def trained(module: DstAutoencoder, steps: int, folder: Path) -> list[float]:
    """Train as `fit` does, on eight pictures a step; the rates of the steps."""
    pictures, rates = to_pixels(painted(64, 3, 2)), Rates()
    batches = [Painted(pictures[8 * step % 64 :][:8], ids(8)) for step in range(steps)]
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[rates],
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]  # a list is a data set
    return rates.rates


def test_training_from_colours_keeps_hue_that_training_from_noise_does_not_learn(tmp_path: Path) -> None:
    """Sixty steps, the rate rising in the first forty; the pictures of the score are of other colours."""
    held_out = painted(16, 3, 3)
    kept, errors = {}, {}
    for straight in (False, True):
        torch.manual_seed(1)
        module = DstAutoencoder(
            32, (16, 32, 32), groups=2, lr=2e-3, straight=straight, warmup=40 / 60, total_images=8 * 60
        )
        trained(module, 60, tmp_path)
        with torch.no_grad():
            again = module.network.decode(module.network.encode(held_out).latent_dist.mode()).sample
        kept[straight] = float(hue_kept(again, held_out, ids(16))[0].mean())
        errors[straight] = float((again - held_out).abs().mean())
    assert kept[True] > 0.6
    assert kept[False] < kept[True] - 0.3
    assert errors[True] < errors[False]


def test_the_rate_rises_to_what_was_asked(tmp_path: Path) -> None:
    module = DstAutoencoder(32, (16, 16), groups=2, lr=1e-3, warmup=4 / 1000, total_images=8 * 1000)
    rates = trained(module, 7, tmp_path)
    assert rates[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3], rel=1e-3)
    assert rates[5:] == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_hue_is_scored_where_there_is_some() -> None:
    pictures = painted(3, 3, 4)
    pictures[1] = pictures[1].mean(0, keepdim=True)
    kept, of = hue_kept(pictures, pictures, ["a", "b", "c"])
    assert of == ["a", "c"]
    assert kept.tolist() == [1.0, 1.0]
    grey = pictures.mean(1, keepdim=True).expand_as(pictures)
    assert hue_kept(grey, pictures, ["a", "b", "c"])[0] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert hue_kept(-pictures, pictures, ["a", "b", "c"])[0].max() == pytest.approx(-1.0)


@pytest.mark.parametrize(("channels", "groups", "inputs"), [((16, 32), 4, 3), ((16, 32), 2, 4), ((32, 32), 1, 5)])
def test_too_few_channels_for_colours_to_pass_are_refused(channels: tuple[int, ...], groups: int, inputs: int) -> None:
    with pytest.raises(InputError, match=r"set model\.groups lower, or model\.straight false"):
        begin_with_colours(build_autoencoder(32, channels, 1, groups, inputs))


def test_an_autoencoder_that_normalises_otherwise_is_refused() -> None:
    """No weight differs in size: what it decodes would be wrong without a word."""
    one, two = (build_autoencoder(32, (16, 16), 1, groups) for groups in (2, 4))
    with pytest.raises(InputError, match=r"normalises 4 groups of channels, expected 2; set model\.groups"):
        take_over(one, two, "vae", str(Path("runs/last.ckpt")))
    module = RgbdDiffusion(("car",), size=32, encoder_channels=(16, 16), groups=8, encoder_groups=2)
    assert module.vae.config["norm_num_groups"] == 2
    assert RgbdDiffusion(("car",), size=32, encoder_channels=(16, 16), groups=8).vae.config["norm_num_groups"] == 8

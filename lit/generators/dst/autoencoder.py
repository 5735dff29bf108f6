"""The small diffusion model's autoencoder: diffusers' AutoencoderKL, trained on pictures of single objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from datamodules.errors import InputError
from detectors.rank_counts import mean_over_ranks
from lit.generators.base import Generator, step_draw
from lit.generators.dst.straight_colours import begin_with_colours
from lit.networks.batch_draws import batch_draw, part_of_batch
from lit.networks.image_range import from_pixels, to_pixels
from lit.weights.fitting import restore

LATENT_CHANNELS = 4  # Stable Diffusion's
HUED = 0.2  # of [-1, 1]: what a pixel's opponent colours have to differ from grey by to count as hued

Self = TypeVar("Self", bound="DstAutoencoder")


def build_autoencoder(size: int, channels: Sequence[int], layers: int, groups: int, inputs: int = 3) -> AutoencoderKL:
    """An AutoencoderKL whose latents have a side 2^(len(channels) - 1) times smaller than ``size``.

    Raises:
        InputError: groups that do not divide the channels.
    """
    require_groups(groups, channels)
    depth = len(channels)
    return AutoencoderKL(
        in_channels=inputs,
        out_channels=inputs,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=groups,
        sample_size=size,
    )


def require_groups(groups: int, channels: Sequence[int]) -> None:
    """Refuse groups of normalisation that do not divide every layer's channels.

    Raises:
        InputError: names both.
    """
    if groups < 1 or any(count % groups for count in channels):
        given = ", ".join(map(str, channels))
        raise InputError(
            f"groups {groups}: expected a divisor of the channels {given}; set model.groups (or "
            "model.encoder_groups) to one"
        )


def sampled(posterior: Any, draw: torch.Generator) -> Tensor:
    """A draw (B, 4, s, s) from the latents' normal distributions, the same whatever the number of processes."""
    shape, mean = posterior.mean.shape[1:], posterior.mean
    noise = batch_draw(lambda count: torch.randn(count, *shape, generator=draw, device=mean.device), len(mean))
    drawn: Tensor = mean + posterior.std * noise
    return drawn


def take_over(own: torch.nn.Module, given: torch.nn.Module, name: str, path: str) -> None:
    """Copy the weights of another network of the same sizes.

    Args:
        own: gets them.
        given: has them.
        name: of the network, for the message.
        path: of the checkpoint, likewise.

    Raises:
        InputError: the sizes differ.
    """
    groups = [n.config["norm_num_groups"] for n in (own, given) if isinstance(n, AutoencoderKL)]
    if len(set(groups)) > 1:  # no weight tells
        raise InputError(
            f"{path}: its {name} normalises {groups[1]} groups of channels, expected {groups[0]}; set "
            "model.groups (or model.encoder_groups) to the same"
        )
    sizes = ({key: list(value.shape) for key, value in network.state_dict().items()} for network in (own, given))
    expected, found = sizes
    if found != expected:
        key = next(key for key in [*expected, *found] if expected.get(key) != found.get(key))
        raise InputError(
            f"{path}: its {name} has other sizes, first {key} {found.get(key)}, expected {expected.get(key)}; give "
            "model.* (encoder_channels, encoder_layers, ...) as that training had them"
        )
    own.load_state_dict(given.state_dict())


class DstAutoencoder(Generator):
    """Absolute error of the pictures and a little of the latents' divergence from a standard normal.

    Subclasses learn pictures of other channels: they say how many, and what a batch's pictures are.

    Args:
        size: pixels of the square pictures.
        channels: of each resolution; each after the first halves the side.
        layers: of each resolution.
        groups: of group normalisation.
        kl_weight: of the divergence, a latent value.
        lr: of AdamW.
        total_images: training stops after so many.
        seed: of the latents drawn in training.
        start: checkpoint of one like it that training goes on from: one of the studio's objects, before few crops.
        straight: begin with weights that pass colours on
            (:func:`lit.generators.dst.straight_colours.begin_with_colours`); ``warmup`` keeps them.
        warmup: share of the training in which the rate rises.

    Attributes:
        inputs: channels of a picture.
        experiment: file below conf/experiment that trains it.
    """

    inputs = 3
    experiment = "dst_autoencoder"

    def __init__(
        self,
        size: int = 64,
        channels: tuple[int, ...] = (32, 64, 64),
        layers: int = 1,
        groups: int = 16,
        kl_weight: float = 1e-4,
        lr: float = 1e-3,
        total_images: int = 100_000,
        seed: int = 0,
        start: str | None = None,
        straight: bool = False,
        warmup: float = 0.02,
    ) -> None:
        super().__init__(total_images, warmup=warmup)
        self.save_hyperparameters()
        self.network = build_autoencoder(size, channels, layers, groups, self.inputs)
        if straight:
            begin_with_colours(self.network)
        self.network.to(memory_format=torch.channels_last)  # a fifth faster where few channels meet many pixels
        self.register_buffer("latent_scale", torch.ones(()))
        self.latent_scale: Tensor  # one over the latents' spread, as Stable Diffusion's scaling factor

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """A trained autoencoder in evaluation mode.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """
        return restore(cls, path, f"a checkpoint of conf/experiment/{cls.experiment}.yaml; train one with it")

    def pictures(self, batch: Any) -> Tensor:
        """(B, inputs, S, S) in [-1, 1] of a batch."""
        return from_pixels(batch.images)

    def shown(self, found: Tensor, pictures: Tensor) -> Any:
        """What callbacks get of decoded pictures and those they came from, both as :meth:`pictures`."""
        return to_pixels(found)

    def setup(self, stage: str | None) -> None:
        """Take over what training goes on from.

        Raises:
            InputError: it does not fit.
        """
        if stage == "fit" and not self.images_seen and self.hparams["start"] is not None:
            other = self.load(self.hparams["start"])
            take_over(self.network, other.network, "autoencoder", self.hparams["start"])
            self.latent_scale.copy_(other.latent_scale)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.hparams["lr"], weight_decay=1e-4)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = self.pictures(batch)
        posterior = self.network.encode(images).latent_dist
        with part_of_batch(self.trainer.global_rank, self.trainer.world_size):
            latents = sampled(posterior, step_draw(self, "autoencoder"))
        error = (self.network.decode(latents).sample - images).abs().mean()
        divergence = posterior.kl().mean() / latents[0].numel()
        with torch.no_grad():  # a running mean: the spread moves while the autoencoder learns
            spread = mean_over_ranks(latents.var()).sqrt().clamp_min(1e-3)
            self.latent_scale.lerp_(1 / spread, 0.02)
            seen = {"train/absolute_error": error, "train/divergence": divergence}
            self.log_dict({name: mean_over_ranks(value.detach().clone()) for name, value in seen.items()})
        self.count_images(len(images))
        loss: Tensor = error + self.hparams["kl_weight"] * divergence
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """The pictures decoded again, as :meth:`shown` puts them."""
        images = self.pictures(batch)
        found = self.network.decode(self.network.encode(images).latent_dist.mode()).sample
        self.note("absolute_error", (found - images).abs().flatten(1).mean(1), batch.ids)
        kept, ids = hue_kept(found, images, batch.ids)
        if ids:
            self.note("hue_kept", kept, ids)
        return self.shown(found, images)

    test_step = validation_step


def hue_kept(found: Tensor, pictures: Tensor, ids: Sequence[str]) -> tuple[Tensor, list[str]]:
    """How much of the hued pixels' opponent colours (red - green, blue - yellow) decoded pictures kept.

    Args:
        found: (B, C, S, S) decoded pictures in [-1, 1], colours first.
        pictures: the same that they came from.
        ids: of the pictures.

    Returns:
        Of the pictures with hued pixels 1 - sum |found - true| / sum |true|, at most 1, and 0 where all is grey; and
        their ids.
    """

    def opponents(image: Tensor) -> Tensor:
        red, green, blue = image[:, :3].float().unbind(1)
        return torch.stack([red - green, blue - (red + green) / 2], 1)

    true = opponents(pictures)
    hued = true.abs().amax(1, keepdim=True) > HUED
    error, whole = (((change * hued).abs().flatten(1).sum(1)) for change in (opponents(found) - true, true))
    there = whole > 0
    return 1 - error[there] / whole[there], [one for one, is_hued in zip(ids, there.tolist(), strict=True) if is_hued]

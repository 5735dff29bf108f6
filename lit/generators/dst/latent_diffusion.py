"""Diffusion in the latents of an autoencoder: what every such model does, whatever it is conditioned on.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.generators.base import Generator, step_draw
from lit.generators.dst.autoencoder import (
    LATENT_CHANNELS,
    DstAutoencoder,
    build_autoencoder,
    require_groups,
    sampled,
    take_over,
)
from lit.networks.batch_draws import batch_draw, part_of_batch

STEPS = 1000  # of noise
SCHEDULE: dict[str, Any] = {  # Stable Diffusion's
    "num_train_timesteps": STEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


class StepDraws(NamedTuple):
    """What a training step of B pictures draws.

    Attributes:
        latents: (B, 4, s, s) of the pictures, scaled to unit spread.
        noise: (B, 4, s, s).
        steps: (B,) how much of it.
        chances: (B, 2) in [0, 1): what is left out of a picture's condition.
    """

    latents: Tensor
    noise: Tensor
    steps: Tensor
    chances: Tensor


class LatentDiffusion(Generator):
    """Base: the frozen autoencoder, the schedule of the noise, and a step's draws.

    Subclasses save their hyperparameters, among them ``size``, ``autoencoder``, ``encoder_channels``,
    ``encoder_layers``, ``groups``, ``encoder_groups``, ``lr`` and ``seed``, and call :meth:`build_latents`.

    Attributes:
        encoder: class of the autoencoder.
    """

    encoder: type[DstAutoencoder] = DstAutoencoder
    latent_scale: Tensor

    def build_latents(self, levels: int) -> int:
        """Make the autoencoder and the schedule; the side of the latents.

        Args:
            levels: resolutions of the U-Net.

        Raises:
            InputError: a size that both cannot halve.
        """
        h: Any = self.hparams
        factor = 2 ** (len(h.encoder_channels) - 1)
        if h.size % (factor * 2 ** (levels - 1)):
            raise InputError(f"size {h.size}: expected a multiple of {factor * 2 ** (levels - 1)} for these channels")
        groups = h.encoder_groups or h.groups
        vae = build_autoencoder(h.size, h.encoder_channels, h.encoder_layers, groups, self.encoder.inputs)
        self.vae = vae.requires_grad_(False)
        self.register_buffer("latent_scale", torch.ones(()))
        self.noise = DDPMScheduler(**SCHEDULE)
        return int(h.size // factor)

    def take_autoencoder(self) -> None:
        """Take over a trained autoencoder, which training begins with.

        Raises:
            InputError: none is given, or it does not fit.
        """
        given, experiment = self.hparams["autoencoder"], self.encoder.experiment
        if given is None:
            raise InputError(
                "model.autoencoder null: diffusion works in the latents of a trained autoencoder, expected its "
                f"checkpoint; train conf/experiment/{experiment}.yaml and give runs/{experiment}/last.ckpt"
            )
        if given != "none":
            trained = self.encoder.load(given)
            take_over(self.vae, trained.network, "vae", given)
            self.latent_scale.copy_(trained.latent_scale)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learning = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(learning, self.hparams["lr"], weight_decay=1e-2)

    @torch.no_grad()
    def step_draws(self, pictures: Tensor) -> StepDraws:
        """Draws of a training step over pictures (B, C, S, S) of this process, the same however many there are."""
        count, place, draw = len(pictures), self.device, step_draw(self, "diffusion")
        with part_of_batch(self.trainer.global_rank, self.trainer.world_size):
            latents = sampled(self.vae.encode(pictures).latent_dist, draw) * self.latent_scale
            shape = latents.shape[1:]
            noise = batch_draw(lambda rows: torch.randn(rows, *shape, generator=draw, device=place), count)
            steps = batch_draw(lambda rows: torch.randint(STEPS, (rows,), generator=draw, device=place), count)
            chances = batch_draw(lambda rows: torch.rand(rows, 2, generator=draw, device=place), count)
        return StepDraws(latents, noise, steps, chances)

    @torch.no_grad()
    def held_out_draws(self, pictures: Tensor, keys: Sequence[str]) -> StepDraws:
        """Draws for validation pictures (B, C, S, S) of names ``keys``, the same each time; nothing is left out."""
        latents = self.vae.encode(pictures).latent_dist.mode() * self.latent_scale
        drawn = [derive(self.hparams["seed"], key, "validation") for key in keys]
        noise = torch.from_numpy(np.stack([rng.standard_normal(latents.shape[1:]) for rng in drawn])).to(latents)
        steps = torch.tensor([int(rng.integers(STEPS)) for rng in drawn], device=self.device)
        return StepDraws(latents, noise, steps, torch.ones(len(latents), 2, device=self.device))


def build_unet(
    side: int, channels: Sequence[int], layers: int, heads: int, width: int, groups: int, plain: int = 0
) -> UNet2DConditionModel:
    """A U-Net over latents that attends to a condition.

    Args:
        side: of the latents.
        channels: of each resolution.
        layers: of each resolution.
        heads: of attention.
        width: of the condition's tokens.
        groups: of group normalisation.
        plain: resolutions, from the finest on, that do not attend; nor does the coarsest, unless it is the only one:
            the middle block does.

    Raises:
        InputError: groups that do not divide the channels.
    """
    require_groups(groups, channels)
    levels = len(channels)
    attends = [level >= plain and (level < levels - 1 or levels == 1) for level in range(levels)]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=tuple("CrossAttnDownBlock2D" if looks else "DownBlock2D" for looks in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if looks else "UpBlock2D" for looks in reversed(attends)),
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        cross_attention_dim=width,
        attention_head_dim=heads,
        norm_num_groups=groups,
    )


def ddim() -> DDIMScheduler:
    """The sampler of models that were trained under :data:`SCHEDULE`."""
    return DDIMScheduler(**SCHEDULE, set_alpha_to_one=False, steps_offset=1)


@torch.no_grad()
def guided(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    scheduler: Any,
    noise: Tensor,
    said: Tensor,
    quiet: Tensor,
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents from noise, pushed by what a condition changes (Ho and Salimans, "Classifier-Free Diffusion Guidance").

    Args:
        predict: noisy latents, a step and conditions to the scheduler's kind of prediction.
        scheduler: of diffusers.
        noise: (B, C, s, s) of unit spread.
        said, quiet: (B, L, W) the condition, and none.
        steps: of the sampler.
        guidance: 1 follows the condition as it was learned, more exaggerates.

    Raises:
        InputError: more steps than the scheduler has, or none.
    """
    most = int(scheduler.config.num_train_timesteps)
    if not 1 <= steps <= most:
        raise InputError(f"{steps} steps of the sampler: expected 1 to {most}; correct --steps or model.sample_steps")
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise * scheduler.init_noise_sigma
    both = torch.cat([quiet, said])
    for step in scheduler.timesteps:
        if guidance == 1:
            found = predict(scheduler.scale_model_input(latents, step), step, said)
        else:
            twice = scheduler.scale_model_input(torch.cat([latents, latents]), step)
            without, with_it = predict(twice, step, both).chunk(2)
            found = without + guidance * (with_it - without)
        latents = scheduler.step(found, step, latents).prev_sample
    return latents


def seeded_noise(seeds: Sequence[int], shape: Sequence[int], like: Tensor) -> Tensor:
    """(B, *shape) normal numbers, each row of a seed of its own: its neighbours in a batch change nothing."""
    rows = [torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows).to(like)

"""StyleGAN2 training: the image proxy of Lift3D's first stage.

Sources: Karras et al., CVPR 2020 (losses, lazy regularisation, config F); Karras et al., "Training Generative
Adversarial Networks with Limited Data", NeurIPS 2020 (adaptive probability, half-life of the average).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.objects.object_images import ImageBatch
from datamodules.randomness import derive
from lit.adversarial.adaptive_augment import AdaptiveAugment
from lit.adversarial.image_cadence import Cadence, follow, half_life_decay
from lit.adversarial.stylegan2_game import PathLength, StyleGAN2Game, lazy_adam
from lit.generators.base import Generator
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.image_range import from_pixels, to_pixels
from lit.networks.stylegan2 import StyleGAN2Generator


class StyleGAN2(Generator):
    """Non-saturating loss with lazy R1 and path-length regularisation, style mixing and an average of the generator.

    Every process averages the gradients itself before a step, which is all that several processes need; use
    ``strategy: ddp``. Schedules count images over all processes.

    Args:
        resolution: side of the images.
        z_dim: width of z.
        w_dim: width of a style row.
        mapping_layers: layers of the mapping network.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        lr: Adam's learning rate of both networks.
        gamma: weight of R1.
        path_weight: weight of the path-length penalty.
        path_decay: share by which the mean length moves at each penalty.
        batch_images: images of a step over all processes that the three next intervals are meant for.
        r1_every: such steps from one R1 penalty to the next.
        path_every: such steps from one path-length penalty to the next, on half a batch.
        mixing: probability that an image's later rows come from a second latent.
        w_decay: share that the mean style keeps in such a step.
        ema_kimg: half-life of the average of the generator, in thousands of images.
        ema_rampup: the half-life is at most this share of the images seen so far; 0 for no such limit.
        augment: steps of :class:`lit.adversarial.diff_augment.DiffAugment`; empty for none.
        augment_target: share by which the probability adapts until the mean sign of real logits is this; None: it is 1.
        augment_kimg: thousands of images in which the probability can move from 0 to 1.
        total_images: training stops after so many images.
        seed: of latents, noise and augmentation.
    """

    def __init__(
        self,
        resolution: int = 64,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        lr: float = 0.002,
        gamma: float = 10.0,
        path_weight: float = 2.0,
        path_decay: float = 0.01,
        batch_images: int = 32,
        r1_every: int = 16,
        path_every: int = 4,
        mixing: float = 0.9,
        w_decay: float = 0.995,
        ema_kimg: float = 10.0,
        ema_rampup: float = 0.05,
        augment: Sequence[str] = ("colour", "translation", "cutout"),
        augment_target: float | None = None,
        augment_kimg: float = 500.0,
        total_images: int = 25_000_000,
        seed: int = 0,
    ) -> None:
        super().__init__(total_images, final_lr=1.0, warmup=0.0)
        self.save_hyperparameters()
        self.automatic_optimization = False
        network = (resolution, z_dim, w_dim, mapping_layers, channel_base, channel_max)
        self.generator, self.ema = StyleGAN2Generator(*network), StyleGAN2Generator(*network)
        self.ema.load_state_dict(self.generator.state_dict())
        self.ema.requires_grad_(False)
        self.discriminator = StyleGAN2Discriminator(resolution, channel_base, channel_max)
        self.augment = AdaptiveAugment(augment, augment_target, augment_kimg)
        self.path = PathLength(path_weight, path_decay, Cadence(path_every * batch_images))
        self.game = StyleGAN2Game(
            self.generator, self.discriminator, self.augment, self.path, Cadence(r1_every * batch_images), gamma,
            mixing, w_decay, batch_images,
        )  # fmt: skip
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        h: Any = self.hparams
        return [lazy_adam(self.generator, h.lr, h.path_every), lazy_adam(self.discriminator, h.lr, h.r1_every)]

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """One step of each network, and those penalties that are due. Returns the losses."""
        step = len(batch.images) * self.trainer.world_size
        rng = derive(self.hparams["seed"], self.images_seen, self.global_rank, "stylegan2")
        torch.manual_seed(int(rng.integers(2**62)))  # latents, noise, augmentation: a resumed run draws the same
        optimizers: Any = self.optimizers()
        losses = self.game.play(from_pixels(batch.images), self.images_seen, step, optimizers)
        half_life = self.hparams["ema_kimg"] * 1000
        if self.hparams["ema_rampup"]:
            half_life = min(half_life, self.images_seen * self.hparams["ema_rampup"])
        follow(self.ema, self.generator, half_life_decay(step, half_life))
        self.augment.adapt(step)
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.count_images(len(batch.images))
        return losses

    @torch.no_grad()
    def sample(self, ids: Sequence[str], truncation: float = 1.0) -> Tensor:
        """Images (B, 3, R, R) uint8 of the averaged generator, one latent a name: the same ones at every call."""
        drawn = [derive(self.hparams["seed"], i, "sample").standard_normal(self.hparams["z_dim"]) for i in ids]
        z = torch.from_numpy(np.stack(drawn)).float().to(self.device)
        images: Tensor = self.ema(z, truncation, noise="const")
        return to_pixels(images)

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """As many samples (B, 3, R, R) uint8 as the batch has images, which callbacks compare with it."""
        return self.sample(batch.ids)

    test_step = validation_step

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
from lit.adversarial.image_cadence import Cadence
from lit.adversarial.path_length import PathLength
from lit.adversarial.phase import Penalty, Phase, Turn, lazy_adam
from lit.adversarial.style_mixing import mixed_latents
from lit.adversarial.weight_average import WeightAverage
from lit.generators.adversarial_generator import AdversarialGenerator
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_at
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.image_range import from_pixels, to_pixels
from lit.networks.stylegan2 import StyleGAN2Generator


class StyleGAN2(AdversarialGenerator):
    """Non-saturating loss with lazy R1 and path-length regularisation, style mixing and an average of the generator.

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
        super().__init__(total_images, seed, "stylegan2")
        self.save_hyperparameters()
        network = (resolution, z_dim, w_dim, mapping_layers, channel_base, channel_max)
        self.generator, self.ema = StyleGAN2Generator(*network), StyleGAN2Generator(*network)
        self.ema.load_state_dict(self.generator.state_dict())
        self.averaging = WeightAverage(self.ema, self.generator, ema_kimg * 1000, ema_rampup)
        self.discriminator = StyleGAN2Discriminator(resolution, channel_base, channel_max)
        self.augment = AdaptiveAugment(augment, augment_target, augment_kimg)
        self.path = PathLength(path_decay)
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def phases(self) -> list[Phase]:
        h: Any = self.hparams
        path = Penalty("path", self.path_loss, h.path_weight, Cadence(h.path_every * h.batch_images))
        r1_loss = lambda turn: r1_at(self.judge, from_pixels(turn.batch.images))  # noqa: E731
        r1 = Penalty("r1", r1_loss, h.gamma / 2, Cadence(h.r1_every * h.batch_images))
        generator = lazy_adam(self.generator.parameters(), h.lr, [h.path_every])
        discriminator = lazy_adam(self.discriminator.parameters(), h.lr, [h.r1_every])
        return [
            Phase("generator", generator, self.generator_losses, [path]),
            Phase("discriminator", discriminator, self.discriminator_losses, [r1]),
        ]

    def generator_losses(self, turn: Turn) -> dict[str, Tensor]:
        kept = self.hparams["w_decay"] ** (turn.step / self.hparams["batch_images"])
        latents = mixed_latents(self.generator, len(turn.batch.images), self.hparams["mixing"], kept)
        return {"generator": generator_loss(self.judge(self.generator.synthesis(latents)))}

    def path_loss(self, turn: Turn) -> Tensor:
        latents = mixed_latents(self.generator, max(len(turn.batch.images) // 2, 1), self.hparams["mixing"])
        penalty: Tensor = self.path(self.generator.synthesis(latents), latents)
        self.log("train/path_mean", self.path.mean)
        return penalty

    def discriminator_losses(self, turn: Turn) -> dict[str, Tensor]:
        real = from_pixels(turn.batch.images)
        with torch.no_grad():
            fake = self.generator.synthesis(mixed_latents(self.generator, len(real), self.hparams["mixing"]))
        real_logits, fake_logits = self.judge(real), self.judge(fake)
        self.augment.observe(real_logits)
        return {"discriminator": discriminator_loss(real_logits, fake_logits)}

    def judge(self, images: Tensor) -> Tensor:
        """Logits (B, 1) float32 of augmented images (B, 3, R, R) in about [-1, 1]."""
        logits: Tensor = self.discriminator(self.augment(images))
        return logits.float()

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        losses = super().training_step(batch, batch_idx)
        self.augment.adapt(len(batch.images) * self.trainer.world_size)
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

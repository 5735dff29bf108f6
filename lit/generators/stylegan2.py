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

from datamodules.object_images import ImageBatch
from datamodules.randomness import derive
from lit.adversarial import discriminator_loss, generator_loss, path_length, r1_penalty
from lit.diff_augment import DiffAugment
from lit.generators.base import Generator
from lit.image_cadence import Cadence, descend, follow, half_life_decay, mean_over_ranks
from lit.image_range import from_pixels, to_pixels
from lit.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


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
        augment: steps of :class:`lit.diff_augment.DiffAugment`; empty for none.
        augment_target: share by which the probability adapts until the mean sign of real logits is this; None: it is 1.
        augment_kimg: thousands of images in which the probability can move from 0 to 1.
        total_images: training stops after so many images.
        seed: of latents, noise and augmentation.
    """

    path_mean: Tensor
    probability: Tensor
    real_sign: Tensor

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
        self.augment = DiffAugment(augment)
        self.r1, self.path = Cadence(r1_every * batch_images), Cadence(path_every * batch_images)
        self.register_buffer("path_mean", torch.zeros(()))
        self.register_buffer("probability", torch.tensor(float(augment_target is None)))
        self.register_buffer("real_sign", torch.zeros(()))
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam whose rate and moments allow for the penalties' own steps (Karras et al. 2020, appendix B)."""
        optimizers: list[torch.optim.Optimizer] = []
        for network, interval in ((self.generator, "path_every"), (self.discriminator, "r1_every")):
            share = self.hparams[interval] / (self.hparams[interval] + 1) or 1.0
            rate = self.hparams["lr"] * share
            optimizers.append(torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.99**share)))
        return optimizers

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """One step of each network, and those penalties that are due. Returns the losses."""
        step = len(batch.images) * self.trainer.world_size
        rng = derive(self.hparams["seed"], self.images_seen, self.global_rank, "stylegan2")
        torch.manual_seed(int(rng.integers(2**62)))  # latents, noise, augmentation: a resumed run draws the same
        real = from_pixels(batch.images)
        losses = self.update_generator(len(real), step) | self.update_discriminator(real, step)
        h = self.hparams
        half_life = h["ema_kimg"] * 1000
        if h["ema_rampup"]:
            half_life = min(half_life, self.images_seen * h["ema_rampup"])
        follow(self.ema, self.generator, half_life_decay(step, half_life))
        if h["augment_target"] is not None:
            move = torch.sign(self.real_sign - h["augment_target"]) * step / (h["augment_kimg"] * 1000)
            self.probability.add_(move).clamp_(0, 1)
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.count_images(len(real))
        return losses

    def update_generator(self, count: int, step: int) -> dict[str, Tensor]:
        """Adversarial step on ``count`` images, and the path-length step when due."""
        h: Any = self.hparams
        self.discriminator.requires_grad_(False)
        latents = self.mixed_latents(count, track=step)
        logits = self.judge(self.generator.synthesis(latents))
        losses = {"generator": generator_loss(logits)}
        self.descend(losses["generator"], self.generator, 0)
        if self.path.due(self.images_seen, step):
            with torch.autocast(self.device.type, enabled=False):  # second derivatives in full precision
                latents = self.mixed_latents(max(count // 2, 1))
                penalty, lengths = path_length(self.generator.synthesis(latents), latents, self.path_mean)
                self.descend(h.path_weight * self.path.gain(step) * penalty, self.generator, 0)
            self.path_mean.lerp_(mean_over_ranks(lengths.detach().mean()), h.path_decay)
            losses |= {"path": penalty, "path_mean": self.path_mean}
        self.discriminator.requires_grad_(True)
        return {name: value.detach() for name, value in losses.items()}

    def update_discriminator(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """Adversarial step on real and as many generated images, and the R1 step when due."""
        h: Any = self.hparams
        with torch.no_grad():
            fake = self.generator.synthesis(self.mixed_latents(len(real)))
        real_logits, fake_logits = self.judge(real), self.judge(fake)
        losses = {"discriminator": discriminator_loss(real_logits, fake_logits)}
        self.descend(losses["discriminator"], self.discriminator, 1)
        self.real_sign.lerp_(mean_over_ranks(real_logits.detach().sign().mean()), 0.1)
        if self.r1.due(self.images_seen, step):
            with torch.autocast(self.device.type, enabled=False):
                images = real.detach().requires_grad_()
                losses["r1"] = r1_penalty(self.judge(images), images)
                self.descend(h.gamma / 2 * self.r1.gain(step) * losses["r1"], self.discriminator, 1)
        return {name: value.detach() for name, value in losses.items()}

    def mixed_latents(self, count: int, track: int = 0) -> Tensor:
        """W+ latents (count, rows, w_dim), some with later rows of a second style; ``track`` > 0 images move w_avg."""
        mapping, rows, h = self.generator.mapping, self.generator.rows, self.hparams
        with torch.autocast(self.device.type, enabled=False):
            first, second = mapping(torch.randn(2 * count, h["z_dim"], device=self.device)).chunk(2)
        if track:
            share = 1 - h["w_decay"] ** (track / h["batch_images"])
            mapping.w_avg.lerp_(mean_over_ranks(first.detach().float().mean(0)), share)
        mixed = torch.rand(count, 1, device=self.device) < h["mixing"]
        crossover = torch.randint(1, rows, (count, 1), device=self.device)
        later = (torch.arange(rows, device=self.device) >= crossover) & mixed
        return torch.where(later[..., None], second[:, None], first[:, None])

    def judge(self, images: Tensor) -> Tensor:
        """Logits (B, 1) float32 of augmented images (B, 3, R, R) in about [-1, 1]."""
        logits: Tensor = self.discriminator(self.augment(images, self.probability))
        return logits.float()

    def descend(self, loss: Tensor, network: torch.nn.Module, index: int) -> None:
        """Step of optimiser ``index`` along the gradients of all processes."""
        optimizers: Any = self.optimizers()
        descend(loss, network, optimizers[index])

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

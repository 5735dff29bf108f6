"""StyleGAN2's game: the steps of generator and discriminator with their lazy penalties, in plain PyTorch.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 3 and appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lit.adversarial.adaptive_augment import AdaptiveAugment
from lit.adversarial.image_cadence import Cadence, descend, mean_over_ranks
from lit.losses.adversarial import discriminator_loss, generator_loss, path_length, r1_penalty
from lit.networks.stylegan2 import StyleGAN2Generator


def lazy_adam(network: nn.Module, lr: float, interval: int) -> torch.optim.Adam:
    """Adam whose rate and moments allow for the steps of a penalty that is due once in ``interval`` steps."""
    share = interval / (interval + 1) or 1.0
    return torch.optim.Adam(network.parameters(), lr * share, betas=(0.0, 0.99**share))


class PathLength(nn.Module):
    """Running mean of path lengths, and the penalty on the distance from it.

    Args:
        weight: of the penalty.
        decay: share by which the mean moves at each penalty.
        cadence: when one is due.
    """

    mean: Tensor

    def __init__(self, weight: float, decay: float, cadence: Cadence) -> None:
        super().__init__()
        self.weight, self.decay, self.cadence = weight, decay, cadence
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, synthesis: nn.Module, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Penalty without its weight, and the lengths (B,), of the images of latents (B, rows, w_dim)."""
        return path_length(synthesis(latents), latents, self.mean)

    def follow(self, lengths: Tensor) -> None:
        """Move the mean towards that of lengths (B,) over all processes."""
        self.mean.lerp_(mean_over_ranks(lengths.detach().mean()), self.decay)


@dataclass
class StyleGAN2Game:
    """Both players' steps; parameters and buffers stay the modules' own.

    Attributes:
        generator: in training.
        discriminator: its opponent.
        augment: what it sees images through.
        path: regularises the generator, on half a batch.
        r1: when R1 is due.
        gamma: its weight.
        mixing: probability that an image's later rows come from a second latent.
        w_decay: share that the mean style keeps in a step of ``batch_images``.
        batch_images: images of a nominal step.
    """

    generator: StyleGAN2Generator
    discriminator: nn.Module
    augment: AdaptiveAugment
    path: PathLength
    r1: Cadence
    gamma: float
    mixing: float
    w_decay: float
    batch_images: int

    def play(self, real: Tensor, seen: int, step: int, optimizers: Sequence[Any]) -> dict[str, Tensor]:
        """One step of each network, and those penalties that are due. Returns the losses.

        Args:
            real: (B, 3, R, R) images in [-1, 1].
            seen: images before this step, and
            step: images of this step, both over all processes.
            optimizers: the generator's and the discriminator's.
        """
        losses = self.update_generator(len(real), seen, step, optimizers[0])
        losses |= self.update_discriminator(real, seen, step, optimizers[1])
        return {name: value.detach() for name, value in losses.items()}

    def update_generator(self, count: int, seen: int, step: int, optimizer: Any) -> dict[str, Tensor]:
        """Adversarial step on ``count`` images, and the path-length step when due."""
        self.discriminator.requires_grad_(False)
        latents = self.mixed_latents(count, track=step)
        losses = {"generator": generator_loss(self.judge(self.generator.synthesis(latents)))}
        descend(losses["generator"], self.generator, optimizer)
        if self.path.cadence.due(seen, step):
            with torch.autocast(latents.device.type, enabled=False):  # second derivatives in full precision
                latents = self.mixed_latents(max(count // 2, 1))
                penalty, lengths = self.path(self.generator.synthesis, latents)
                descend(self.path.weight * self.path.cadence.gain(step) * penalty, self.generator, optimizer)
            self.path.follow(lengths)
            losses |= {"path": penalty, "path_mean": self.path.mean}
        self.discriminator.requires_grad_(True)
        return losses

    def update_discriminator(self, real: Tensor, seen: int, step: int, optimizer: Any) -> dict[str, Tensor]:
        """Adversarial step on real and as many generated images, and the R1 step when due."""
        with torch.no_grad():
            fake = self.generator.synthesis(self.mixed_latents(len(real)))
        real_logits, fake_logits = self.judge(real), self.judge(fake)
        losses = {"discriminator": discriminator_loss(real_logits, fake_logits)}
        descend(losses["discriminator"], self.discriminator, optimizer)
        self.augment.observe(real_logits)
        if self.r1.due(seen, step):
            with torch.autocast(real.device.type, enabled=False):
                images = real.detach().requires_grad_()
                losses["r1"] = r1_penalty(self.judge(images), images)
                descend(self.gamma / 2 * self.r1.gain(step) * losses["r1"], self.discriminator, optimizer)
        return losses

    def mixed_latents(self, count: int, track: int = 0) -> Tensor:
        """W+ latents (count, rows, w_dim), some with later rows of a second style; ``track`` > 0 images move w_avg."""
        mapping, rows = self.generator.mapping, self.generator.rows
        device = mapping.w_avg.device
        with torch.autocast(device.type, enabled=False):
            first, second = mapping(torch.randn(2 * count, self.generator.z_dim, device=device)).chunk(2)
        if track:
            share = 1 - self.w_decay ** (track / self.batch_images)
            mapping.w_avg.lerp_(mean_over_ranks(first.detach().float().mean(0)), share)
        mixed = torch.rand(count, 1, device=device) < self.mixing
        crossover = torch.randint(1, rows, (count, 1), device=device)
        later = (torch.arange(rows, device=device) >= crossover) & mixed
        return torch.where(later[..., None], second[:, None], first[:, None])

    def judge(self, images: Tensor) -> Tensor:
        """Logits (B, 1) float32 of augmented images (B, 3, R, R) in about [-1, 1]."""
        logits: Tensor = self.discriminator(self.augment(images))
        return logits.float()

"""GIRAFFE as a trainable generator: unposed images in, a bank of posed car crops out.

Source: Niemeyer and Geiger, "GIRAFFE: Representing Scenes as Compositional Generative Neural Feature Fields", CVPR
2021; rates, R1 weight and averaging of the authors' configuration for cars.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer, RMSprop

from lit.generators.compositional_gan import CompositionalGAN
from lit.networks.giraffe import GiraffeGenerator


class Giraffe(CompositionalGAN):
    """Feature fields of car and background under a neural renderer.

    Args:
        network: the generator.
        discriminator: logits of images in [-1, 1].
        lr: RMSprop's rate of the generator; the authors take 5e-4 at 64 and 2.5e-4 at 256 pixels.
        discriminator_lr: of the discriminator.
        gamma: R1's weight for images in [-1, 1]; 80 is the authors' 10 without the half, for images in [0, 1].
        gamma_every: images from one R1 penalty to the next; 0 takes it in every step, as the authors do.
        half_life: images after which the averaged weights have moved half the way; 22,000 is 0.999 a batch of 32.
        total_images: training stops after so many real images.
        start: see :class:`CompositionalGAN`.
    """

    def __init__(
        self,
        network: GiraffeGenerator,
        discriminator: nn.Module,
        lr: float = 5e-4,
        discriminator_lr: float = 1e-4,
        gamma: float = 80.0,
        gamma_every: int = 0,
        half_life: float = 22_000.0,
        total_images: int = 10_000_000,
        **start: Any,
    ) -> None:
        super().__init__(network, discriminator, gamma, gamma_every, half_life, total_images, **start)
        self.save_hyperparameters(ignore=["network", "discriminator", "bank"])

    def player_optimizers(self) -> tuple[Optimizer, Optimizer]:
        rates = self.hparams
        trained = (p for p in self.network.parameters() if p.requires_grad)
        return (
            RMSprop(self.discriminator.parameters(), lr=rates["discriminator_lr"], alpha=0.99),
            RMSprop(trained, lr=rates["lr"], alpha=0.99),
        )

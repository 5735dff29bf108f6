"""Training shared by GIRAFFE and GIRAFFE HD: the adversarial game on images without poses, scenes drawn from ranges."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.assets.view_assets import ViewAsset
from datamodules.objects.object_images import ImageBatch
from datamodules.randomness import derive
from lit.adversarial.image_cadence import Cadence, descend, follow, half_life_decay
from lit.generators.base import Generator
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from lit.networks.image_range import from_pixels, to_pixels
from lit.posing.view_bank import ViewBank
from lit.weights.official.giraffe import load_official, official_state


class CompositionalGAN(Generator):
    """Non-saturating loss and R1 by manual optimisation, weights averaged over time, a bank of posed crops.

    Subclasses choose optimisers (generator first) and may add to the generator's losses. All draws of a step follow
    from (seed, images seen, rank): a resumed run goes on with the draws it would have made. Every process averages the
    gradients itself before a step, as in :class:`lit.generators.stylegan2.StyleGAN2`.

    Args:
        network: the generator: called with codes, scene and a random generator, with methods ``codes`` and ``cut_out``.
        discriminator: logits (B, 1) of images (B, 3, R, R) in [-1, 1].
        gamma: R1's weight; half of it multiplies the penalty.
        gamma_every: images from one R1 penalty to the next; 0 takes it in every step.
        half_life: images after which the averaged weights have moved half the way.
        total_images: training stops after so many real images.
        weights: official checkpoint the generator starts from.
        bank: what prediction writes; None for the defaults.
        seed: of all draws.
    """

    def __init__(
        self,
        network: Any,
        discriminator: nn.Module,
        gamma: float,
        gamma_every: int,
        half_life: float,
        total_images: int,
        weights: str | None,
        bank: ViewBank | None,
        seed: int,
    ) -> None:
        super().__init__(total_images, final_lr=1.0, warmup=0.0)  # the published rates are constant
        self.automatic_optimization = False
        if weights is not None:
            load_official(network, official_state(weights), weights)
        self.network, self.discriminator, self.bank = network, discriminator, bank or ViewBank()
        self.ema: Any = copy.deepcopy(network).requires_grad_(False).eval()
        self.gamma, self.r1, self.half_life, self.seed = gamma, Cadence(max(gamma_every, 1)), half_life, seed

    def draw(self, *keys: int | str) -> torch.Generator:
        """The random generator of this rank and these keys."""
        number = int(derive(self.seed, self.global_rank, *keys).integers(2**62))
        return torch.Generator(self.device).manual_seed(number)

    def generate(self, count: int, draw: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch of fakes (B, 3, R, R) in [-1, 1], and the generator's own losses beside the game."""
        scene = self.network.scene.ranges.sample(count, draw)
        return self.network(self.network.codes(count, draw), scene, draw), {}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """One step of each network. Returns the losses."""
        real, step = from_pixels(batch.images), len(batch.images) * self.trainer.world_size
        torch.manual_seed(int(derive(self.seed, self.images_seen, self.global_rank, "noise").integers(2**62)))
        losses = self.update_discriminator(real, step) | self.update_generator(len(real))
        follow(self.ema, self.network, half_life_decay(step, self.half_life))
        losses = {name: value.detach() for name, value in losses.items()}
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.count_images(len(real))
        return losses

    def update_discriminator(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """Adversarial step on real and as many generated images, with R1 when due."""
        with torch.no_grad():
            fake, _ = self.generate(len(real), self.draw(self.images_seen, "discriminator"))
        due = self.r1.due(self.images_seen, step)
        real = real.requires_grad_(due)
        logits = self.discriminator(real)
        losses = {"discriminator": discriminator_loss(logits, self.discriminator(fake))}
        if due:
            losses["r1"] = 0.5 * self.gamma * self.r1.gain(step) * r1_penalty(logits, real)
        self.descend(losses, self.discriminator, 1)
        return losses

    def update_generator(self, count: int) -> dict[str, Tensor]:
        """Adversarial step, together with the generator's own losses."""
        self.discriminator.requires_grad_(False)
        fake, own = self.generate(count, self.draw(self.images_seen, "generator"))
        losses = {"generator": generator_loss(self.discriminator(fake)), **own}
        self.descend(losses, self.network, 0)
        self.discriminator.requires_grad_(True)
        return losses

    def descend(self, losses: dict[str, Tensor], network: nn.Module, index: int) -> None:
        """Step of optimiser ``index`` along the gradients of all processes."""
        optimizers: Any = self.optimizers()
        descend(torch.stack(list(losses.values())).sum(), network, optimizers[index])

    @torch.no_grad()
    def samples(self, count: int, draw: torch.Generator) -> Tensor:
        """Pictures (count, 3, R, R) uint8 of the averaged weights."""
        scene = self.ema.scene.ranges.sample(count, draw)
        images: Tensor = self.ema(self.ema.codes(count, draw), scene)
        return to_pixels(images)

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, which callbacks compare with it; the same ones at every call."""
        return self.samples(len(batch.images), self.draw(batch_idx, "validation"))

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> list[ViewAsset]:
        """This rank's share of the bank, with the first batch: the bank depends on the seed, not on the data."""
        if batch_idx:
            return []
        return self.bank.write(self.ema, self.device, self.global_rank, self.trainer.world_size)

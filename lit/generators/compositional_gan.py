"""Training shared by GIRAFFE and GIRAFFE HD: the adversarial game on images without poses, scenes drawn from ranges."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from datamodules.assets.view_assets import ViewAsset
from datamodules.objects.object_images import ImageBatch
from detectors.precision import full_precision
from lit.adversarial.image_cadence import Cadence
from lit.adversarial.phase import Phase, Turn
from lit.adversarial.weight_average import WeightAverage
from lit.generators.adversarial_generator import AdversarialGenerator
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from lit.networks.fields.feature_image import Codes
from lit.networks.fields.object_scene import Scene
from lit.networks.image_range import from_pixels, to_pixels
from lit.posing.view_bank import ViewBank
from lit.weights.official.giraffe import load_official, official_state


class CompositionalGAN(AdversarialGenerator):
    """Non-saturating loss and R1, weights averaged over time, a bank of posed crops.

    Subclasses choose optimisers and may add to the generator's losses.

    Args:
        network: the generator: called with codes, scene and a random generator, with methods ``codes`` and ``cut_out``.
        discriminator: logits (B, 1) of images (B, 3, R, R) in [-1, 1].
        gamma, gamma_every, half_life, total_images: see the subclasses, which have their own defaults.
        weights: official checkpoint the generator starts from; its sizes must be the network's.
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
        weights: str | None = None,
        bank: ViewBank | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(total_images, seed)
        if weights is not None:
            load_official(network, official_state(weights), weights)
        self.network, self.discriminator, self.bank = network, discriminator, bank or ViewBank()
        self.ema: Any = copy.deepcopy(network).eval()
        self.averaging = WeightAverage(self.ema, network, half_life)
        self.gamma, self.r1 = gamma, Cadence(max(gamma_every, 1))

    def player_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The discriminator's and the generator's."""
        raise NotImplementedError

    def phases(self) -> list[Phase]:
        discriminator, generator = self.player_optimizers()
        return [
            Phase("discriminator", discriminator, self.discriminator_losses),
            Phase("generator", generator, self.generator_losses),
        ]

    def generate(self, count: int, draw: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch of fakes (B, 3, R, R) in [-1, 1], and the generator's own losses beside the adversarial one."""
        scene = self.network.scene.ranges.sample(count, draw)
        return self.network(self.network.codes(count, draw), scene, draw), {}

    def discriminator_losses(self, turn: Turn) -> dict[str, Tensor]:
        """Of real and as many generated images, with R1 of the same logits when due."""
        with torch.no_grad():
            fake, _ = self.generate(len(turn.batch.images), turn.draw)
        due = turn.due(self.r1)
        real = from_pixels(turn.batch.images).requires_grad_(due)
        with full_precision(self.device) if due else nullcontext():
            logits = self.discriminator(real)
        losses = {"discriminator": discriminator_loss(logits, self.discriminator(fake))}
        if due:
            losses["r1"] = 0.5 * self.gamma * self.r1.gain(turn.step) * r1_penalty(logits, real)
        return losses

    def generator_losses(self, turn: Turn) -> dict[str, Tensor]:
        """Adversarial, together with the generator's own."""
        fake, own = self.generate(len(turn.batch.images), turn.draw)
        return {"generator": generator_loss(self.discriminator(fake)), **own}

    @torch.no_grad()
    def samples(self, ids: Sequence[str]) -> Tensor:
        """Pictures (B, 3, R, R) uint8 of the averaged weights, one a name: the same ones at every call."""
        drawn = [self._drawn(torch.Generator().manual_seed(self.number(name, "validation"))) for name in ids]
        codes, scenes = ([torch.cat(parts).to(self.device) for parts in zip(*kind)] for kind in zip(*drawn))
        images: Tensor = self.ema(Codes(*codes), Scene(*scenes))
        return to_pixels(images)

    def _drawn(self, draw: torch.Generator) -> tuple[Codes, Scene]:
        """Codes and scene of one picture."""
        scene = self.ema.scene.ranges.sample(1, draw)
        return self.ema.codes(1, draw), scene

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, which callbacks compare with it."""
        return self.samples(batch.ids)

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> list[ViewAsset]:
        """This rank's share of the bank, with the first batch: the bank depends on the seed, not on the data."""
        if batch_idx:
            return []
        return self.bank.write(self.ema, self.device, self.global_rank, self.trainer.world_size)

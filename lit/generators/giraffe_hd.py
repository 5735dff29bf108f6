"""GIRAFFE HD as a trainable generator: unposed images in, a bank of posed car crops with learned masks out.

Source: Xue et al., "GIRAFFE HD: A High-Resolution 3D-aware Generative Model", CVPR 2022; rates and weights of the
authors' configuration for CompCars.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from lit.generators.compositional_gan import CompositionalGAN
from lit.networks.giraffe_hd import GiraffeHDGenerator, binarisation, missing_coverage, outside_box


class GiraffeHD(CompositionalGAN):
    """Foreground and background under StyleGAN2-type renderers, joined by a mask that three terms keep honest.

    Args:
        network: the generator.
        discriminator: logits of images in [-1, 1].
        lr: Adam's rate of both networks.
        field_lr: of the feature fields, whose layers are not equalised; None for ``lr``, as the authors have it.
        gamma: R1's weight, of which half is taken.
        gamma_every: images from one R1 penalty to the next, as much stronger; the authors take 16 steps of 16.
        binarisation_weight: of the mask's distance to 0 and 1.
        box_weight: of the mask's part outside the object's projected box.
        coverage_weight: of the mask's shortfall.
        least_coverage: least mean of the masks.
        box_pad: the box's padding once the training has got going.
        box_growth: images over which the padding grows from 0; the authors take 10,000 steps of 16.
        half_life: images after which the averaged weights have moved half the way.
        total_images: training stops after so many real images.
        start: see :class:`CompositionalGAN`.
    """

    def __init__(
        self,
        network: GiraffeHDGenerator,
        discriminator: nn.Module,
        lr: float = 5e-4,
        field_lr: float | None = None,
        gamma: float = 10.0,
        gamma_every: int = 256,
        binarisation_weight: float = 4.0,
        box_weight: float = 14.0,
        coverage_weight: float = 14.0,
        least_coverage: float = 0.3,
        box_pad: float = 0.1,
        box_growth: int = 160_000,
        half_life: float = 5_000.0,
        total_images: int = 20_000_000,
        **start: Any,
    ) -> None:
        super().__init__(network, discriminator, gamma, gamma_every, half_life, total_images, **start)
        self.save_hyperparameters(ignore=["network", "discriminator", "bank"])

    def player_optimizers(self) -> tuple[Optimizer, Optimizer]:
        rate, fields = self.hparams["lr"], self.hparams["field_lr"] or self.hparams["lr"]
        held = {id(p) for p in self.network.scene.parameters()}
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) not in held], "lr": rate},
            {"params": [p for p in self.network.scene.parameters() if p.requires_grad], "lr": fields},
        ]
        discriminator = Adam(self.discriminator.parameters(), lr=rate, betas=(0.0, 0.99))
        return discriminator, Adam(groups, betas=(0.0, 0.99))

    def generate(self, count: int, draw: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Fakes, and the three terms of their masks."""
        weights, network = self.hparams, self.network
        scene = network.scene.ranges.sample(count, draw)
        drawn = network.layers(network.codes(count, draw), scene, draw)
        pad = weights["box_pad"] * min(self.images_seen / max(weights["box_growth"], 1), 1.0)
        losses = {
            "binarisation": weights["binarisation_weight"] * binarisation(drawn.mask),
            "box": weights["box_weight"] * outside_box(drawn.mask, network.scene.boxes(scene, pad)),
            "coverage": weights["coverage_weight"] * missing_coverage(drawn.mask, weights["least_coverage"]),
        }
        return drawn.image, losses

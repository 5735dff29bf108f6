"""Conditional Pix2NeRF as a trainable generator: the row that pix2pix3D is compared with.

Source: Cai et al., CVPR 2022, released code (``train_con.py``): three players, the generator by turns from drawn codes
and from the encoder's; weights and rates from there. What differs: :mod:`lit.networks.pix2nerf`; the pose that its
encoder guesses is known here; the encoder follows the reconstruction from the first step (there, in the last 20,000).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from datamodules.objects.labelled_views import LabelledViews
from lit.adversarial.image_cadence import Cadence
from lit.adversarial.phase import Penalty, Phase, Turn
from lit.adversarial.weight_average import WeightAverage
from lit.generators.adversarial_generator import AdversarialGenerator
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_at
from lit.losses.labels import edge_loss, label_cross_entropy, labels_at
from lit.losses.weights import require_weights
from lit.metrics.alignment import ssim
from lit.networks.batch_draws import batch_draw
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.pix2nerf import ConditionalPix2Nerf
from lit.networks.pix2pix3d.generator import LabelledPictures
from lit.networks.pix2pix3d.super_resolution import antialiased

BETAS = (0.0, 0.9)
GUESSED = 3  # numbers of a camera's direction from the origin, which the judge guesses


@dataclass(frozen=True)
class Pix2NerfWeights:
    """Weights of the losses.

    Attributes:
        reconstruction: of the pictures' squared difference, of
        structure: 1 - SSIM, and of
        perceptual: their perceptual distance, both times ``reconstruction``, too.
        labels: of the labels' loss, which the published one does not have.
        place: of the judge's guess where the camera stands.
        content: of the encoder's guess of the codes that fakes were made of.
        conditional: of the adversarial loss of the encoder's codes.

    Raises:
        InputError: a weight below 0, or no number.
    """

    reconstruction: float = 5.0
    structure: float = 1.0
    perceptual: float = 1.0
    labels: float = 10.0
    place: float = 15.0
    content: float = 1.0
    conditional: float = 1.0

    def __post_init__(self) -> None:
        require_weights(self)


def places(cameras: Tensor) -> Tensor:
    """Unit vectors (B, 3) from the origin towards cameras (B, 25)."""
    return F.normalize(cameras[:, [3, 7, 11]], dim=1)


class LitPix2Nerf(AdversarialGenerator):
    """Generator with its encoder, and the judge of pictures.

    Args:
        network: encoder and field.
        perceptual: see :class:`lit.generators.pix2pix3d.LitPix2Pix3D`.
        weights: of the losses.
        channel_base, channel_max, group: of the judge (:class:`StyleGAN2Discriminator`; published: a progressive one).
        gamma: weight of R1, times a half.
        r1_every: steps from one R1 to the next; published: 1.
        lr: Adam's rate of the field.
        encoder_lr: of the encoder, and
        judge_lr: of the judge.
        batch_images: images of a step over all processes that ``r1_every`` is meant for.
        ema_kimg, ema_rampup: see :class:`lit.generators.pix2pix3d.LitPix2Pix3D`.
        total_images: training stops after so many images.
        seed: of all draws.
    """

    def __init__(
        self,
        network: ConditionalPix2Nerf,
        perceptual: nn.Module | None = None,
        weights: Pix2NerfWeights | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int = 4,
        gamma: float = 10.0,
        r1_every: int = 1,
        lr: float = 6e-5,
        encoder_lr: float = 2e-4,
        judge_lr: float = 2e-4,
        batch_images: int = 12,
        ema_kimg: float = 10.0,
        ema_rampup: float = 0.05,
        total_images: int = 3_600_000,
        seed: int = 0,
    ) -> None:
        super().__init__(total_images, seed, "pix2nerf")
        self.save_hyperparameters(ignore=["network", "perceptual", "weights"])
        self.network, self.perceptual, self.weights = network, perceptual, weights or Pix2NerfWeights()
        self.ema: ConditionalPix2Nerf = copy.deepcopy(network).eval()
        self.averaging = WeightAverage(self.ema, network, ema_kimg * 1000, ema_rampup)
        sizes = (network.resolution, channel_base, channel_max, group)
        self.judge = StyleGAN2Discriminator(*sizes, guesses=GUESSED)
        self.pool: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Ask the data for its cameras."""
        if stage == "fit":
            self.pool = getattr(getattr(self.trainer, "datamodule", None), "cameras", None)

    def phases(self) -> list[Phase]:
        h: Any = self.hparams
        field, encoder = list(self.network.field.parameters()), list(self.network.encoder.parameters())
        both = Adam([{"params": field, "lr": h.lr}, {"params": encoder, "lr": h.encoder_lr}], betas=BETAS)
        judges = [{"params": self.judge.parameters(), "lr": h.judge_lr}, {"params": encoder, "lr": h.encoder_lr}]
        every = Cadence(h.r1_every * h.batch_images)
        r1 = Penalty("r1", lambda turn: r1_at(self.logits, turn.batch.images), h.gamma / 2, every)
        return [
            Phase("judge", Adam(judges, betas=BETAS), self.judge_losses, [r1] if h.gamma else []),
            Phase("generator", both, self.generator_losses),
        ]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B,) of pictures."""
        logits: Tensor = self.judge(images)[:, 0]
        return logits

    def drawn(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Latents (B, z_dim), and cameras (B, 25) of the training's or, where the data does not tell, the batch's."""
        batch, draw = turn.batch, turn.draw
        count, width = len(batch.cameras), self.network.z_dim
        z = batch_draw(lambda n: torch.randn(n, width, generator=draw, device=draw.device), count)
        pool = batch.cameras if self.pool is None else self.pool
        rows = batch_draw(lambda n: torch.randint(len(pool), (n,), generator=draw, device=draw.device), count)
        return z, pool[rows.to(pool.device)].to(batch.cameras)

    def judge_losses(self, turn: Turn) -> dict[str, Tensor]:
        """The judge's losses and the encoder's: from a fake's labels it has to find the fake's code."""
        z, cameras = self.drawn(turn)
        with torch.no_grad():
            fake = self.network(z, cameras, turn.draw)
        answer = self.judge(fake.image)
        found = self.network.contents_of(fake.labels)
        return {
            "judge": discriminator_loss(self.logits(turn.batch.images), answer[:, 0]),
            "judge_place": self.weights.place * F.mse_loss(answer[:, 1:], places(cameras)),
            "content": self.weights.content * F.mse_loss(found, z[:, : self.network.content]),
        }

    def generator_losses(self, turn: Turn) -> dict[str, Tensor]:
        """By turns of a coin: fakes of drawn codes; or of the label maps', which also have to show the pictures."""
        (z, cameras), weights = self.drawn(turn), self.weights
        conditional = turn.coin(0.5)
        code = self.network.codes(z, turn.batch.labels) if conditional else z
        answer = self.judge(self.network(code, cameras, turn.draw).image)
        terms = {
            "adversarial": (weights.conditional if conditional else 1.0) * generator_loss(answer[:, 0]),
            "place": weights.place * F.mse_loss(answer[:, 1:], places(cameras)),
        }
        if conditional:
            own = self.network(code, turn.batch.cameras, turn.draw)
            terms["pictures"] = weights.reconstruction * self.picture_loss(own, turn.batch.images)
            terms["labels"] = weights.labels * self.label_loss(own, turn.batch.labels)
        return terms

    def picture_loss(self, made: LabelledPictures, images: Tensor) -> Tensor:
        """Distance from real pictures, as rendered."""
        raw, real = made.image_raw, antialiased(images, self.network.render_size)
        shown, wanted = (raw + 1) / 2, ((real + 1) / 2).clamp(0, 1)
        alike = ssim(shown.permute(0, 2, 3, 1), wanted.permute(0, 2, 3, 1)).mean().float()
        total = F.mse_loss(raw, real) + self.weights.structure * (1 - alike)
        if self.perceptual is not None:
            total = total + self.weights.perceptual * self.perceptual(shown, wanted).mean()
        return total

    def label_loss(self, made: LabelledPictures, labels: Tensor) -> Tensor:
        """Distance from the given labels, as rendered."""
        wanted = labels_at(labels, self.network.render_size)
        edges = self.network.kind == "edges"
        return edge_loss(made.labels_raw, wanted) if edges else label_cross_entropy(made.labels_raw, wanted)

    @property
    def z_dim(self) -> int:
        """Width of a latent."""
        return self.network.z_dim

    @torch.no_grad()
    def synthesise(self, labels: Tensor, z: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """Images and label maps, see :class:`lit.callbacks.conditional_metrics.Synthesiser`."""
        drawn = self.ema(self.ema.codes(z, labels), cameras)
        return drawn.image, drawn.labels

    def validation_step(self, batch: LabelledViews, batch_idx: int) -> None:
        """Nothing: the callback synthesises what it scores."""

    test_step = validation_step

"""pix2pix3D as a trainable generator: label maps with pictures and cameras in, fields of colour and labels out.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023; rates, weights and cadences of the released
scripts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.objects.labelled.cameras import DIAGONAL, turned_about_upright
from datamodules.objects.labelled_views import LabelledViews
from datamodules.randomness import derive
from detectors.rank_counts import mean_over_ranks
from lit.adversarial.fading_blur import FadingBlur
from lit.adversarial.image_cadence import Cadence
from lit.adversarial.labelled_game import LabelledGame, LabelledWeights, Play
from lit.adversarial.phase import Penalty, Phase, Turn, lazy_adam
from lit.adversarial.weight_average import WeightAverage
from lit.generators.adversarial_generator import AdversarialGenerator
from lit.networks.batch_draws import batch_draw
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.layers.synthesis import Noise
from lit.networks.pix2pix3d.generator import POSE, LabelledPictures, Pix2Pix3DGenerator
from lit.networks.pix2pix3d.label_decoder import COLOURS
from lit.networks.pix2pix3d.super_resolution import CLAMP
from lit.posing.field_bank import FieldBank, stated_dims
from lit.rendering.camera_march import camera_rays
from lit.rendering.rendered_views import RenderedViews
from lit.weights.official.pix2pix3d import read_pix2pix3d
from lit.weights.official.pix2pix3d_judges import start_judges

CriticLoss = Callable[[Play, LabelledPictures], Tensor]


@dataclass(frozen=True)
class Critics:
    """The two judges.

    Attributes:
        image: there is a judge of pictures.
        labels: the judge of labels sees them "aligned" with the pictures, or "alone", or there is "none".
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        group: pictures that share a minibatch deviation.
        lr: Adam's rate.
        gamma: weight of R1: 5 for cats, 1 for faces, 0.3 for cars.
        r1_every: steps from one R1 penalty to the next.
        augment: steps of :class:`lit.adversarial.diff_augment.DiffAugment`; empty for none, as released.
        together: both judge the same fakes, which are rendered once; released: each has its own.
    """

    image: bool = True
    labels: Literal["aligned", "alone", "none"] = "aligned"
    channel_base: int = 32768
    channel_max: int = 512
    group: int = 4
    lr: float = 0.002
    gamma: float = 5.0
    r1_every: int = 16
    augment: Sequence[str] = ()
    together: bool = False

    def build(self, resolution: int, classes: int) -> tuple[nn.Module | None, nn.Module | None]:
        """The judge of pictures and the judge of labels."""

        def critic(channels: int) -> StyleGAN2Discriminator:
            sizes = (resolution, self.channel_base, self.channel_max, self.group)
            return StyleGAN2Discriminator(*sizes, channels, channels, POSE, CLAMP)

        shown = classes + (COLOURS if self.labels == "aligned" else 0)
        return critic(COLOURS) if self.image else None, None if self.labels == "none" else critic(shown)


class LitPix2Pix3D(AdversarialGenerator):
    """Three players by turns: the generator, the judge of pictures, the judge of pictures with their labels.

    Args:
        network: the generator.
        perceptual: distance of pictures (B, 3, H, W) in [0, 1], such as
            :class:`lit.features.lpips_distance.LpipsDistance`; None for none.
        weights: of the generator's losses.
        critics: the judges.
        random_pose: probability that a player's step looks through other cameras than the label maps' own: 0.5; 0 and 1
            are the ends of the paper's figure 9.
        labels_3d: the field's labels are trained; without them there are neither their losses nor their judge
            (table 1, "without 3D labels").
        balance: weights of the classes in the cross-entropy: "none", or by their pixels in the training maps "inverse"
            (the released ``seg_weight`` 2, faces) or "root" (its 1), see
            :func:`datamodules.objects.labelled_views.class_weights`.
        lr: Adam's rate of the generator.
        density_weight: of the density regularisation; 0 for none.
        density_distance: standard deviation of the way between its points.
        density_every: steps from one to the next.
        cross_view_every: steps from one cross-view consistency to the next, as much stronger as rarer; released: 1.
        batch_images: images of a step over all processes that the intervals are meant for.
        w_decay: share that the mean w+ keeps in such a step of a judge.
        ema_kimg: half-life of the average of the generator, in thousands of images; released: batch x 10 / 32.
        ema_rampup: the half-life is at most this share of the images seen so far; 0 for no such limit.
        blur: of what the judges see at first, pixels; released: 10 from scratch, 0 from EG3D's weights.
        blur_kimg: thousands of images in which it fades; released: 200 x batch / 32.
        start: file of weights that the generator starts from (:func:`read_pix2pix3d`); None for random ones.
        judges_start: file of weights that the judges start from, often the same
            (:func:`lit.weights.official.pix2pix3d_judges.start_judges`); None for random ones.
        bank: what prediction makes of label maps; None for the defaults.
        total_images: training stops after so many images.
        seed: of all draws.

    Raises:
        InputError: a start of other sizes, or a setting that cannot be.
    """

    def __init__(
        self,
        network: Pix2Pix3DGenerator,
        perceptual: nn.Module | None = None,
        weights: LabelledWeights | None = None,
        critics: Critics | None = None,
        random_pose: float = 0.5,
        labels_3d: bool = True,
        balance: Literal["none", "inverse", "root"] = "none",
        lr: float = 0.0025,
        density_weight: float = 0.25,
        density_distance: float = 0.004,
        density_every: int = 4,
        cross_view_every: int = 1,
        batch_images: int = 32,
        w_decay: float = 0.995,
        ema_kimg: float = 10.0,
        ema_rampup: float = 0.05,
        blur: float = 0.0,
        blur_kimg: float = 0.0,
        start: str | None = None,
        judges_start: str | None = None,
        bank: FieldBank | None = None,
        total_images: int = 25_000_000,
        seed: int = 0,
    ) -> None:
        for name, value, low, high in (
            ("random_pose", random_pose, 0, 1), ("lr", lr, 0, math.inf), ("total_images", total_images, 1, math.inf),
            ("density_weight", density_weight, 0, math.inf), ("seed", seed, 0, math.inf),
        ):  # fmt: skip
            if not low <= value <= high:
                raise InputError(f"model.{name} {value}: expected {low} to {high:g}")
        super().__init__(total_images, seed, "pix2pix3d")
        self.save_hyperparameters(ignore=["network", "perceptual", "weights", "critics", "bank"])
        self.critics = critics or Critics()
        if start is not None:
            given = read_pix2pix3d(start)
            if given.config | {"march": 0} != network.config | {"march": 0}:
                differing = [k for k in network.config if k != "march" and network.config[k] != given.config.get(k)]
                raise InputError(f"{start}: differs from the network in {', '.join(differing)}; set them alike")
            network.load_state_dict(given.state_dict())
        judges = self.critics.build(network.resolution, network.classes)
        if judges_start is not None:
            start_judges(*judges, judges_start)
        aligned = self.critics.labels == "aligned"
        self.game = LabelledGame(
            network, *judges, perceptual, weights, aligned, labels_3d, augment=self.critics.augment
        )
        self.ema: Pix2Pix3DGenerator = copy.deepcopy(network).eval()
        self.averaging = WeightAverage(self.ema, network, ema_kimg * 1000, ema_rampup)
        self.blur = FadingBlur(blur, blur_kimg * 1000)
        self.bank, self.baked = bank or FieldBank(), 0
        self.pool: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Ask the data for its cameras and for the weights of its classes.

        Raises:
            InputError: it has other classes than the network, or cannot tell.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        balance, kind = self.hparams["balance"], self.game.generator.kind
        given = {"edge": "edges", "seg": "segmentation"}.get(getattr(data, "kind", ""), kind)
        if given != kind:
            raise InputError(
                f"data.kind gives {given}, the network takes {kind}: set data.kind or model.network.labels"
            )
        if stage == "fit":
            self.pool = getattr(data, "cameras", None)
        if stage != "fit" or balance == "none" or kind == "edges":
            return
        if not hasattr(data, "class_weights"):
            raise InputError(f"balance {balance}: {type(data).__name__} does not tell its classes' pixels; set none")
        weights: Tensor = data.class_weights(balance == "root")
        if len(weights) != self.game.generator.classes:
            raise InputError(
                f"data of {len(weights)} classes, a network of {self.game.generator.classes}: set its classes alike"
            )
        self.game.class_weights = weights.to(self.device)

    def phases(self) -> list[Phase]:
        h, game, critics = self.hparams, self.game, self.critics
        interval = h["batch_images"]
        density = Penalty("density", self.density, h["density_weight"], Cadence(h["density_every"] * interval))
        penalties = [density] if h["density_weight"] else []
        adam = lazy_adam(game.generator.parameters(), h["lr"], [h["density_every"]] if penalties else [])
        phases = [Phase("generator", adam, lambda turn: game.generator_losses(self.play_of(turn)), penalties)]
        every = Cadence(critics.r1_every * interval)
        judges: list[tuple[str, nn.Module, CriticLoss, Callable[[Play], Tensor]]] = []
        if game.image_critic is not None:
            judges.append(("image", game.image_critic, game.image_critic_loss, game.image_r1))
        if game.label_critic is not None:
            judges.append(("label", game.label_critic, game.label_critic_loss, game.label_r1))

        def phase(name: str, judges: Sequence[tuple[str, nn.Module, CriticLoss, Callable[[Play], Tensor]]]) -> Phase:
            def played(turn: Turn) -> dict[str, Tensor]:
                play = self.play_of(turn)
                fake, latent = game.unlearnt(play)
                self.follow(latent, turn)
                return {judge: loss(play, fake) for judge, _, loss, _ in judges}

            def penalty(judge: str, r1: Callable[[Play], Tensor]) -> Penalty:
                return Penalty(f"{judge}_r1", lambda turn: r1(self.play_of(turn)), critics.gamma / 2, every)

            weights = [parameter for _, judge, _, _ in judges for parameter in judge.parameters()]
            adam = lazy_adam(weights, critics.lr, [critics.r1_every] if critics.gamma else [])
            return Phase(name, adam, played, [penalty(j, r1) for j, _, _, r1 in judges] if critics.gamma else [])

        if critics.together and len(judges) > 1:
            return [*phases, phase("judges", judges)]
        return [*phases, *(phase(judge[0], [judge]) for judge in judges)]

    def play_of(self, turn: Turn, noise: Noise = "random") -> Play:
        """A player's step: latents, the coin that says through whose cameras it looks, and the other cameras.

        These are drawn from all of the training's where the data module has ``cameras`` (N, 25); else they are the
        batch's, moved on by a random number of places, so that in a batch of one there are no others.
        """
        batch, draw = turn.batch, turn.draw
        unjudged = self.game.image_critic is None and self.game.label_critic is None  # then other views teach nothing
        own = not turn.coin(self.hparams["random_pose"]) or unjudged
        count, device = len(batch.cameras), batch.cameras.device
        z = batch_draw(lambda n: torch.randn(n, self.game.generator.z_dim, generator=draw, device=device), count)
        if self.pool is None:
            shift = int(torch.randint(1, max(count, 2), (), generator=draw, device=device))
            others = batch.cameras.roll(shift, 0)
        else:
            known = len(self.pool)
            rows = batch_draw(lambda n: torch.randint(known, (n,), generator=draw, device=device), count)
            others = self.pool[rows.cpu()].to(batch.cameras)
        rarely, cross_view = self.hparams["cross_view_every"], 1.0
        if rarely > 1:
            every = Cadence(rarely * self.hparams["batch_images"])
            cross_view = every.gain(turn.step) if turn.due(every) else 0.0
        return Play(batch, z, own, others, draw, noise, self.blur.at(turn.seen), cross_view)

    def density(self, turn: Turn) -> Tensor:
        """The density regularisation of fields of the batch's label maps."""
        return self.game.density(self.play_of(turn), self.hparams["density_distance"])

    def follow(self, latent: Tensor, turn: Turn) -> None:
        """Move the mean w+ towards a judge's fakes."""
        kept = self.hparams["w_decay"] ** (turn.step / self.hparams["batch_images"])
        self.game.generator.mapping.follow(mean_over_ranks(latent.detach().mean(0)), kept)

    def codes(self, keys: Sequence[str], sample: int = 0) -> Tensor:
        """Latents (B, z_dim), one a name: the same ones at every call; ``sample`` tells several of one name apart."""
        drawn = [derive(self.hparams["seed"], i, "sample", sample) for i in keys]
        z = np.stack([rng.standard_normal(self.ema.z_dim) for rng in drawn])
        return torch.from_numpy(z).float().to(self.device)

    @torch.no_grad()
    def sample(
        self,
        labels: Tensor,
        cameras: Tensor,
        keys: Sequence[str],
        views: Tensor | None = None,
        truncation: float = 1.0,
        sample: int = 0,
    ) -> LabelledPictures:
        """Pictures and labels of the averaged generator, the same ones at every call.

        Args:
            labels: label maps, see :class:`LabelledViews`.
            cameras: (B, 25) through which they were seen.
            keys: B names, from which the latents follow.
            views: (B, 25) cameras to look through; None for the label maps' own.
            truncation: 1 for none.
            sample: which of several latents of a name.
        """
        latent = self.ema.latents(self.codes(keys, sample), cameras, labels, truncation)
        pictures: LabelledPictures = self.ema(latent, cameras if views is None else views, "const")
        return pictures

    @property
    def z_dim(self) -> int:
        """Width of a latent."""
        return self.ema.z_dim

    @torch.no_grad()
    def synthesise(self, labels: Tensor, z: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, R, R) in about [-1, 1] and label maps, (B, C, R, R) logits or (B, 1, R, R) edges, of the
        averaged generator through the label maps' own cameras (:class:`lit.callbacks.conditional_metrics.Synthesiser`).
        """
        drawn = self.ema(self.ema.latents(z, cameras, labels), cameras, "const")
        return drawn.image, drawn.labels

    @torch.no_grad()
    def turned(self, batch: LabelledViews, yaw: Sequence[float]) -> RenderedViews:
        """Samples for the batch's keys, their cameras turned about the world's upright axis
        (:class:`lit.callbacks.single_view_scores.TurnedSampler`).

        The picture is the upsampled one, cut out by the opacity that the field itself has at its resolution; depth is
        along the view, in half diagonals of the box that the studio's cars have in this world.
        """
        views = turned_about_upright(batch.cameras, yaw)
        latent = self.ema.latents(self.codes(batch.keys), batch.cameras, batch.labels)
        planes, side = self.ema.planes(latent, "const"), self.ema.resolution
        white = (self.ema.pictures(planes, latent, views).image.permute(0, 2, 3, 1) + 1) / 2
        drawn = self.ema.rendered(planes, views, side, None)
        origins, directions = camera_rays(views, side)
        along = views[:, :16].view(-1, 4, 4)[:, None, :3, 2]
        points = origins + drawn.depth.flatten(2).transpose(1, 2) * directions
        place = (points * along).sum(-1).unflatten(1, (side, side)) / (DIAGONAL / 2)
        opacity = drawn.opacity.permute(0, 2, 3, 1)
        return RenderedViews(torch.cat([white - (1 - opacity), opacity], -1), place)

    def validation_step(  # type: ignore[override]  # callbacks take it, Lightning does not look at it
        self, batch: LabelledViews, batch_idx: int
    ) -> LabelledPictures:
        """Pictures and labels of the batch's label maps through their own cameras, which callbacks compare with it."""
        return self.sample(batch.labels, batch.cameras, batch.keys)

    test_step = validation_step  # type: ignore[assignment]

    def on_predict_epoch_start(self) -> None:
        self.baked = 0

    def predict_step(self, batch: LabelledViews, batch_idx: int) -> list[VoxelAsset]:
        """The assets of the batch's label maps, by the averaged weights; the same whatever the number of processes."""
        dims = stated_dims(getattr(self._trainer, "datamodule", None), batch.keys)
        assets = self.bank.assets(self.ema, batch, dims)
        self.baked += len(assets)
        return assets

    def on_predict_epoch_end(self) -> None:
        """Say what it means that there is nothing to write.

        Raises:
            InputError: no label map became an asset, on any process.
        """
        if not mean_over_ranks(torch.tensor(float(self.baked), device=self.device)):
            raise InputError(
                "none of the label maps became a whole object: each field stops no light, or reaches the end of its"
                " cube; train longer or take another checkpoint"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """State the network's sizes, too, so that the file alone is enough to build it."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["network"] = self.ema.config

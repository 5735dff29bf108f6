"""pix2pix3D's game: a generator of pictures with labels, a judge of pictures, and one of pictures with their labels.

A step renders either through the label map's own camera, where picture and labels are known, or through another, where
only the judges know anything; a coin decides, for each player anew. Cross-view consistency closes the circle: labels
rendered through another camera become an input, and have to give the first labels back.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 3.2; released code (``Pix2Pix3DLoss``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.objects.labelled_views import LabelledViews
from lit.adversarial.diff_augment import DiffAugment
from lit.adversarial.fading_blur import blurred
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_at
from lit.losses.labels import edge_loss, label_cross_entropy, labels_at
from lit.losses.regularisers import density_change
from lit.losses.weights import require_weights
from lit.networks.batch_draws import batch_draw
from lit.networks.layers.synthesis import Noise
from lit.networks.pix2pix3d.generator import LabelledPictures, Pix2Pix3DGenerator
from lit.networks.pix2pix3d.super_resolution import antialiased


@dataclass(frozen=True)
class LabelledWeights:
    """Weights and rules of the generator's losses; the defaults are those of the released script for cats and faces.

    Attributes:
        perceptual: of the perceptual distance of pictures.
        smooth: of their smooth-L1 distance, the released ``lambda_l1``, which its scripts leave at 0.
        labels: of the labels' loss: 1 for segmentation; for edges 10 (released) or 5 (paper).
        squared_edges: edges by squared differences (paper) in place of smooth-L1 (released).
        full_size: pictures and labels are compared after the upsamplers, too (paper, and the released cars).
        label_critic: of the generator's loss under the judge of labels.
        cross_view: of the cross-view consistency: 1e-4, cars 1e-6 (released), 0.1 (paper); 0 leaves it out.

    Raises:
        InputError: a weight below 0, or no number.
    """

    perceptual: float = 1.0
    smooth: float = 0.0
    labels: float = 1.0
    squared_edges: bool = False
    full_size: bool = False
    label_critic: float = 0.1
    cross_view: float = 1e-4

    def __post_init__(self) -> None:
        require_weights(self)


@dataclass(frozen=True)
class Play:
    """One player's step.

    Attributes:
        batch: real pictures.
        z: (B, z_dim) latents.
        own: the fakes are seen through the label maps' own cameras; else through
        others: (B, 25) other ones.
        draw: places samples along rays; None for the middles.
        noise: of the synthesis.
        blur: width of what the judges see, pixels.
        cross_view: factor on the cross-view consistency: 0 leaves it out of this step, more makes up for such steps.
    """

    batch: LabelledViews
    z: Tensor
    own: bool
    others: Tensor
    draw: torch.Generator | None = None
    noise: Noise = "random"
    blur: float = 0.0
    cross_view: float = 1.0

    @property
    def cameras(self) -> Tensor:
        """(B, 25) through which the fakes are seen."""
        return self.batch.cameras if self.own else self.others


class LabelledGame(nn.Module):
    """The three networks and what each of them descends.

    Args:
        generator: see there.
        image_critic: judges pictures of both resolutions and their camera; None for none.
        label_critic: judges labels of both resolutions and their camera, beside the pictures if ``aligned``; None for
            none.
        perceptual: distance of pictures (B, 3, H, W) in [0, 1]; None leaves it out.
        weights: of the losses.
        aligned: the judge of labels sees them beside the pictures.
        labels_3d: the generator's labels are trained; without, neither their losses nor their judge take part.
        augment: of what the judges see.

    Attributes:
        class_weights: (C,) of the cross-entropy; None for all alike.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        generator: Pix2Pix3DGenerator,
        image_critic: nn.Module | None,
        label_critic: nn.Module | None,
        perceptual: nn.Module | None = None,
        weights: LabelledWeights | None = None,
        aligned: bool = True,
        labels_3d: bool = True,
        augment: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.generator, self.image_critic = generator, image_critic
        self.label_critic = label_critic if labels_3d else None
        self.perceptual, self.weights = perceptual, weights or LabelledWeights()
        self.aligned, self.labels_3d, self.augment = aligned, labels_3d, DiffAugment(augment)
        self.register_buffer("class_weights", None, persistent=False)

    def fake(self, play: Play) -> tuple[LabelledPictures, Tensor]:
        """Pictures through :attr:`Play.cameras`, and their w+ (B, rows, w_dim)."""
        latent = self.generator.latents(play.z, play.batch.cameras, play.batch.labels)
        return self.generator(latent, play.cameras, play.noise, draw=play.draw), latent

    def probabilities(self, labels: Tensor) -> Tensor:
        """Rendered labels (B, C, H, W) as the judge sees them: shares of classes, or the edges."""
        return labels.softmax(1) if self.generator.kind == "segmentation" else labels

    def judge_images(self, image: Tensor, raw: Tensor, cameras: Tensor, blur: float = 0.0) -> Tensor:
        """Logits (B, 1) of pictures (B, 3, R, R), the same at a low resolution, and their cameras."""
        assert self.image_critic is not None
        image, raw = self.augment.together([image, raw])
        logits: Tensor = self.image_critic(blurred(image, blur), raw, cameras)
        return logits.float()

    def judge_labels(self, image: Tensor, raw: Tensor, cameras: Tensor, blur: float = 0.0) -> Tensor:
        """Logits (B, 1) of pictures and labels side by side (B, 3 + C, R, R), at two resolutions."""
        assert self.label_critic is not None
        pictures, maps = [image[:, :3], raw[:, :3]], [image[:, 3:], raw[:, 3:]]
        *shown, labels, labels_raw = self.augment.together(pictures, maps)
        if self.aligned:
            labels, labels_raw = torch.cat([shown[0], labels], 1), torch.cat([shown[1], labels_raw], 1)
        logits: Tensor = self.label_critic(blurred(labels, blur), labels_raw, cameras)
        return logits.float()

    def real_images(self, play: Play) -> tuple[Tensor, Tensor]:
        """Real pictures, and the same at the rendered resolution, blurred if the fakes are judged so."""
        image = play.batch.images
        return image, blurred(antialiased(image, self.generator.render_size), play.blur)

    def real_pairs(self, play: Play) -> tuple[Tensor, Tensor]:
        """Real pictures and labels side by side, at both resolutions."""
        labels = self.generator.label_channels(play.batch.labels)
        maps = (labels, antialiased(labels, self.generator.render_size))
        image, raw = (torch.cat(pair, 1) for pair in zip(self.real_images(play), maps))
        return image, raw

    def fake_pairs(self, fake: LabelledPictures) -> tuple[Tensor, Tensor]:
        """Pictures and labels side by side, at both resolutions. Where the generator learns, from its labels alone:
        the pictures' gradient stops here, or they would change to suit the labels (the paper's section 3.2).
        """
        labels, labels_raw = self.probabilities(fake.labels), self.probabilities(fake.labels_raw)
        return torch.cat([fake.image.detach(), labels], 1), torch.cat([fake.image_raw.detach(), labels_raw], 1)

    def generator_losses(self, play: Play) -> dict[str, Tensor]:
        """Weighted terms of the generator."""
        fake, latent = self.fake(play)
        terms: dict[str, Tensor] = {}
        if self.image_critic is not None:
            logits = self.judge_images(fake.image, fake.image_raw, play.cameras, play.blur)
            terms["adversarial"] = generator_loss(logits)
        if self.label_critic is not None:
            logits = self.judge_labels(*self.fake_pairs(fake), play.cameras, play.blur)
            terms["adversarial_labels"] = self.weights.label_critic * generator_loss(logits)
        if play.own:
            terms["pictures"] = self.picture_loss(fake, play)
            if self.labels_3d:
                terms["labels"] = self.weights.labels * self.label_loss(fake, play.batch.labels)
        if self.labels_3d and (weight := self.weights.cross_view * play.cross_view):
            terms["cross_view"] = weight * self.cross_view(fake, latent, play)
        return terms

    def picture_loss(self, fake: LabelledPictures, play: Play) -> Tensor:
        """Distance of pictures through the label maps' own cameras from the real ones."""
        image, raw = self.real_images(play)
        pairs = [(fake.image_raw, raw), *([(fake.image, image)] if self.weights.full_size else [])]
        total = image.new_zeros(())
        for made, real in pairs:
            if self.weights.smooth:
                total = total + self.weights.smooth * F.smooth_l1_loss(made.float(), real)
            if self.perceptual is not None and self.weights.perceptual:
                distance = self.perceptual((made.float() + 1) / 2, (real + 1) / 2).mean()
                total = total + self.weights.perceptual * distance
        return total

    def label_loss(self, fake: LabelledPictures, labels: Tensor) -> Tensor:
        """Distance of rendered labels from the given ones, without its weight."""
        raw = labels_at(labels, fake.labels_raw.shape[-1])
        pairs = [(fake.labels_raw, raw), *([(fake.labels, labels)] if self.weights.full_size else [])]
        if self.generator.kind == "edges":
            return torch.stack([edge_loss(*pair, self.weights.squared_edges) for pair in pairs]).sum()
        return torch.stack([label_cross_entropy(*pair, self.class_weights) for pair in pairs]).sum()

    def cross_view(self, fake: LabelledPictures, latent: Tensor, play: Play) -> Tensor:
        """Distance of labels through the own cameras, made from labels that were rendered through the others, from
        those first rendered there. Only the way back learns.
        """
        network = self.generator
        with torch.no_grad():
            # One of the two renderings is there already: the released code renders it again.
            if play.own:
                wanted = fake.labels_raw
                seen = network.labels(latent, play.others, play.noise, play.draw, full=True)
            else:
                seen = fake.labels
                wanted = network.labels(latent, play.batch.cameras, play.noise, play.draw, full=False)
            seen = seen.argmax(1) if network.kind == "segmentation" else seen
        again = network.latents(play.z, play.batch.cameras, seen.detach())
        found = network.labels(again, play.batch.cameras, play.noise, play.draw, full=False)
        return F.smooth_l1_loss(found.float(), wanted.detach().float())

    @torch.no_grad()
    def unlearnt(self, play: Play) -> tuple[LabelledPictures, Tensor]:
        """:meth:`fake` without gradients: what the judges learn from."""
        return self.fake(play)

    def image_critic_loss(self, play: Play, fake: LabelledPictures) -> Tensor:
        """Loss of the judge of pictures."""
        real = self.judge_images(*self.real_images(play), play.batch.cameras, play.blur)
        logits = self.judge_images(fake.image, fake.image_raw, play.cameras, play.blur)
        return discriminator_loss(real, logits)

    def label_critic_loss(self, play: Play, fake: LabelledPictures) -> Tensor:
        """Loss of the judge of labels."""
        real = self.judge_labels(*self.real_pairs(play), play.batch.cameras, play.blur)
        logits = self.judge_labels(*self.fake_pairs(fake), play.cameras, play.blur)
        return discriminator_loss(real, logits)

    def image_r1(self, play: Play) -> Tensor:
        """R1 of the judge of pictures, at both resolutions together."""
        cameras, blur = play.batch.cameras, play.blur
        return r1_at(lambda image, raw: self.judge_images(image, raw, cameras, blur), *self.real_images(play))

    def label_r1(self, play: Play) -> Tensor:
        """R1 of the judge of labels, at both resolutions together, labels included."""
        cameras, blur = play.batch.cameras, play.blur
        return r1_at(lambda image, raw: self.judge_labels(image, raw, cameras, blur), *self.real_pairs(play))

    def density(self, play: Play, distance: float = 0.004, points: int = 1000) -> Tensor:
        """Change of the raw density from points drawn in [-1, 1]^3, whatever the field's box, to others beside them.

        Args:
            play: whose :attr:`Play.draw` draws them.
            distance: standard deviation of the way to the others.
            points: of each field.
        """
        latent = self.generator.latents(play.z, play.batch.cameras, play.batch.labels)
        draw, device, count = play.draw, latent.device, len(latent)
        first = 2 * batch_draw(lambda n: torch.rand(n, points, 3, generator=draw, device=device), count) - 1
        way = distance * batch_draw(lambda n: torch.randn(n, points, 3, generator=draw, device=device), count)
        return self.density_at(latent, first, first + way, play.noise)

    def density_at(self, latent: Tensor, first: Tensor, second: Tensor, noise: Noise) -> Tensor:
        """Change of the raw density between points (B, P, 3) of the fields of w+ (B, rows, w_dim)."""
        field = self.generator.field(self.generator.planes(latent, noise), raw=True)
        density = field(torch.cat([first, second], 1)).density
        return density_change(*density.chunk(2, 1))

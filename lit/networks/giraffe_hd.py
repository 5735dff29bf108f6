"""GIRAFFE HD: feature fields under StyleGAN2-type renderers, one for the foreground with its mask, one for the rest.

Source: Xue et al., "GIRAFFE HD: A High-Resolution 3D-aware Generative Model", CVPR 2022, section 3; sizes of the
authors' configuration for CompCars.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.rank_counts import mean_over_ranks
from lit.networks.batch_draws import batch_draw
from lit.networks.fields.feature_image import Codes
from lit.networks.fields.object_scene import Scene, SceneRanges
from lit.networks.layers.mapping import MappingNetwork
from lit.networks.layers.modulated import ModulatedConv
from lit.networks.layers.synthesis import Noise, StyledConv, SynthesisNetwork
from lit.networks.scene_generator import SceneGenerator


class Refiner(nn.Module):
    """What the background's appearance does to the foreground's colours: two convolutions at full resolution."""

    def __init__(self, channels: int, resolution: int, w_dim: int, image_channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(StyledConv(channels, channels, w_dim, resolution) for _ in range(2))
        self.to_rgb = ModulatedConv(channels, image_channels, w_dim, size=1, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, noise: Noise = "random") -> Tensor:
        """Addition (B, image_channels, R, R) to the foreground's picture for features x and style rows w."""
        for conv in self.convs:
            x = conv(x, w, noise)
        addition: Tensor = self.to_rgb(x, w)
        return addition


class Layers(NamedTuple):
    """A generated picture in layers.

    Attributes:
        image: (B, 3, R, R) in [-1, 1], foreground over background.
        foreground: (B, 3, R, R).
        background: (B, 3, R, R).
        mask: (B, 1, R, R) in [0, 1].
    """

    image: Tensor
    foreground: Tensor
    background: Tensor
    mask: Tensor


class GiraffeHDGenerator(SceneGenerator):
    """Foreground and background rendered apart and joined by a mask.

    Args:
        ranges: camera and boxes that scenes are drawn from.
        background_z_dim: length of the background's codes.
        background_shift: largest shift of the background field along x and y in training.
        share_height: the background is shifted along z with the object ("position sharing").
        mask_in_foreground: the foreground's renderer makes the mask, else the refiner does.
        mapping_layers: of both mapping networks.
        mix: share of training batches whose foreground takes the appearance code from a random row on; without it
            all rows take the shape code.
        mix_row: the row in evaluation.
        channel_base, channel_max: of the renderers, see :class:`SynthesisNetwork`.
        sizes: see :class:`SceneGenerator`.
    """

    def __init__(
        self,
        ranges: SceneRanges | None = None,
        background_z_dim: int = 256,
        background_shift: float = 0.2,
        share_height: bool = True,
        mask_in_foreground: bool = True,
        mapping_layers: int = 8,
        mix: float = 0.5,
        mix_row: int = 4,
        channel_base: int = 32768,
        channel_max: int = 256,
        **sizes: Any,
    ) -> None:
        ranges = ranges or SceneRanges(translation=((-0.22, -0.12, -0.06), (0.22, 0.12, 0.08)))
        super().__init__(ranges=ranges, background_z_dim=background_z_dim, directions=False, two_codes=False, **sizes)
        self.background_shift, self.share_height = background_shift, share_height
        self.mask_in_foreground, self.mix, self.mix_row = mask_in_foreground, mix, mix_row
        resolution, z_dim = self.resolution, self.z_dim
        self.mapping = MappingNetwork(z_dim, z_dim, mapping_layers)
        self.background_mapping = MappingNetwork(background_z_dim, background_z_dim, mapping_layers)
        start = partial(SynthesisNetwork, resolution, channel_base=channel_base, channel_max=channel_max)
        shape: dict[str, Any] = {"size": self.scene.size, "features": self.features}
        self.front = start(z_dim, image_channels=4 if mask_in_foreground else 3, **shape)
        self.back = start(background_z_dim, **shape)
        self.refine = Refiner(self.front.outputs, resolution, background_z_dim, 3 if mask_in_foreground else 4)

    def styles(self, codes: Codes) -> Codes:
        """The codes through their mapping networks; what both fields and renderers take."""
        front, back = self.mapping, self.background_mapping
        return Codes(
            front(codes.shape.flatten(0, 1)).view_as(codes.shape),
            front(codes.look.flatten(0, 1)).view_as(codes.look),
            back(codes.back_shape),
            back(codes.back_look),
        )

    def layers(self, codes: Codes, scene: Scene, generator: torch.Generator | None = None) -> Layers:
        """All layers of the pictures; the generator adds the noise, the shifts and the mixing of training."""
        styles, training = self.styles(codes), generator is not None
        noise: Noise = "random" if training else "const"
        shift = torch.zeros_like(scene.translation[:, 0])
        row = self.mix_row
        if generator is not None:
            device = shift.device
            place = batch_draw(lambda n: 2 * torch.rand(n, 2, generator=generator, device=device) - 1, len(shift))
            shift = torch.cat([self.background_shift * place, shift[:, 2:]], 1)
            choice = torch.rand(2, generator=generator, device=device)
            row = int(choice[0] * self.front.rows) if choice[1] < self.mix else self.front.rows
        if self.share_height:
            shift = torch.cat([shift[:, :2], scene.translation[:, 0, 2:]], 1)
        front = self.scene(styles, scene, "objects", generator=generator)
        back = self.scene(styles, scene, "background", shift, generator)
        later = torch.arange(self.front.rows, device=shift.device) >= row
        latent = torch.where(later[None, :, None], styles.look[:, :1], styles.shape[:, :1])
        picture, features = self.front.render(front, latent, noise)
        rows = styles.back_look[:, None].expand(-1, self.back.rows, -1)
        background = torch.tanh(self.back.render(back, rows, noise)[0])
        addition = self.refine(features, styles.back_look, noise)
        mask = torch.sigmoid((picture if self.mask_in_foreground else addition)[:, 3:])
        foreground = torch.tanh(picture[:, :3] + addition[:, :3])
        return Layers(foreground * mask + background * (1 - mask), foreground, background, mask)

    def forward(self, codes: Codes, scene: Scene, generator: torch.Generator | None = None) -> Tensor:
        """Pictures (B, 3, R, R) in [-1, 1]."""
        return self.layers(codes, scene, generator).image

    def cut_out(self, codes: Codes, scene: Scene) -> Tensor:
        """(B, 4, R, R) foreground in [0, 1] with its mask as fourth channel."""
        drawn = self.layers(codes, scene)
        return torch.cat([(drawn.foreground + 1) / 2, drawn.mask], 1)


def binarisation(mask: Tensor) -> Tensor:
    """Mean distance of a mask in [0, 1] to the nearer of 0 and 1 (GIRAFFE HD's mask regulariser)."""
    return torch.minimum(mask, 1 - mask).mean()


def outside_box(mask: Tensor, box: Tensor) -> Tensor:
    """Mean of the mask (B, 1, R, R) where the object's projected box (B, 1, s, s) in [0, 1] is not."""
    if box.shape[-1] != mask.shape[-1]:
        box = F.interpolate(box, size=mask.shape[-2:], mode="bilinear", align_corners=False)
    return ((1 - box) * mask).mean()


def missing_coverage(mask: Tensor, least: float) -> Tensor:
    """How much of the picture the mask covers too little, on the mean of the batch: relu(least - mean).

    Whether it is too little is decided on the mean of all processes.
    """
    mean = mask.mean()
    short = mean_over_ranks(mean.detach().clone()) < least
    return torch.where(short, least - mean, torch.zeros_like(mean))

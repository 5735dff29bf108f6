"""pix2pix3D's generator: a label map, a latent and a pose to a field, and a field to pictures of colour and labels.

The way of a picture: labels and latent make w+ (:mod:`lit.networks.pix2pix3d.label_mapping`); StyleGAN2's synthesis
makes three feature planes of it; two decoders read colour, density and labels off them at any point; a march along rays
renders these at a low resolution; two upsamplers make the pictures.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 3; where paper and released code differ
(14 rows of w+, width 512, two decoders, outputs scaled by 2 x - 1, labels too) the code is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from detectors.precision import full_precision
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import EG3D_AXES, DecodedPlanes
from lit.networks.fields.softplus_decoder import HIDDEN
from lit.networks.layers.synthesis import Noise, SynthesisNetwork
from lit.networks.pix2pix3d.label_decoder import COLOURS, LabelDecoder
from lit.networks.pix2pix3d.label_encoder import LabelEncoder, label_channels
from lit.networks.pix2pix3d.label_mapping import LabelMapping
from lit.networks.pix2pix3d.march import March, RenderedField
from lit.networks.pix2pix3d.super_resolution import CLAMP, SuperResolution, Upsampled

LabelKind = Literal["segmentation", "edges"]
POSE = 25


class LabelledPictures(NamedTuple):
    """Pictures of B fields, in about [-1, 1], with their labels.

    Attributes:
        image: (B, 3, R, R).
        labels: (B, C, R, R) logits of classes, or (B, 1, R, R) edges: paper +1, lines negative.
        image_raw: (B, 3, s, s) as rendered.
        labels_raw: (B, C, s, s) as rendered.
        depth: (B, 1, s, s) along the rays, in the field's unit.
        opacity: (B, 1, s, s) in [0, 1].
    """

    image: Tensor
    labels: Tensor
    image_raw: Tensor
    labels_raw: Tensor
    depth: Tensor
    opacity: Tensor


class Pix2Pix3DGenerator(nn.Module):
    """Encoder, mapping, tri-plane synthesis, decoders and both upsamplers.

    Args:
        march: renders the field.
        resolution: side of label maps and pictures.
        labels: what a label map holds: class ids, or edges.
        classes: of label maps of ids; 1 for edges.
        render_size: side of what is rendered before the upsamplers.
        z_dim: width of z.
        w_dim: width of a row of w+.
        mapping_layers: layers between z and its rows.
        geometry_rows: rows of w+ that the label map makes; the others come from z.
        pose_condition: the pose of the label map enters beside z (faces and cats); without it zeros do (cars).
        plane_resolution: side of the planes.
        plane_channels: channels of each plane.
        channel_base: of the synthesis: maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        encoder_base, encoder_max: the same of the label encoder.
        features: channels of each decoder, which its upsampler takes.
        box: edge of the cube that the planes span, in the cameras' unit.
        upsampler_size: side of the upsamplers' input; None for the released one.
        upsampler_widths: channels of the upsamplers' two blocks; None for the released ones.
        upsampler_clamp: bound on the upsamplers' activations; None for none.
        raw_after_first_block: the low-resolution pictures that are returned have the first upsampling block's addition,
            where that block neither resizes nor doubles. So it is in the released code, which adds in place: the
            discriminators and losses of edge2car see the sum.
        hidden: width of the decoders' hidden layers.
        conditional: label maps matter; without, all rows of w+ come from z, and what is left is EG3D with a field of
            labels beside its colours.

    Attributes:
        config: what it is built from, plain types (:func:`lit.weights.official.pix2pix3d.network_of`).

    Raises:
        InputError: sizes that do not fit one another.
    """

    def __init__(
        self,
        march: March,
        resolution: int = 512,
        labels: LabelKind = "segmentation",
        classes: int = 6,
        render_size: int = 128,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 2,
        geometry_rows: int = 7,
        pose_condition: bool = True,
        plane_resolution: int = 256,
        plane_channels: int = 32,
        channel_base: int = 32768,
        channel_max: int = 512,
        encoder_base: int = 32768,
        encoder_max: int = 512,
        features: int = 32,
        box: float = 1.0,
        upsampler_size: int | None = None,
        upsampler_widths: tuple[int, int] | None = None,
        upsampler_clamp: float | None = CLAMP,
        raw_after_first_block: bool = False,
        hidden: int = HIDDEN,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        settings = {k: v for k, v in locals().items() if k not in ("self", "__class__", "march")}
        self.config: dict[str, Any] = {**settings, "march": march.config}
        if (labels == "edges") != (classes == 1):
            raise InputError(f"{labels} of {classes} classes: expected 1 for edges, at least 2 for segmentation")
        self.march, self.resolution, self.kind, self.classes = march, resolution, labels, classes
        self.render_size, self.z_dim, self.box, self.pose_condition = render_size, z_dim, box, pose_condition
        self.raw_after_first_block, self.conditional = raw_after_first_block, conditional
        self.plane_channels = plane_channels
        self.synthesis = SynthesisNetwork(plane_resolution, w_dim, channel_base, channel_max, 3 * plane_channels)
        if not 0 < geometry_rows < self.synthesis.rows:
            raise InputError(f"geometry_rows {geometry_rows}: expected 1 to {self.synthesis.rows - 1} of these planes")
        encoder = LabelEncoder(resolution, classes, geometry_rows, w_dim, encoder_base, encoder_max)
        encoder.requires_grad_(conditional)  # which nothing asks, without
        self.mapping = LabelMapping(encoder, self.synthesis.rows, z_dim, mapping_layers, POSE)
        self.decoder = LabelDecoder(plane_channels, classes, features, hidden)
        sizes = (w_dim, upsampler_size, upsampler_widths, upsampler_clamp)
        self.upsample_image = SuperResolution(resolution, features, COLOURS, *sizes)
        self.upsample_labels = SuperResolution(resolution, features, classes, *sizes)

    def label_channels(self, labels: Tensor) -> Tensor:
        """:func:`lit.networks.pix2pix3d.label_encoder.label_channels` of this network's kind and size."""
        return label_channels(labels, self.kind, self.classes, self.resolution)

    def pose(self, cameras: Tensor) -> Tensor:
        """The pose (B, 25) that conditions: that of the label map, or zeros."""
        return cameras if self.pose_condition else torch.zeros_like(cameras)

    def latents(self, z: Tensor, cameras: Tensor, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """w+ (B, rows, w_dim) of latents (B, z_dim), the cameras (B, 25) of the label maps, and these.

        Raises:
            InputError: see :func:`label_channels`.
        """
        channels, pose = self.label_channels(labels), self.pose(cameras)
        if self.conditional:
            latent = self.mapping(z, pose, channels)
        else:
            latent = self.mapping.appearance(z, pose, self.mapping.rows)
        return self.mapping.truncated(latent, truncation)

    def planes(self, latent: Tensor, noise: Noise = "random") -> Tensor:
        """Planes (B, 3, C, r, r) of w+ (B, rows, w_dim)."""
        planes: Tensor = self.synthesis(latent, noise)
        return planes.unflatten(1, (3, self.plane_channels))

    def field(self, planes: Tensor, raw: bool = False) -> DecodedPlanes:
        """The field of planes, its density raw or not; colours in [0, 1], labels as decoded."""
        # The third plane spans z and x: EG3D's early, asymmetric choice, which these weights were trained with.
        decode: Callable[[Tensor], FieldValues] = self.decoder.raw if raw else self.decoder
        return DecodedPlanes(planes, decode, "mean", EG3D_AXES, self.box)

    def rendered(self, planes: Tensor, cameras: Tensor, size: int, draw: torch.Generator | None) -> RenderedField:
        """What cameras (B, 25) see of planes, in full precision whatever the trainer's, as EG3D renders."""
        with full_precision(planes.device):
            return self.march(self.field(planes.float(), raw=True), cameras, size, draw)

    def pictures(
        self,
        planes: Tensor,
        latent: Tensor,
        cameras: Tensor,
        size: int | None = None,
        draw: torch.Generator | None = None,
    ) -> LabelledPictures:
        """Pictures of planes through cameras (B, 25).

        Args:
            planes: (B, 3, C, r, r), of
            latent: w+ (B, rows, w_dim).
            cameras: see :class:`March`.
            size: side of what is rendered; None for :attr:`render_size`.
            draw: see :class:`March`.
        """
        drawn = self.rendered(planes, cameras, size or self.render_size, draw)
        rgb, labels, rest = (2 * channels - 1 for channels in (drawn.rgb, drawn.labels, drawn.features))
        split = self.decoder.features - COLOURS
        image = self.upsample_image(rgb, torch.cat([rgb, rest[:, :split]], 1), latent)
        label = self.upsample_labels(labels, torch.cat([labels, rest[:, split:]], 1), latent)
        if self.raw_after_first_block and image.first is not None and label.first is not None:
            rgb, labels = image.first, label.first
        return LabelledPictures(image.picture, label.picture, rgb, labels, drawn.depth, drawn.opacity)

    def labels(self, latent: Tensor, cameras: Tensor, noise: Noise, draw: torch.Generator | None, full: bool) -> Tensor:
        """Label maps alone, those of :meth:`forward`: (B, C, R, R), or (B, C, s, s) as rendered if not ``full``.

        What only asks for labels (the cross-view consistency) spares the upsampler of pictures, and of labels, too,
        where the rendered ones are not touched by it.
        """
        drawn = self.rendered(self.planes(latent, noise), cameras, self.render_size, draw)
        labels = 2 * drawn.labels - 1
        if not full and not self.raw_after_first_block:
            return labels
        behind = 2 * drawn.features[:, self.decoder.features - COLOURS :] - 1
        label: Upsampled = self.upsample_labels(labels, torch.cat([labels, behind], 1), latent)
        if full:
            return label.picture
        return labels if label.first is None else label.first

    def forward(
        self,
        latent: Tensor,
        cameras: Tensor,
        noise: Noise = "random",
        size: int | None = None,
        draw: torch.Generator | None = None,
    ) -> LabelledPictures:
        """Pictures of w+ (B, rows, w_dim) through cameras (B, 25); see :meth:`pictures`."""
        return self.pictures(self.planes(latent, noise), latent, cameras, size, draw)

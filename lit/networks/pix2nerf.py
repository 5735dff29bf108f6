"""Pix2NeRF of label maps: an encoder of labels in front of a field of sines whose frequencies follow from a code.

Source: Cai et al., "Pix2NeRF: Unsupervised Conditional pi-GAN for Single Image to Neural Radiance Fields Translation",
CVPR 2022, released code. As Deng et al. (CVPR 2023, section 4.2) compare with it, the encoder reads a label map. What
differs here, so that the row shares data and renderer with pix2pix3D: cameras are known; the code's second half is
drawn, for several looks of one map; the field has labels, without which no alignment could be scored; colours do not
depend on the ray's direction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.siren import FilmSiren
from lit.networks.fields.softplus_decoder import widened_sigmoid
from lit.networks.pix2pix3d.generator import LabelKind, LabelledPictures
from lit.networks.pix2pix3d.label_decoder import COLOURS
from lit.networks.pix2pix3d.label_encoder import LabelEncoder, label_channels
from lit.networks.pix2pix3d.march import March

BACKDROP = 8.0  # logit by which class 0 leads where a ray meets nothing: the field has no class there


class SirenField(nn.Module):
    """pi-GAN's field: a mapping of codes, layers of sines, heads for density and labels, one more layer for colour.

    Args:
        code: width of a code.
        labels: channels of labels.
        edges: labels are edges in [0, 1], not logits.
        width: of each layer; pi-GAN 256.
        layers: pi-GAN 8.
        box: edge of the cube whose points are brought to [-1, 1], in the cameras' unit.
    """

    def __init__(self, code: int, labels: int, edges: bool, width: int, layers: int, box: float) -> None:
        super().__init__()
        self.box, self.edges = box, edges
        steps = [(nn.Linear(code if i == 0 else width, width), nn.LeakyReLU(0.2)) for i in range(3)]
        for linear, _ in steps:
            nn.init.kaiming_normal_(linear.weight, a=0.2)
        self.mapping = nn.Sequential(*(module for step in steps for module in step))
        first = FilmSiren(3, width, width)
        nn.init.uniform_(first.weight, -1 / 3, 1 / 3)  # pi-GAN's first layer: points are no sines
        self.layers = nn.ModuleList([first, *(FilmSiren(width, width, width) for _ in range(layers - 1))])
        self.solid = nn.Conv1d(width, 1 + labels, 1)
        self.hue = FilmSiren(width, width, width)
        self.colour = nn.Conv1d(width, COLOURS, 1)

    def forward(self, points: Tensor, style: Tensor) -> FieldValues:
        """Values at points (B, P, 3) under mapped codes (B, width), the density raw."""
        x = points.transpose(1, 2) * (2 / self.box)
        for layer in self.layers:
            x = layer(x, style)
        solid, rgb = self.solid(x).float(), widened_sigmoid(self.colour(self.hue(x, style)).float())
        labels = solid[:, 1:]
        return FieldValues(rgb, solid[:, 0], widened_sigmoid(labels) if self.edges else labels, rgb[:, :0])


class ConditionalPix2Nerf(nn.Module):
    """Label maps and latents to codes, codes to pictures and labels.

    Args:
        march: renders the field.
        resolution: side of label maps and pictures, to which what is rendered is brought bilinearly.
        labels: what a label map holds: class ids, or edges.
        classes: of label maps of ids; 1 for edges.
        render_size: side of what is rendered.
        z_dim: width of a code.
        content: how much of it the label map makes; the rest is z's.
        width: of the field's layers.
        layers: of the field.
        encoder_base, encoder_max: see :class:`lit.networks.pix2pix3d.label_encoder.LabelEncoder`.
        box: see :class:`SirenField`.
    """

    def __init__(
        self,
        march: March,
        resolution: int = 64,
        labels: LabelKind = "edges",
        classes: int = 1,
        render_size: int = 64,
        z_dim: int = 256,
        content: int = 128,
        width: int = 256,
        layers: int = 8,
        encoder_base: int = 32768,
        encoder_max: int = 512,
        box: float = 1.0,
    ) -> None:
        super().__init__()
        self.march, self.resolution, self.kind, self.classes = march, resolution, labels, classes
        self.render_size, self.z_dim, self.content = render_size, z_dim, content
        self.encoder = LabelEncoder(resolution, classes, 1, content, encoder_base, encoder_max)
        self.field = SirenField(z_dim, classes, labels == "edges", width, layers, box)

    def contents(self, labels: Tensor) -> Tensor:
        """The part (B, content) of codes that label maps make, see :func:`label_channels`."""
        channels = label_channels(labels, self.kind, self.classes, self.resolution)
        rows: Tensor = self.encoder(channels)
        return rows[:, 0]

    def contents_of(self, labels: Tensor) -> Tensor:
        """:meth:`contents` of rendered labels (B, C, R, R), class ids being those of the largest logits."""
        return self.contents(labels.argmax(1) if self.kind == "segmentation" else labels)

    def codes(self, z: Tensor, labels: Tensor) -> Tensor:
        """Codes (B, z_dim) of latents (B, z_dim) and label maps."""
        return torch.cat([self.contents(labels), z[:, self.content :]], 1)

    def forward(self, code: Tensor, cameras: Tensor, draw: torch.Generator | None = None) -> LabelledPictures:
        """Pictures of codes (B, z_dim) through cameras (B, 25); ``draw`` as of :class:`March`."""
        style = self.field.mapping(code)
        drawn = self.march(lambda points: self.field(points, style), cameras, self.render_size, draw)
        rgb, labels = 2 * drawn.rgb - 1, drawn.labels
        if self.kind == "edges":
            labels = 2 * labels - 1
        else:
            empty = BACKDROP * (1 - drawn.opacity)
            labels = torch.cat([labels[:, :1] + empty, labels[:, 1:]], 1)
        whole = [F.interpolate(x, (self.resolution,) * 2, mode="bilinear", align_corners=False) for x in (rgb, labels)]
        return LabelledPictures(whole[0], whole[1], rgb, labels, drawn.depth, drawn.opacity)

"""GIRAFFE: feature fields of object and background, and a 2D neural renderer on top.

Source: Niemeyer and Geiger, CVPR 2021, section 3 and supplementary material; sizes of the published 256 x 256 cars.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.networks.fields.feature_image import Codes
from lit.networks.fields.object_scene import Scene
from lit.networks.layers.synthesis import resolutions
from lit.networks.scene_generator import SceneGenerator


def smooth(x: Tensor) -> Tensor:
    """Blur (B, C, H, W) with outer([1, 2, 1]) / 16, mirrored at the border."""
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    for _ in range(2):
        x = (x[..., 1:] + x[..., :-1]) / 2
        x = (x[..., 1:, :] + x[..., :-1, :]) / 2
    return x


def double(x: Tensor) -> Tensor:
    """Bilinear upsampling of colours (B, 3, H, W) to twice the size, then :func:`smooth`."""
    return smooth(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class NeuralRenderer(nn.Module):
    """Feature image to RGB: at every size a 3x3 convolution, and colours that add up over the sizes.

    Args:
        features: channels of the feature image.
        size: pixels a side of the feature image, a power of two.
        resolution: pixels a side of the picture.
        least: fewest channels; they halve from size to size until then.
    """

    def __init__(self, features: int = 256, size: int = 16, resolution: int = 256, least: int = 32) -> None:
        super().__init__()
        steps = len(resolutions(resolution, size)) - 1
        widths = [features, *(max(features // 2 ** (step + 1), least) for step in range(steps))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.to_rgb = nn.ModuleList(nn.Conv2d(width, 3, 3, padding=1) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, resolution, resolution) in [0, 1] of feature images (B, features, size, size)."""
        rgb = self.to_rgb[0](x)
        for conv, to_rgb in zip(self.convs, self.to_rgb[1:]):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2)), 0.2)
            rgb = double(rgb) + to_rgb(x)
        return torch.sigmoid(rgb)


class GiraffeGenerator(SceneGenerator):
    """Scenes under a neural renderer.

    Args:
        least: fewest channels of the neural renderer.
        sizes: see :class:`SceneGenerator`.
    """

    def __init__(self, least: int = 32, **sizes: Any) -> None:
        super().__init__(directions=True, two_codes=True, **sizes)
        self.renderer = NeuralRenderer(self.features, self.scene.size, self.resolution, least)

    def forward(self, codes: Codes, scene: Scene, generator: torch.Generator | None = None) -> Tensor:
        """Pictures (B, 3, R, R) in [-1, 1]; the generator adds the noise of training."""
        return 2 * self.renderer(self.scene(codes, scene, generator=generator)) - 1

    def cut_out(self, codes: Codes, scene: Scene) -> Tensor:
        """(B, 4, R, R) pictures in [0, 1] with the object's opacity as fourth channel.

        Colours are those of the whole scene: without its background the renderer has never seen a feature image.
        """
        alpha = self.scene.opacity(codes, scene, self.scene.size)[:, None]
        factor = self.resolution // self.scene.size
        alpha = F.interpolate(alpha, scale_factor=factor, mode="bilinear", align_corners=False)
        return torch.cat([(self(codes, scene) + 1) / 2, alpha], 1)

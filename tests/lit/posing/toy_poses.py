"""A generator whose azimuth is known, and a regressor that reads it: poses without networks."""

from __future__ import annotations

import torch
from torch import Tensor

from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.latent_directions import row_styles
from lit.proxies.pose_regressor import PoseRegressor

SIZE, WIDTH = 16, 8
PAINT_ROWS = 4  # rows from here on carry a car's paint


class Compass(StyleGAN2Generator):
    """Two axes of W in the first two rows tell cosine and sine of the azimuth, written into the image.

    Red is (cosine - sine) / 2 in the left half of the image and (cosine + sine) / 2 in the right one, so that its
    mirror image has the opposite azimuth; green is the car's paint.

    Args:
        reach: half the range of azimuths that it can show, degrees.
        blur: degrees by which the paint turns the car.
    """

    def __init__(self, reach: float = 180.0, blur: float = 0.0) -> None:
        super().__init__(SIZE, WIDTH, WIDTH, 1, channel_base=64, channel_max=4)
        self.reach, self.blur = reach, blur
        axes = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)))[0]
        self.axes = axes
        scale = torch.tensor([3.0, 2.5, *[0.3] * (WIDTH - 2)])

        class Stretch(torch.nn.Module):
            def forward(self, z: Tensor, class_label: Tensor | None = None) -> Tensor:
                return (z * scale) @ axes + 1.5

        self.mapping = Stretch()  # type: ignore[assignment]  # stands in for the mapping network
        strong = torch.tensor([3.0, 2.5, *[0.1] * (WIDTH - 2)])
        for row, weight in enumerate(row_styles(self.synthesis)[:2]):  # what SeFa reads
            weight.copy_(torch.randn(len(weight), WIDTH, generator=torch.Generator().manual_seed(row)) * strong @ axes)
        self.synthesis.forward = self.draw  # type: ignore[method-assign,assignment]

    def azimuth(self, latents: Tensor) -> Tensor:
        """(B,) degrees in [-180, 180) of latents (B, rows, w_dim)."""
        seen = (latents[:, :2].mean(1) - 1.5) @ self.axes[:2].t()
        angle = torch.atan2(seen[:, 1], seen[:, 0]) * (self.reach / 180)
        paint = latents[:, PAINT_ROWS:].mean((1, 2))
        return torch.rad2deg(angle) + self.blur * torch.sin(10 * paint)

    def draw(self, latents: Tensor, noise: str = "const") -> Tensor:
        """(B, 3, S, S) images."""
        angle = torch.deg2rad(self.azimuth(latents))[:, None, None]
        image = torch.zeros(len(latents), 3, SIZE, SIZE)
        side = torch.arange(SIZE) >= SIZE // 2
        image[:, 0] = (angle.cos() + torch.where(side, 1.0, -1.0) * angle.sin()) / 2
        image[:, 1] = torch.tanh(latents[:, PAINT_ROWS:].mean((1, 2)))[:, None, None]
        return image


class Reader(PoseRegressor):
    """Reads a Compass; the elevation is 7 degrees."""

    def pose(self, images: Tensor) -> Tensor:
        red = images[:, 0].float() / 127.5 - 1
        left, right = red[:, 0, 0], red[:, 0, -1]
        azimuth = torch.rad2deg(torch.atan2(right - left, right + left)) % 360
        return torch.stack([azimuth, torch.full_like(azimuth, 7.0)], 1)

"""The U-Net that turns one picture with depth into tri-planes (Reddy et al., "G3DR", CVPR 2024, and released code)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.g3dr.blocks import GROUPS, Attention, ResidualBlock, doubling, halving
from lit.networks.layers.equalised import EqualLinear

LOGITS = 2.5  # of the sigmoid at the ends of [-1, 1]: .08 and .92
STRAIGHT_RATE = 30.0  # on the learning rate of the linear way
TIME = 1.0  # the released network is a diffusion U-Net asked at this constant time


class PlaneUnet(nn.Module):
    """Pictures with depth to three feature planes of the same resolution.

    Beside the picture the network sees a learned map, the same for all pictures: what a place of a plane is.

    Args:
        resolution: pixels a side of pictures and planes.
        plane_channels: channels C of each plane.
        learned_channels: channels of the learned map, which starts at one; 0 for none.
        base: channels of the first level.
        multipliers: of the base, level by level; each level halves the resolution.
        inputs: channels of a picture.
        attention: whether levels have linear attention, and the middle full attention.
        straight: a linear way from the picture to the planes, to which the U-Net adds (:class:`StraightPlanes`), for
            short trainings; the learned map then starts as coordinates and waves of them.

    Raises:
        InputError: a resolution that the levels cannot halve, or widths that groups do not divide.
    """

    constant: Tensor

    def __init__(
        self,
        resolution: int = 128,
        plane_channels: int = 64,
        learned_channels: int = 256,
        base: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        inputs: int = 4,
        attention: bool = True,
        straight: bool = False,
    ) -> None:
        super().__init__()
        step = 2 ** (len(multipliers) - 1)
        if resolution % step or base % GROUPS:
            raise InputError(f"resolution {resolution}, base {base}: expected multiples of {step} and {GROUPS}")
        self.resolution, self.plane_channels = resolution, plane_channels
        start = places if straight else torch.ones
        self.learned = nn.Parameter(start(1, learned_channels, resolution, resolution))
        rates = torch.exp(-math.log(10_000) * torch.arange(base // 2) / max(base // 2 - 1, 1)) * TIME
        self.register_buffer("constant", torch.cat([rates.sin(), rates.cos()])[None], persistent=False)
        embedding = 4 * base
        self.time = nn.Sequential(nn.Linear(base, embedding), nn.GELU(), nn.Linear(embedding, embedding))
        self.stem = nn.Conv2d(inputs + learned_channels, base, 7, padding=3)
        widths = [base, *(base * factor for factor in multipliers)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for number, (before, width) in enumerate(pairwise(widths)):
            last = number == len(multipliers) - 1
            self.down.append(_Down(before, width, embedding, attention, last))
            self.up.insert(0, _Up(width, before, embedding, attention, number == 0))
        deepest = widths[-1]
        self.middle = nn.ModuleList([ResidualBlock(deepest, deepest, embedding) for _ in range(2)])
        self.middle_attention = Attention(deepest, linear=False) if attention else nn.Identity()
        self.last = ResidualBlock(2 * base, base, embedding)
        self.to_planes = nn.Conv2d(base, 3 * plane_channels, 1)
        self.straight = StraightPlanes(inputs, learned_channels, plane_channels) if straight else None
        if straight:
            for parameter in self.to_planes.parameters():
                nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor) -> Tensor:
        """Planes (B, 3, C, R, R), in the order (x, y), (x, z), (y, z), of pictures (B, inputs, R, R).

        Raises:
            InputError: pictures of another size.
        """
        if pictures.shape[2:] != (self.resolution, self.resolution):
            found = " x ".join(map(str, pictures.shape[2:]))
            raise InputError(
                f"pictures of {found} pixels: expected {self.resolution} x {self.resolution}; set data.size (or "
                "data.create_size and another data.folder), or model.network.unet.resolution"
            )
        embedding = self.time(self.constant)
        seen = torch.cat([pictures, self.learned.expand(len(pictures), -1, -1, -1)], 1)
        x = stem = self.stem(seen)
        skips: list[Tensor] = []
        for level in self.down:
            x, *kept = level(x, embedding)
            skips += kept
        x = self.middle[0](x, embedding)
        x = self.middle[1](self.middle_attention(x), embedding)
        for level in self.up:
            x = level(x, skips.pop(), skips.pop(), embedding)
        planes: Tensor = self.to_planes(self.last(torch.cat([x, stem], 1), embedding))
        if self.straight is not None:
            planes = planes + self.straight(seen)
        return planes.unflatten(1, (3, self.plane_channels))


class StraightPlanes(nn.Module):
    """Three planes straight from the picture: the one it lies in place by place, those across it by pooling.

    Linear, and with a fast learning rate: colours and the place of the surface are there after some tens of steps, and
    the U-Net adds to them. Pooling along the axis that a plane lacks is how Wang et al., "Rodin", CVPR 2023, pass
    features from plane to plane.

    Args:
        inputs: channels of a picture.
        learned: channels of the learned map.
        plane_channels: of each plane.
    """

    def __init__(self, inputs: int, learned: int, plane_channels: int) -> None:
        super().__init__()
        self.inputs, seen = inputs, inputs + learned
        self.xy = EqualLinear(seen, plane_channels, STRAIGHT_RATE, activate=False)
        self.xz, self.yz = (
            EqualLinear(2 * seen + learned, plane_channels, STRAIGHT_RATE, activate=False) for _ in range(2)
        )

    @torch.no_grad()
    def pass_colours(self, levels: int) -> None:
        """Begin with the picture's colours, [-1, 1] on input, as logits in the first three features of a lookup.

        Args:
            levels: of resolution, whose sum a lookup takes, and its mean over the three planes.
        """
        self.xy.weight[:3] = 0
        self.xy.weight[:3, :3] = LOGITS * 3 / levels * torch.eye(3) / self.xy.gain
        for across in (self.xz, self.yz):
            across.weight[:3] = 0

    def forward(self, seen: Tensor) -> Tensor:
        """Planes (B, 3 C, R, R), their columns and rows (x, y), (x, z), (y, z), of pictures with the learned map
        (B, inputs + learned, R, R)."""
        maps = seen.permute(0, 2, 3, 1)  # B rows columns channels
        planes = [self.xy(maps)]
        for across, lacking in ((self.xz, 1), (self.yz, 2)):
            pooled = torch.cat([maps.mean(lacking), maps.amax(lacking)], -1).unsqueeze(1)  # along the plane's columns
            planes.append(across(torch.cat([pooled.expand(-1, maps.shape[1], -1, -1), maps[..., self.inputs :]], -1)))
        return torch.cat(planes, -1).permute(0, 3, 1, 2)


def places(batch: int, channels: int, rows: int, columns: int) -> Tensor:
    """Where a place of maps (batch, channels, rows, columns) is: row and column in [-1, 1], then sines and cosines."""
    row, column = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    maps = [row, column]
    for octave in range(math.ceil(channels / 4)):
        angle = math.pi * 2.0**octave
        maps += [(angle * row).sin(), (angle * column).sin(), (angle * row).cos(), (angle * column).cos()]
    return torch.stack(maps[:channels]).expand(batch, -1, -1, -1).clone()


class _Down(nn.Module):
    """A level on the way down: two residual blocks, attention, and maps of half the size."""

    def __init__(self, inputs: int, width: int, embedding: int, attention: bool, last: bool) -> None:
        super().__init__()
        self.first, self.second = (ResidualBlock(inputs, inputs, embedding) for _ in range(2))
        self.attend = _attention(inputs, attention)
        self.shrink = nn.Conv2d(inputs, width, 3, padding=1) if last else halving(inputs, width)

    def forward(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What goes on, and what the way up gets from the first and the second block."""
        first = self.first(x, embedding)
        second = self.attend(self.second(first, embedding))
        return self.shrink(second), first, second


class _Up(nn.Module):
    """A level on the way up: two residual blocks that see what was kept, attention, and maps of double the size."""

    def __init__(self, inputs: int, width: int, embedding: int, attention: bool, last: bool) -> None:
        super().__init__()
        self.first, self.second = (ResidualBlock(inputs + width, inputs, embedding) for _ in range(2))
        self.attend = _attention(inputs, attention)
        self.grow = nn.Conv2d(inputs, width, 3, padding=1) if last else doubling(inputs, width)

    def forward(self, x: Tensor, second: Tensor, first: Tensor, embedding: Tensor) -> Tensor:
        """Maps, given what was kept of the second and the first block on the way down."""
        x = self.first(torch.cat([x, second], 1), embedding)
        x = self.attend(self.second(torch.cat([x, first], 1), embedding))
        grown: Tensor = self.grow(x)
        return grown


def _attention(width: int, wanted: bool) -> nn.Module:
    return Attention(width, linear=True) if wanted else nn.Identity()

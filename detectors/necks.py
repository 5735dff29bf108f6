"""Necks: feature maps of several strides in, one map at the finest of them out."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d


def conv_block(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the size stays."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DeformableBlock(nn.Module):
    """Modulated deformable convolution (Zhu et al. 2019) whose offsets start at zero, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.sampling = nn.Conv2d(inputs, 27, 3, padding=1)
        nn.init.zeros_(self.sampling.weight)
        assert self.sampling.bias is not None
        nn.init.zeros_(self.sampling.bias)
        self.convolution = DeformConv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        sampling = self.sampling(x).float()  # the operator takes one dtype, and pixel positions need float32
        y = self.convolution(x.float(), sampling[:, :18].contiguous(), sampling[:, 18:].sigmoid().contiguous())
        return F.relu(self.norm(y), inplace=True)


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """``x`` at the size of ``like`` (nearest)."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


class FPN(nn.Module):
    """Feature pyramid (Lin et al. 2017) of which only the finest level is made.

    Args:
        inputs: channels of the maps, finest first; each is half the size of the one before.
        channels: channels of the output.
    """

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1, bias=False) for count in inputs)
        self.norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in inputs)
        self.smooth = conv_block(channels, channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        merged: Tensor | None = None
        for lateral, norm, feature in zip(reversed(self.lateral), reversed(self.norm), reversed(maps)):
            here = norm(lateral(feature))
            merged = here if merged is None else here + upsample_to(merged, here)
            merged = F.relu(merged)
        assert merged is not None
        return self.smooth(merged)


class DLAUp(nn.Module):
    """Iterative deep aggregation (Yu et al. 2018): round by round, every map coarser than a level is merged into it.

    Args:
        inputs: channels of the maps, finest first; each is half the size of the one before.
        channels: channels of the output.
        deformable: deformable convolutions, as CenterNet's DLA-34 has them; slow on the CPU.
    """

    def __init__(self, inputs: Sequence[int], channels: int, deformable: bool = False) -> None:
        super().__init__()

        def block(fan_in: int, fan_out: int) -> nn.Module:
            return DeformableBlock(fan_in, fan_out) if deformable else conv_block(fan_in, fan_out)

        widths = list(inputs)
        project, mix = [], []
        for start in range(len(widths) - 2, -1, -1):
            width = widths[start]
            project.append(nn.ModuleList(block(fan_in, width) for fan_in in widths[start + 1 :]))
            mix.append(nn.ModuleList(block(width, width) for _ in widths[start + 1 :]))
            widths[start + 1 :] = [width] * (len(widths) - start - 1)
        self.project, self.mix = nn.ModuleList(project), nn.ModuleList(mix)
        self.out = conv_block(widths[-1], channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = list(maps)
        for start, project, mix in zip(range(len(levels) - 2, -1, -1), self.project, self.mix):
            for step, (narrow, merge) in enumerate(zip(project, mix), start + 1):  # type: ignore[call-overload]
                finer = levels[step - 1]  # already merged in this round, unless it is the level itself
                levels[step] = merge(finer + upsample_to(narrow(levels[step]), finer))
        return self.out(levels[-1])

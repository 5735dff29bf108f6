"""Which view a step of G3DR renders: the photograph's own, one from elsewhere, or a mirrored one.

Source: Reddy et al., "G3DR", CVPR 2024, section 3.4, and released code.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor

from datamodules.errors import InputError

ViewKind = Literal["canonical", "novel", "mirrored"]


class Turns(Protocol):
    """How far cameras go around."""

    def draw(self, count: int, progress: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Yaw and pitch (count,), radians, 0 being the photograph's own, at a share of the training."""
        ...


class NormalTurns:
    """Normal angles of fixed deviations (paper: yaw 0.3, pitch 0.15).

    Args:
        yaw: radians.
        pitch: radians.
    """

    def __init__(self, yaw: float = 0.3, pitch: float = 0.15) -> None:
        self.yaw, self.pitch = yaw, pitch

    def draw(self, count: int, progress: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`Turns`."""
        yaw, pitch = torch.randn(2, count, generator=draw, device=draw.device)
        return yaw * self.yaw, pitch * self.pitch


class WideningTurns:
    """Uniform angles within ``pi / d``, whose divisor d falls linearly over the training's first part (code).

    Args:
        start: divisor of the yaw at the beginning.
        end: and from ``share`` on.
        share: of the training in which it falls.
        pitch: divisor of the pitch.

    Raises:
        InputError: a divisor or share of which no angle can be made.
    """

    def __init__(self, start: float = 24.0, end: float = 6.0, share: float = 1 / 3, pitch: float = 18.0) -> None:
        if not min(start, end, share, pitch) > 0:
            raise InputError(
                f"turns: start {start:g}, end {end:g}, share {share:g}, pitch {pitch:g}: expected all above 0; correct "
                "model.views.turns"
            )
        self.start, self.end, self.share, self.pitch = start, end, share, pitch

    def draw(self, count: int, progress: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`Turns`."""
        divisor = self.start + (self.end - self.start) * min(progress / self.share, 1.0)
        yaw, pitch = 2 * torch.rand(2, count, generator=draw, device=draw.device) - 1
        return yaw * (math.pi / divisor), pitch * (math.pi / self.pitch)


class ViewSchedule:
    """A step's view.

    Args:
        cap: largest probability of a view from elsewhere; below a half, or the photograph would come up less often.
        slope: that probability is ``min(cap, slope * progress)``; the released code reaches 0.4 at a fifth of the run.
        mirrored: share of the other steps that look at the object from the mirrored side and expect the photograph
            there, for objects that are symmetric about their vertical middle plane, as cars are; needs known boxes.
        turns: where the view from elsewhere is; None for the paper's.

    Raises:
        InputError: numbers out of range.
    """

    def __init__(self, cap: float = 0.4, slope: float = 2.0, mirrored: float = 0.0, turns: Turns | None = None) -> None:
        if not (0 <= cap <= 0.5 and slope >= 0 and 0 <= mirrored <= 1):
            raise InputError(
                f"views: cap {cap}, slope {slope}, mirrored {mirrored}: expected a cap of 0 to 0.5, a slope >= 0 and a "
                "share of 0 to 1; correct model.views"
            )
        self.cap, self.slope, self.mirrored, self.turns = cap, slope, mirrored, turns or NormalTurns()

    def novel_share(self, progress: float) -> float:
        """Probability of a view from elsewhere at a share of the training."""
        return min(self.cap, self.slope * progress)

    def kind(self, progress: float, draw: torch.Generator) -> ViewKind:
        """What this step looks at, the same for the whole batch."""
        chance, mirror = torch.rand(2, generator=draw, device=draw.device).tolist()
        if chance < self.novel_share(progress):
            return "novel"
        return "mirrored" if mirror < self.mirrored else "canonical"

"""What stands in the cells of a centre-point detector: how a box is coded, taught and read again.

Two codes over one heatmap of projected 3D centres. :class:`CentreHeads` is this suite's own; :class:`MonoDLEHeads` is
that of MonoDLE (Ma et al., "Delving into Localization Errors for Monocular 3D Object Detection", CVPR 2021, and its
code), which augmentation papers compare on, with the score of GUPNet (Lu et al., ICCV 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from detectors.losses import bin_centres, decode_multibin, gaussian_nll, laplacian_nll, multibin
from detectors.rank_counts import mean_over_ranks
from detectors.targets import REFERENCE_FOCAL, CentreTargets

TYPICAL_DEPTH = 25.0  # metres at the reference focal length: where an untrained network puts everything
Found = Mapping[str, Tensor]  # (N, channels) of each head at N cells


@dataclass(frozen=True)
class Readings:
    """Boxes read off N cells.

    Attributes:
        offset: (N, 2) projected 3D centre less the cell's centre (x, y), in cells.
        sides: (N, 4) distances from the cell's centre to the image box's left, top, right, bottom, in cells.
        depth: (N,) metres.
        sure: (N,) in (0, 1], how far the depth can be trusted; the score is multiplied by it.
        dims: (N, 3) length, height, width, metres.
        alpha: (N,) observation angle, not wrapped.
    """

    offset: Tensor
    sides: Tensor
    depth: Tensor
    sure: Tensor
    dims: Tensor
    alpha: Tensor


class BoxHeads(Protocol):
    """A code of boxes.

    Attributes:
        sizes: channels of each head, the heatmap's aside.
        weights: factor of each loss, the heatmap's included.
    """

    sizes: dict[str, int]
    weights: dict[str, float]

    def terms(self, found: Found, targets: CentreTargets, mean_dims: Tensor) -> dict[str, Tensor]:
        """Losses (N,) of each head at the targets' N cells; ``mean_dims`` (N, 3) are those of their classes.

        All processes that train together call this in step.
        """
        ...

    def read(self, found: Found, mean_dims: Tensor, focal: Tensor) -> Readings:
        """The boxes in N cells; ``focal`` (N,) are the focal lengths of their images, pixels."""
        ...


class CentreHeads:
    """Distances to the image box's sides, log depth, log size over the class's mean, and sine and cosine in bins.

    Args:
        bins: yaw bins.
        uncertainty: distribution of the log depth's error.
        depth_tolerance: metres; a depth is sure by the chance that it is this close.
    """

    def __init__(self, bins: int, uncertainty: Literal["laplacian", "gaussian"], depth_tolerance: float) -> None:
        self.bins, self.uncertainty, self.depth_tolerance = bins, uncertainty, depth_tolerance
        self.sizes = {"offset": 2, "sides": 4, "depth": 2, "dims": 3, "yaw": 3 * bins}
        self.weights = {"heatmap": 1.0, "offset": 1.0, "sides": 0.1, "depth": 1.0, "dims": 1.0, "yaw": 1.0}

    def terms(self, found: Found, targets: CentreTargets, mean_dims: Tensor) -> dict[str, Tensor]:
        """See :class:`BoxHeads`."""
        nll = laplacian_nll if self.uncertainty == "laplacian" else gaussian_nll
        ratio = torch.log(targets.dims / mean_dims)
        return {
            "offset": (found["offset"] - targets.offset).abs().sum(1),
            "sides": (found["sides"] - targets.sides).abs().sum(1),
            "depth": nll(*self._depth(found["depth"]), targets.depth),
            "dims": (found["dims"] - ratio).abs().sum(1),
            "yaw": multibin(*self._yaw(found["yaw"]), targets.alpha),
        }

    def read(self, found: Found, mean_dims: Tensor, focal: Tensor) -> Readings:
        """See :class:`BoxHeads`."""
        log_depth, log_scale = self._depth(found["depth"])
        depth = log_depth.exp() * focal / REFERENCE_FOCAL
        # Laplace: the log depth's error is below t with chance 1 - exp(-sqrt(2) t / scale)
        near = math.sqrt(2) * self.depth_tolerance / (log_scale.exp() * depth)
        return Readings(
            found["offset"],
            found["sides"],
            depth,
            1 - torch.exp(-near) if self.uncertainty == "laplacian" else torch.erf(near / 2),
            found["dims"].clamp(-2, 2).exp() * mean_dims,
            decode_multibin(*self._yaw(found["yaw"])),
        )

    @staticmethod
    def _depth(values: Tensor) -> tuple[Tensor, Tensor]:
        """Log of depth at the reference focal length, and log scale of its error, each (N,), of head values (N, 2)."""
        return values[:, 0] + math.log(TYPICAL_DEPTH), (values[:, 1] - 1.0).clamp(-6, 3)

    def _yaw(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Bin logits (N, bins) and residuals (N, bins, 2) of head values."""
        return values[:, : self.bins], values[:, self.bins :].reshape(-1, self.bins, 2)


class MonoDLEHeads:
    """Size and offset of the image box, depth with an uncertainty in metres, size in metres, angles in bins.

    As in MonoDLE's code: depth is 1 / sigmoid(x) - 1, its loss a Laplace distribution's, the size's loss is weighed by
    the object's own size and scaled back to the plain one's value, all losses are means over channels with weight 1.
    Its own are a start at 25 m, sizes around the class's mean, labelled sizes as divisors, and depths at one focal
    length, so that zoomed pictures teach what they show. The score is GUPNet's exp(-s), s the depth's scale in metres.

    Args:
        bins: yaw bins; 12 in MonoDLE.
        uncertainty: distribution of the depth's error.
    """

    def __init__(self, bins: int, uncertainty: Literal["laplacian", "gaussian"]) -> None:
        self.bins, self.uncertainty = bins, uncertainty
        self.sizes = {"offset": 2, "box_size": 2, "box_offset": 2, "depth": 2, "dims": 3, "yaw": 2 * bins}
        self.weights = dict.fromkeys(("heatmap", *self.sizes), 1.0)

    def terms(self, found: Found, targets: CentreTargets, mean_dims: Tensor) -> dict[str, Tensor]:
        """See :class:`BoxHeads`."""
        nll = laplacian_nll if self.uncertainty == "laplacian" else gaussian_nll
        before, after = targets.sides[:, :2], targets.sides[:, 2:]
        plain = (found["dims"] + mean_dims - targets.dims).abs()
        aware = plain / targets.dims
        total, scaled = mean_over_ranks(torch.stack([plain.detach().sum(), aware.detach().sum()]))
        return {
            "offset": (found["offset"] - targets.offset).abs().mean(1),
            "box_size": (found["box_size"] - (before + after)).abs().mean(1),
            "box_offset": (found["box_offset"] - (after - before) / 2).abs().mean(1),
            "depth": nll(*self._depth(found["depth"]), targets.depth.exp()),
            "dims": aware.mean(1) * (total / scaled.clamp_min(1e-6)),
            "yaw": self._yaw_loss(found["yaw"], targets.alpha),
        }

    def read(self, found: Found, mean_dims: Tensor, focal: Tensor) -> Readings:
        """See :class:`BoxHeads`."""
        depth, log_scale = self._depth(found["depth"])
        factor = focal / REFERENCE_FOCAL
        half = found["box_size"].clamp_min(0) / 2
        logits, rest = found["yaw"][:, : self.bins], found["yaw"][:, self.bins :]
        label = logits.argmax(1)
        chosen = rest.gather(1, label[:, None])[:, 0]
        return Readings(
            found["offset"],
            torch.cat([half - found["box_offset"], half + found["box_offset"]], 1),
            depth * factor,
            torch.exp(-log_scale.exp() * factor),
            (found["dims"] + mean_dims).clamp_min(0.05),
            bin_centres(self.bins, label.device)[label] + chosen,
        )

    @staticmethod
    def _depth(values: Tensor) -> tuple[Tensor, Tensor]:
        """Depth at the reference focal length and log scale of its error, metres, each (N,), of head values (N, 2).

        1 / sigmoid(x) - 1 is exp(-x).
        """
        return TYPICAL_DEPTH * torch.exp(-values[:, 0].clamp(-4, 4)), values[:, 1].clamp(-6, 6)

    def _yaw_loss(self, values: Tensor, angle: Tensor) -> Tensor:
        """Bin cross entropy plus L1 on the true bin's residual in radians; (N,)."""
        label = torch.round(angle * (self.bins / (2 * math.pi))).long() % self.bins
        rest = angle - bin_centres(self.bins, angle.device)[label]
        rest = torch.remainder(rest + math.pi, 2 * math.pi) - math.pi
        chosen = values[:, self.bins :].gather(1, label[:, None])[:, 0]
        return F.cross_entropy(values[:, : self.bins], label, reduction="none") + (chosen - rest).abs()

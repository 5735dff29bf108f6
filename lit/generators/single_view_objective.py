"""What a field from one photograph is trained for: the weighted losses of one step (G3DR, Eq. 5-6 and code)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from datamodules.objects.photos.photo import PhotoBatch
from lit.generators.view_schedule import ViewKind
from lit.losses.depth import WeightsNearDepth, depth_loss
from lit.losses.perceptual_levels import PerceptualLevels
from lit.losses.regularisers import total_variation
from lit.losses.semantic_views import ClipViewDistance
from lit.losses.weights import require_weights
from lit.networks.batch_draws import batch_draw
from lit.networks.fields.field_values import Field
from lit.networks.fields.quadrature import ray_weights
from lit.rendering.depth_regularisation import DepthKernel, DepthRegularisation, ScaledSide
from lit.rendering.rays import image_pixels
from lit.rendering.render import Weigh
from lit.rendering.two_pass import TwoPass

DEEPEST = 2  # levels that a view from elsewhere shares with the photograph


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; 0 leaves one out. The defaults are the paper's.

    Attributes:
        reconstruction: colour of the photograph's view.
        depth: L1 of its depth.
        perceptual: all levels of the perceptual distance there.
        clip: CLIP's distance of a view from elsewhere to the photograph.
        smoothness: total variation of a novel view's accumulated depth.
        novel_perceptual: the deepest two levels' distance of a novel view to the photograph.
        opacity: mean distance of the opacity from the mask, which without one is all ones (released code).
        canonical_clip: CLIP's distance in the photograph's own view (released code).
        near_depth: the alternative of Table 5, weights near the known depth (DS-NeRF).

    Raises:
        InputError: a weight below 0, or no number.
    """

    reconstruction: float = 1.0
    depth: float = 2.0
    perceptual: float = 0.5
    clip: float = 0.35
    smoothness: float = 0.1
    novel_perceptual: float = 0.5
    opacity: float = 0.0
    canonical_clip: float = 0.0
    near_depth: float = 0.0

    def __post_init__(self) -> None:
        require_weights(self)


class SingleViewObjective(nn.Module):
    """Renders a batch's photographs, or them from elsewhere, and compares.

    Args:
        weights: of the losses.
        regularisation: kernel of the depth regularisation; None trains without it.
        regularise: False trains without it whatever the kernel (Table 4).
        side: of a ray's pieces, what the regularisation scales beside colour: "density" (paper) or "alpha" (code).
        samples: along a ray.
        stride: every so many-th row and column is rendered, from a drawn first one on.
        squared: squared error of colours (paper) instead of the absolute one (code).
        late: the code's course: opacity grows in over the first half; the perceptual losses and CLIP in the
            photograph's view wait for the second, and have half their weight there.
        guided: share of the photograph's steps whose second pass samples about the known depth.
        guided_reach: within this distance of it.
        spread: standard deviation of the alternative depth loss.
        perceptual: distance of pictures; None leaves both such losses out.
        clip: distance of what pictures mean; None leaves both such losses out.

    Raises:
        InputError: a stride, share or distance out of range.
    """

    def __init__(
        self,
        weights: LossWeights | None = None,
        regularisation: DepthKernel | None = None,
        side: ScaledSide = "density",
        samples: TwoPass | None = None,
        stride: int = 1,
        squared: bool = False,
        late: bool = False,
        guided: float = 0.0,
        guided_reach: float = 0.05,
        spread: float = 0.05,
        perceptual: PerceptualLevels | None = None,
        clip: ClipViewDistance | None = None,
        regularise: bool = True,
    ) -> None:
        super().__init__()
        if stride < 1 or not 0 <= guided <= 1:
            raise InputError(f"stride {stride}, guided {guided}: expected at least 1, and a share from 0 to 1")
        if not (spread > 0 and guided_reach >= 0):
            raise InputError(f"spread {spread:g}, guided_reach {guided_reach:g}: expected above 0, and 0 or more")
        self.weights, self.side = weights or LossWeights(), side
        self.regularisation = regularisation if regularise else None
        self.samples, self.stride, self.squared, self.late = samples or TwoPass(), stride, squared, late
        self.guided, self.guided_reach, self.spread = guided, guided_reach, spread
        self.perceptual, self.clip = perceptual, clip

    def forward(
        self,
        field: Field,
        batch: PhotoBatch,
        kind: ViewKind,
        projection: Tensor,
        progress: float,
        draw: torch.Generator,
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            field: of the batch's B photographs, raw density.
            batch: the photographs.
            kind: of view.
            projection: (B, 3, 4) of that view.
            progress: share of the training that is done.
            draw: source of every draw of this step, the same on all processes.
        """
        view = _View(batch, self.stride, draw)
        if kind == "novel":
            return self.novel(field, view, projection, progress, draw)
        return self.canonical(field, view, projection, progress, draw)

    def canonical(
        self, field: Field, view: _View, projection: Tensor, progress: float, draw: torch.Generator
    ) -> dict[str, Tensor]:
        """Where the photograph says what is to be seen."""
        w, guided = self.weights, torch.rand(1, generator=draw, device=draw.device).item() < self.guided
        guide = (view.surface, self.guided_reach) if guided else None
        scaled = (
            None if self.regularisation is None else DepthRegularisation(self.regularisation, view.surface, self.side)
        )
        weigh: Weigh | None = None if scaled is None else scaled.weigh
        near = None
        if w.near_depth:
            near = WeightsNearDepth(view.surface, self.spread, weigh or (lambda thickness, *_: ray_weights(thickness)))
            weigh = near
        out = self.samples.train(
            field, projection, view.pixels, draw, guide, None if scaled is None else scaled.hook, weigh
        )
        shown = view.seen(out.rgb, out.opacity)
        away = shown - view.target
        losses = {
            "reconstruction": w.reconstruction * (away.square() if self.squared else away.abs()).mean(),
            "depth": w.depth * depth_loss(out.depth, out.opacity, view.surface),
        }
        half, grown = (0.5 * (progress >= 0.5), min(2 * progress, 1.0)) if self.late else (1.0, 1.0)
        if w.opacity:
            losses["opacity"] = w.opacity * grown * ((out.opacity - view.alpha).abs() * view.known).mean()
        if near is not None:
            losses["near_depth"] = w.near_depth * near.loss()
        if self.perceptual is not None and w.perceptual and half:
            losses["perceptual"] = w.perceptual * half * self.perceptual(shown, view.target)
        if self.clip is not None and w.canonical_clip and half:
            losses["canonical_clip"] = w.canonical_clip * half * self.clip(shown, view.target)
        return losses

    def novel(
        self, field: Field, view: _View, projection: Tensor, progress: float, draw: torch.Generator
    ) -> dict[str, Tensor]:
        """Where nobody has looked: it means the same, and its surface is smooth."""
        w = self.weights
        out = self.samples.train(field, projection, view.pixels, draw)
        shown = view.composite(out.rgb, out.opacity)
        depth = (out.depth * out.opacity).unflatten(1, view.shape)
        losses = {"smoothness": w.smoothness * total_variation(depth)}
        half = 0.5 * (progress >= 0.5) if self.late else 1.0
        if self.clip is not None and w.clip:
            losses["clip"] = w.clip * self.clip(shown, view.target)
        if self.perceptual is not None and w.novel_perceptual and half:
            losses["novel_perceptual"] = w.novel_perceptual * half * self.perceptual(shown, view.target, DEEPEST)
        return losses


class _View:
    """A batch's photographs at every ``stride``-th pixel, on a background that is drawn where they have masks.

    Attributes:
        shape: rows and columns.
        pixels: (R, 2) u, v.
        target: (B, 3, h, w) what is to be seen, in [0, 1].
        alpha: (B, R) mask.
        known: (B, R) 1 where nothing hides the scene.
        surface: (B, R) depth, NaN where unknown or hidden.
    """

    def __init__(self, batch: PhotoBatch, stride: int, draw: torch.Generator) -> None:
        device, side = batch.images.device, batch.images.shape[2]
        row, column = torch.randint(stride, (2,), generator=draw, device=draw.device).tolist()
        every = partial(_thinned, row=row, column=column, stride=stride)
        alpha, known, depth = (every(part) for part in (batch.alpha, batch.known, batch.depth))
        self.shape = (alpha.shape[1], alpha.shape[2])
        self.pixels = every(image_pixels(side, side, device).view(side, side, 2).permute(2, 0, 1)).flatten(1).T
        colour = batch_draw(lambda n: torch.rand(n, 3, 1, 1, generator=draw, device=device), len(batch))
        self.background = colour if batch.masked else torch.zeros_like(colour)
        image = every(batch.images).float() / 255
        self.target = image * alpha.unsqueeze(1) + (1 - alpha.unsqueeze(1)) * self.background
        self.alpha, self.known = alpha.flatten(1), known.flatten(1)
        self.surface = torch.where(known > 0.5, depth, torch.full_like(depth, float("nan"))).flatten(1)

    def composite(self, rgb: Tensor, opacity: Tensor) -> Tensor:
        """Rendered rays (B, R, 3), premultiplied, as pictures (B, 3, h, w) on the background."""
        picture = rgb.transpose(1, 2) + (1 - opacity.unsqueeze(1)) * self.background.flatten(2)
        return picture.unflatten(2, self.shape)

    def seen(self, rgb: Tensor, opacity: Tensor) -> Tensor:
        """The same with the photograph where something hides the scene: no loss looks there."""
        known = self.known.unflatten(1, self.shape).unsqueeze(1)
        return self.composite(rgb, opacity) * known + self.target * (1 - known)


def _thinned(maps: Tensor, row: int, column: int, stride: int) -> Tensor:
    """Every ``stride``-th place of maps (..., H, W)."""
    return maps[..., row::stride, column::stride]

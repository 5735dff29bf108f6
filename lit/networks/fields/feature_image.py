"""A feature image of objects and a background by volume rendering: the 3D half of GIRAFFE and GIRAFFE HD.

The way of an image: every ray gets the same depths. At each sample that lies in an object's box the object's field is
asked in the box's own frame, at every sample the background's; nothing is evaluated outside. The densities of all are
added up and each field keeps its share (:func:`compose`), so one set of weights integrates the whole scene, and a
field's features enter with weight times share.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lit.networks.batch_draws import batch_draw
from lit.networks.fields.feature_fields import FeatureField, compose
from lit.networks.fields.object_scene import Scene, SceneRanges, to_box
from lit.networks.fields.quadrature import INFINITE, ray_weights, spans

MARGIN = 0.1  # share of a box's half-size by which its field may reach over it, as in GIRAFFE's code


class Codes(NamedTuple):
    """Latent codes of B scenes with N objects.

    Attributes:
        shape: (B, N, z_dim) of the objects.
        look: (B, N, z_dim) their appearance.
        back_shape: (B, background_z_dim) of the background.
        back_look: (B, background_z_dim) its appearance.
    """

    shape: Tensor
    look: Tensor
    back_shape: Tensor
    back_look: Tensor

    @staticmethod
    def sample(
        count: int, z_dim: int, background_z_dim: int, objects: int = 1, generator: torch.Generator | None = None
    ) -> Codes:
        """Standard normal codes on the generator's device."""
        device = generator.device if generator is not None else None
        sizes = [(count, objects, z_dim)] * 2 + [(count, background_z_dim)] * 2

        def normal(size: tuple[int, ...]) -> Tensor:
            return batch_draw(lambda n: torch.randn(n, *size[1:], generator=generator, device=device), count)

        return Codes(*(normal(size) for size in sizes))

    def repeat(self, views: int) -> Codes:
        """Every scene ``views`` times, one after the other."""
        return Codes(*(part.repeat_interleave(views, 0) for part in self))


class FeatureImage(nn.Module):
    """Renders the fields of objects and background to a small feature image.

    Args:
        ranges: the scenes' camera, boxes and depths.
        field: of every object, shared; codes tell objects apart.
        background: field of the whole scene.
        size: pixels a side of the feature image.
        samples: along every ray.
        density_noise: standard deviation of the noise on raw densities in training.
    """

    def __init__(
        self,
        ranges: SceneRanges,
        field: FeatureField,
        background: FeatureField,
        size: int = 16,
        samples: int = 64,
        density_noise: float = 1.0,
    ) -> None:
        super().__init__()
        self.ranges, self.field, self.background = ranges, field, background
        self.size, self.samples, self.density_noise = size, samples, density_noise

    def forward(
        self,
        codes: Codes,
        scene: Scene,
        parts: Literal["all", "objects", "background"] = "all",
        background_shift: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Feature images (B, F, size, size).

        Args:
            parts: fields that take part.
            background_shift: (B, 3) translation of the background field (GIRAFFE HD); None for none.
            generator: draws jitter along rays and noise on densities; None renders without either.
        """
        origins, directions = self.ranges.rays(scene.elevation, self.size)
        depths = self._depths(len(origins), directions.shape[1], generator, directions.device)
        densities: list[Tensor] = []
        features: list[tuple[Tensor, Tensor]] = []
        if parts != "background":
            for number in range(scene.scale.shape[1]):
                inside, points, along = self._inside(scene, number, origins, directions, depths)
                rows, rays, _ = torch.nonzero(inside, as_tuple=True)
                shape, look = codes.shape[:, number], codes.look[:, number]
                feature, raw = self.field(points, along[rows, rays], rows, shape, look)
                density = torch.zeros_like(depths).masked_scatter(inside, self._positive(raw, generator, False))
                densities.append(density)
                features.append((inside, feature))
        if parts != "objects":
            shift = background_shift if background_shift is not None else torch.zeros_like(origins)
            points = (origins - shift)[:, None, None] + directions.unsqueeze(2) * depths.unsqueeze(-1)
            everywhere = torch.ones_like(depths, dtype=torch.bool)
            rows = torch.arange(len(points), device=points.device).repeat_interleave(depths[0].numel())
            along = directions.unsqueeze(2).expand_as(points).reshape(-1, 3)
            feature, raw = self.background(points.reshape(-1, 3), along, rows, codes.back_shape, codes.back_look)
            densities.append(self._positive(raw, generator, True).view_as(depths))
            features.append((everywhere, feature))
        density, shares = compose(torch.stack(densities))
        weights = ray_weights(density * spans(depths, INFINITE) * directions.norm(dim=-1, keepdim=True))
        image = self._gather(weights * shares, features)
        return image.transpose(1, 2).unflatten(-1, (self.size, self.size))

    @staticmethod
    def _gather(weights: Tensor, features: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Sum of weighted features (B, R, F) along rays, from each field's weights (N, B, R, S) and samples.

        Features exist only where a field was evaluated: (B, R, S) bool and as many rows as it is true for.
        """
        _, batch, rays, samples = weights.shape
        image = weights.new_zeros(batch * rays, features[0][1].shape[-1])
        for weight, (where, feature) in zip(weights, features):
            if len(feature) == batch * rays * samples:
                dense = torch.bmm(weight.view(-1, 1, samples), feature.view(batch * rays, samples, -1))
                image = image + dense[:, 0]
            else:
                ray = torch.nonzero(where.flatten(0, 1))[:, 0]
                image = image.index_add(0, ray, feature * weight[where].unsqueeze(-1))
        return image.view(batch, rays, -1)

    def _depths(self, batch: int, rays: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """(B, R, S) depths, evenly spread; with a generator each is moved within half the way to its neighbours."""
        near, far = self.ranges.depth
        even = torch.linspace(near, far, self.samples, device=device).expand(batch, rays, -1)
        if generator is None:
            return even
        middle = (even[..., 1:] + even[..., :-1]) / 2
        low, high = torch.cat([even[..., :1], middle], -1), torch.cat([middle, even[..., -1:]], -1)
        place = batch_draw(lambda n: torch.rand(n, *even.shape[1:], generator=generator, device=device), batch)
        return low + (high - low) * place

    def _positive(self, raw: Tensor, generator: torch.Generator | None, even: bool) -> Tensor:
        """Densities (M,) float32 of raw ones of any precision; ``even``: every process of a training has as many."""
        raw = raw.float()
        if generator is not None and self.density_noise > 0:
            shape = raw.shape[1:]
            noise = batch_draw(
                lambda n: torch.randn(n, *shape, generator=generator, device=raw.device), len(raw), even=even
            )
            raw = raw + self.density_noise * noise
        return raw.relu()

    def _inside(
        self, scene: Scene, number: int, origins: Tensor, directions: Tensor, depths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Samples in a box: mask (B, R, S), their points (M, 3) in its frame, and all rays (B, R, 3) in its frame."""
        box = (scene.scale[:, number], scene.translation[:, number], scene.turn[:, number])
        start, along = to_box(origins, *box), to_box(directions, *box, directions=True)
        points = start[:, None, None] + along.unsqueeze(2) * depths.unsqueeze(-1)
        inside = (points.abs() <= 1 + MARGIN).all(-1)
        return inside, points[inside], along

    def opacity(self, codes: Codes, scene: Scene, size: int, number: int = 0) -> Tensor:
        """Accumulated weight (B, size, size) of one object alone, with all other density taken as zero.

        The rays of ``size`` x ``size`` pixels divide the area of the feature image, so that the picture lies over the
        renderer's output.
        """
        origins, directions = self.ranges.rays(scene.elevation, size, self.size)
        depths = self._depths(len(origins), directions.shape[1], None, directions.device)
        inside, points, _ = self._inside(scene, number, origins, directions, depths)
        raw, _ = self.field.density(points, torch.nonzero(inside)[:, 0], codes.shape[:, number])
        density = torch.zeros_like(depths).masked_scatter(inside, raw.float().relu())
        weights = ray_weights(density * spans(depths) * directions.norm(dim=-1, keepdim=True))
        return weights.sum(-1).unflatten(-1, (size, size))

    def boxes(self, scene: Scene, pad: float = MARGIN, samples: int = 64) -> Tensor:
        """(B, 1, size, size) share of light the first box would stop if it were filled with fog of density 100.

        GIRAFFE HD's silhouette of the 3D box in the picture, which its mask has to stay in.
        """
        origins, directions = self.ranges.rays(scene.elevation, self.size)
        depths = torch.linspace(*self.ranges.depth, samples, device=origins.device)
        depths = depths.expand(len(origins), directions.shape[1], -1)
        box = (scene.scale[:, 0], scene.translation[:, 0], scene.turn[:, 0])
        along = to_box(directions, *box, directions=True).unsqueeze(2) * depths.unsqueeze(-1)
        inside = ((to_box(origins, *box)[:, None, None] + along).abs() <= 1 + pad).all(-1)
        weights = ray_weights(100.0 * inside * spans(depths) * directions.norm(dim=-1, keepdim=True))
        return weights.sum(-1).unflatten(-1, (self.size, self.size)).unsqueeze(1)

"""What GIRAFFE and GIRAFFE HD share: the fields of an object and of the background, and the feature image of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lit.networks.fields.feature_fields import FeatureField
from lit.networks.fields.feature_image import Codes, FeatureImage
from lit.networks.fields.object_scene import SceneRanges


class SceneGenerator(nn.Module):
    """Scenes of one class of objects before a background; subclasses make pictures of their feature images.

    Args:
        ranges: camera and boxes that scenes are drawn from.
        resolution: pixels a side of the pictures.
        size: pixels a side of the feature images.
        samples: along every ray.
        z_dim: length of an object's two codes.
        background_z_dim: of the background's.
        features: channels of the feature images.
        hidden: width of the object's field.
        layers: layers of the object's field.
        octaves: frequencies of the position's encoding.
        background_hidden: width of the background's field, which has half as many layers.
        background_extent: the background's points are divided by it.
        directions, two_codes: of both fields, see :class:`FeatureField`.
    """

    def __init__(
        self,
        ranges: SceneRanges | None = None,
        resolution: int = 256,
        size: int = 16,
        samples: int = 64,
        z_dim: int = 256,
        background_z_dim: int = 128,
        features: int = 256,
        hidden: int = 128,
        layers: int = 8,
        octaves: int = 10,
        background_hidden: int = 64,
        background_extent: float = 12.0,
        directions: bool = True,
        two_codes: bool = True,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim, self.background_z_dim = resolution, z_dim, background_z_dim
        self.features = features
        both: dict[str, Any] = {"octaves": octaves, "directions": directions, "two_codes": two_codes}
        field = FeatureField(z_dim, features, hidden, layers, **both)
        behind = FeatureField(
            background_z_dim, features, background_hidden, layers // 2, (), extent=background_extent, **both
        )
        self.scene = FeatureImage(ranges or SceneRanges(), field, behind, size, samples)

    def codes(self, count: int, generator: torch.Generator | None = None) -> Codes:
        """Codes of ``count`` scenes."""
        return Codes.sample(count, self.z_dim, self.background_z_dim, self.scene.ranges.boxes, generator)

"""What the generator needs to know of volume rendering: a field and cameras in, pictures of every channel out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lit.networks.fields.field_values import Field


class RenderedField(NamedTuple):
    """Volume-rendered channels of B fields, before any background is taken off or any scale applied.

    Attributes:
        rgb: (B, 3, s, s) colour.
        labels: (B, C, s, s) logits or edges.
        features: (B, F, s, s).
        depth: (B, 1, s, s) mean distance along the ray, in the field's unit.
        opacity: (B, 1, s, s) in [0, 1].
    """

    rgb: Tensor
    labels: Tensor
    features: Tensor
    depth: Tensor
    opacity: Tensor


class March:
    """Renders fields whose density is raw; :class:`lit.rendering.camera_march.CameraMarch` is the one there is.

    Attributes:
        config: what it is built from, plain types.
    """

    config: dict[str, Any]

    def __call__(self, field: Field, cameras: Tensor, size: int, draw: torch.Generator | None = None) -> RenderedField:
        """Render fields through cameras (B, 25) at ``size`` x ``size`` pixels.

        Args:
            field: of B objects.
            cameras: EG3D's: camera to world (OpenCV axes) row by row, then intrinsics divided by the image's size.
            size: pixels a side.
            draw: draws the samples' places; None takes the same ones at every call.
        """
        raise NotImplementedError

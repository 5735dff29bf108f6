"""What the validation step of a generator hands to the callbacks that score and draw it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RenderedViews(NamedTuple):
    """Views of one object through the cameras of its batch.

    Attributes:
        rgba: (V, S, S, 4) premultiplied, in [0, 1].
        depth: (V, S, S) metres, anything where nothing is; None where the generator has no depth.
    """

    rgba: Tensor
    depth: Tensor | None = None

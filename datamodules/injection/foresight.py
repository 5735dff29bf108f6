"""Foresight: objects that would be turned down once drawn are turned down before.

More than half of the objects that placement proposes on a busy street are too hidden, or hide too much of what is
labelled. Drawing them is most of injection's time; a sketch of a few hundred rays tells most of them. Its outlines are
off by up to a step between rays, so that what is close to a limit is drawn and decided then: what is accepted stays the
same, sketch or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from datamodules.injection.compositing import Arrangement, Compositor, Placed
from datamodules.injection.occlusion import Backdrop, total_hidden
from datamodules.occlusion_levels import LEVELS
from datamodules.scene import Frame


def hopeless(
    compositor: Compositor,
    backdrop: Backdrop,
    present: Sequence[Placed],
    rough: Placed,
    step: int,
    min_pixels: int,
    max_hidden: float,
) -> bool:
    """Whether an object will break the rules of visibility, however its sketch is off.

    Args:
        compositor: arranges.
        backdrop: the frame before injection.
        present: objects that are in it already.
        rough: the object, its layer a sketch.
        step: pixels between the rays of the sketch.
        min_pixels: least pixels that an object must show.
        max_hidden: share of its mask that must not be hidden.
    """
    trial = compositor.arrange(backdrop, [*present, rough])
    for placed in trial.objects:
        width, height = np.maximum(placed.bbox[2:] - placed.bbox[:2] + 1, 1)
        slack = step / min(width, height)
        if placed.pixels + slack * width * height < min_pixels or placed.hidden_share - slack >= max_hidden:
            return True
    if not too_hidden(backdrop.frame, trial):
        return False
    # What is farther than a step within the sketch's outline is covered for certain.
    rgba = rough.layer.rgba.copy()
    kernel = np.ones((2 * step + 1, 2 * step + 1), np.uint8)
    rgba[..., 3] = cv2.erode(rgba[..., 3], kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0.0,))
    certain = replace(rough, layer=replace(rough.layer, rgba=rgba))
    return too_hidden(backdrop.frame, compositor.arrange(backdrop, [*present, certain]))


def too_hidden(frame: Frame, arrangement: Arrangement) -> bool:
    """Whether an arrangement hides so much of a labelled object that it no longer deserves its label."""
    newly = arrangement.newly_hidden
    return bool(newly.any() and ((newly > 0) & (total_hidden(frame.objects, newly) >= LEVELS[2])).any())

"""Renders, or the images generated from them, as posed views of an asset bank.

Opacity is the render's in both cases: a generated image has a background of its own, and the render knows the object's
outline. Where a generated image has another size than its render, the outline is resized to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from datamodules.assets.view_assets import ViewAsset
from datamodules.errors import InputError
from datamodules.geometry import resizing
from datamodules.renders.generated import Generated
from datamodules.renders.render_set import Render, RenderSet

DEPTH_LIMIT = 65000.0  # of float16


def view_assets(
    renders: RenderSet, images: list[Generated] | None = None, max_elevation: float = 30.0, max_angle: float = 15.0
) -> Iterator[ViewAsset]:
    """One asset a model and variant; models without a usable view are left out.

    Args:
        renders: the poses and outlines.
        images: generated ones; None takes the renders themselves.
        max_elevation: degrees above or below the horizon from which views are used.
        max_angle: see :class:`datamodules.assets.view_assets.ViewAsset`.

    Raises:
        InputError: no model has a view at these elevations.
    """
    variants: dict[str, dict[int, list[Generated]]] = {}
    for image in images or []:
        variants.setdefault(str(image.render.folder), {}).setdefault(image.variant, []).append(image)
    count = 0
    for model in renders.index.models:
        chosen: dict[int, list[Generated | Render]] = {}
        if images is None:
            chosen = {0: list(renders.of(model))}
        else:
            folder = str(renders.root / model.synset / model.model)
            chosen = {number: list(found) for number, found in sorted(variants.get(folder, {}).items())}
        for variant, pictures in chosen.items():
            usable = [p for p in pictures if abs(_render(p).annotation.elevation) <= max_elevation]
            views = [view for picture in usable if (view := _view(picture)) is not None]
            if not views:
                continue
            rgba, depth, projection = (np.stack(part) for part in zip(*views))
            suffix = f"-{variant:02d}" if images is not None else ""
            identity = f"{model.synset}-{model.model}{suffix}"
            yield ViewAsset(identity, model.name, np.array(model.dims), rgba, depth, projection, max_angle)
            count += 1
    if not count:
        raise InputError(f"{renders.root}: no view within {max_elevation:g} degrees of the horizon; raise the limit")


def _render(picture: Generated | Render) -> Render:
    return picture.render if isinstance(picture, Generated) else picture


def _view(picture: Generated | Render) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Straight RGBA (S, S, 4), depth (S, S) float16 and projection (3, 4); None where nothing is seen of the object."""
    render = _render(picture)
    rgba, depth, projection = render.rgba, render.depth, np.array(render.annotation.projection)
    if not (rgba[..., 3] > 127).any():
        return None
    if isinstance(picture, Generated):
        colour = picture.read()
        size, old = len(colour), len(rgba)
        alpha = rgba[..., 3]
        if size != old:
            alpha = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA if size < old else cv2.INTER_LINEAR)
            depth = cv2.resize(depth, (size, size), interpolation=cv2.INTER_NEAREST)
            projection = resizing(old, old, size, size) @ projection
        rgba = np.concatenate([colour, alpha[..., None]], -1)
    clear = rgba[..., 3:] == 0  # what lies behind is no part of the object, and compresses best as nothing
    rgba = np.where(clear, 0, rgba).astype(np.uint8)
    return rgba, np.where(clear[..., 0], 0, np.minimum(depth, DEPTH_LIMIT)).astype(np.float16), projection

"""From a renderer of the canonical cube to a crop of the image: clipping, tiny and huge objects, the unclipped mask.

Every asset that is rendered through its canonical cube (voxels, meshes) hands :func:`render_cube` a function that
renders one rectangle of pixels, its window; which window that is, at which resolution it is rendered and what is cut
off is decided here once.

    image  +--------------------+      box     the projected 3D box; it may reach out of the image
           | window             |      window  box within image, all that is rendered: at two samples a pixel and axis
    ..box..|..............+     |              for tiny objects, at less than one for huge ones; it becomes the layer
    :      |     mask     :     |      mask    opacity above one half, tighter than the box
    :......|..............+     |      full    the mask's rectangle as if the image went on, for truncation: its sides
           +--------------------+              inside the image are seen, the others measured on a coarse rendering
"""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np
from numba import njit

from datamodules.assets.contract import Layer
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox

TINY = 16.0  # pixels; by default an object lower than this is rendered at twice the size and averaged
MAX_PIXELS = 512 * 512  # a larger window is rendered coarser and enlarged: at that size voxels are larger than pixels
SKETCH = 16  # rays along the shorter side of a sketch
OUTLINE = 96  # pixels along the longer edge of the coarse view that measures an object reaching out of the image
REACH = 20.0  # image sizes; rectangles of boxes close to the camera plane are cut off here


class RenderWindow(Protocol):
    """Renders a window of an image whose camera maps the canonical cube by ``projection``."""

    def __call__(
        self, projection: np.ndarray, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (height, width, 4) uint8 premultiplied colour and (height, width) float32 depth, 0 where empty."""
        ...


def scaled(projection: np.ndarray, scale: float) -> np.ndarray:
    """The projection of an image resized by ``scale``, pixel centres where ``cv2.resize`` puts them."""
    shift = 0.5 * scale - 0.5
    return np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1.0]]) @ projection


def mask_bbox(rgba: np.ndarray, left: int, top: int) -> np.ndarray | None:
    """(4,) rectangle of the pixels of opacity above one half, in image pixels, or None when there is none."""
    found = _mask_bounds(rgba)
    return None if found[2] < 0 else found + np.array([left, top, left, top])


@njit(nogil=True, cache=True)
def _mask_bounds(rgba: np.ndarray) -> np.ndarray:
    """(4,) first column and row, last column and row of what is opaque; -1 last where nothing is."""
    left, top, right, bottom = rgba.shape[1], rgba.shape[0], -1, -1
    for row in range(rgba.shape[0]):
        for column in range(rgba.shape[1]):
            if rgba[row, column, 3] > 127:
                left, right = min(left, column), max(right, column)
                top, bottom = min(top, row), row
    return np.array([left, top, right, bottom], dtype=np.float64)


def render_cube(camera: Camera, box: Boxes3D, render: RenderWindow, tiny: float = TINY) -> Layer | None:
    """Render one box's content into its window of the image.

    Args:
        camera: the image's camera.
        box: one box in the camera frame.
        render: renders windows of the canonical cube.
        tiny: height in pixels below which the object is rendered at twice the size and averaged.

    Returns:
        The visible crop, or None when no pixel of the image is covered by more than one half.
    """
    found = _window(camera, box)
    if found is None:
        return None
    full, window = found
    left, top, _, _ = window
    projection = canonical_projection(camera, box)[0]
    rgba, depth = _render_sized(render, projection, window, full[3] - full[1] < tiny)
    visible = mask_bbox(rgba, left, top)
    if visible is None:
        return None
    return Layer(rgba, depth, left, top, _full_bbox(camera, render, projection, full, visible))


def sketch_cube(camera: Camera, box: Boxes3D, render: RenderWindow, tiny: float = TINY) -> tuple[Layer, int] | None:
    """One box's content seen through a few pixels only (:class:`datamodules.assets.contract.Sketched`).

    Arguments as :func:`render_cube`. Objects near the size at which they are rendered finer have no sketch.
    """
    found = _window(camera, box)
    if found is None or found[0][3] - found[0][1] < tiny:
        return None
    full, (left, top, width, height) = found
    step = math.ceil(min(width, height) / SKETCH)
    if step < 3:
        return None
    # Pixel (i, j) of the sketch is the middle one of a square of step x step pixels.
    shift = np.array([[1 / step, 0, -(left + step // 2) / step], [0, 1 / step, -(top + step // 2) / step], [0, 0, 1.0]])
    projection = shift @ canonical_projection(camera, box)[0]
    seen = render(projection, 0, 0, -(-width // step), -(-height // step))
    size = (seen[1].shape[1] * step, seen[1].shape[0] * step)
    rgba, depth = (cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)[:height, :width] for image in seen)
    return Layer(rgba, depth, left, top, full), step


def _window(camera: Camera, box: Boxes3D) -> tuple[np.ndarray, tuple[int, int, int, int]] | None:
    """A box's rectangle (4,), cut off far outside of the image, and left, top, width, height of what is inside."""
    full = projected_bbox(camera, box, clip=False)[0].tolist()
    if not all(map(math.isfinite, full)):
        return None
    reach = REACH * max(camera.width, camera.height)
    first_column, first_row, last_column, last_row = full = [min(max(side, -reach), reach) for side in full]
    left, top = max(math.floor(first_column), 0), max(math.floor(first_row), 0)
    right, bottom = min(math.ceil(last_column), camera.width - 1), min(math.ceil(last_row), camera.height - 1)
    if right < left or bottom < top:
        return None
    return np.array(full), (left, top, right - left + 1, bottom - top + 1)


def _render_sized(
    render: RenderWindow, projection: np.ndarray, window: tuple[int, int, int, int], tiny: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Render a window at its own, at twice (tiny objects) or at a reduced resolution (huge ones)."""
    left, top, width, height = window
    if tiny:
        rgba, depth = render(scaled(projection, 2.0), 2 * left, 2 * top, 2 * width, 2 * height)
        return _average_pairs(rgba, depth)
    scale = math.sqrt(MAX_PIXELS / (width * height))
    if scale >= 1.0:
        return render(projection, left, top, width, height)
    small_left, small_top = math.floor(left * scale), math.floor(top * scale)
    small_width = math.ceil((left + width) * scale) - small_left + 1
    small_height = math.ceil((top + height) * scale) - small_top + 1
    rgba, depth = render(scaled(projection, scale), small_left, small_top, small_width, small_height)
    # Destination pixel u shows source pixel (u + left + 1/2) scale - 1/2 - small_left.
    back = np.array(
        [
            [scale, 0, (left + 0.5) * scale - 0.5 - small_left],
            [0, scale, (top + 0.5) * scale - 0.5 - small_top],
        ]
    )
    flags = cv2.WARP_INVERSE_MAP
    rgba = cv2.warpAffine(rgba, back, (width, height), flags=flags | cv2.INTER_LINEAR)
    depth = cv2.warpAffine(depth, back, (width, height), flags=flags | cv2.INTER_NEAREST)
    return rgba, np.where(rgba[..., 3] > 0, depth, np.float32(0.0))


@njit(nogil=True, cache=True)
def _average_pairs(rgba: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average 2 x 2 pixels; depth is averaged with opacity as the weight."""
    height, width = depth.shape[0] // 2, depth.shape[1] // 2
    small, far = np.zeros((height, width, 4), np.uint8), np.zeros((height, width), np.float32)
    for row in range(height):
        for column in range(width):
            colour = rgba[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            total, weighted = 0, np.float32(0.0)
            for channel in range(4):
                total = 0
                for i in range(2):
                    for j in range(2):
                        total += int(colour[i, j, channel])
                small[row, column, channel] = (total + 2) // 4
            for i in range(2):
                for j in range(2):
                    weighted += np.float32(colour[i, j, 3]) * depth[2 * row + i, 2 * column + j]
            if total >= 2:
                far[row, column] = weighted / np.float32(total)
    return small, far


def _full_bbox(
    camera: Camera, render: RenderWindow, projection: np.ndarray, full: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """Rectangle (4,) of the mask as if the image went on.

    A side of the visible rectangle is the mask's own unless the image cut it off, that is, unless both the mask touches
    the border there and the box goes on beyond it. Sides cut off are measured on a coarse rendering of the whole box;
    coarse as it is, it must not shrink what is seen.

    Args:
        camera: the image's camera.
        render: renders windows of the canonical cube.
        projection: (3, 4) canonical cube to pixels.
        full: (4,) rectangle of the projected box.
        visible: (4,) rectangle of the mask inside the image.
    """
    border = np.array([0, 0, camera.width - 1, camera.height - 1], dtype=np.float64)
    outward = np.array([-1, -1, 1, 1])
    cut = (outward * (visible - border) >= 0) & (outward * (full - border) > 0)
    if not cut.any():
        return visible
    scale = min(1.0, OUTLINE / max(full[2] - full[0], full[3] - full[1], 1.0))
    left, top = math.floor(full[0] * scale), math.floor(full[1] * scale)
    width, height = math.ceil(full[2] * scale) - left + 2, math.ceil(full[3] * scale) - top + 2
    outline = mask_bbox(render(scaled(projection, scale), left, top, width, height)[0], left, top)
    if outline is None:
        return visible
    last = np.array([0.0, 0.0, 1.0, 1.0])  # a coarse pixel ends where the next one begins, scale times finer
    measured = (outline + last) / scale - last
    beyond = outward * np.maximum(outward * measured, outward * visible)
    return np.where(cut, beyond, visible)

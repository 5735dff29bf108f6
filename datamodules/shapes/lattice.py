r"""Rendering no finer than an object holds: rays on a lattice of pixels, more of them only where the picture asks.

A grid of 128 voxels that is drawn 500 pixels long has a voxel every four pixels. Its picture is then smooth but for
outlines and a few edges, and rays through every pixel mostly tell what their neighbours told. Here rays go through the
corners of square cells first. A cell with a smooth picture is filled in, another one is halved::

    o---o---o---o---o---o     o  rays of the first round, a spacing of 4 (or 2) pixels apart
    |   |   |:x:|:x:|   |     x  rays of a later round, in cells along whose sides the picture bends or through which
    o---o---o:x:o:x:o---o        an outline runs: every pixel there is the ray that rendering all pixels would cast
    |   |:x:|:x:|   |   |
    o---o---o---o---o---o     all others: bilinear between the corners of their cell

(Whitted 1980 halves pixels by such a test; here it is turned round, and stops at the pixel.) Masks are therefore those
of the full picture, and what is filled in is off by about an eighth of the bend, bilinear interpolation's error.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import njit

TOLERANCE = 32.0  # uint8 levels: second difference of a colour; the middle of a cell is off by an eighth of it
FARTHER = 0.02  # likewise of depth, as a share of it

Four = tuple[int, int, int, int]


class CastPixels(Protocol):
    """Casts the rays of some pixels of a window."""

    def __call__(self, pixels: np.ndarray, rgba: np.ndarray, depth: np.ndarray) -> None:
        """Write what is seen into ``rgba`` (h, w, 4) uint8, premultiplied, and ``depth`` (h, w) float32, 0 where empty.

        Args:
            pixels: (N, 2) int32 rows and columns, all different; both images are zero there.
            rgba: colour, maybe of more pixels than the window has, right and below.
            depth: metres, likewise.
        """
        ...


@njit(nogil=True, cache=True)
def _corners(height: int, width: int, spacing: int) -> np.ndarray:
    """(N, 2) int32 rows and columns of every ``spacing``-th pixel."""
    pixels = np.empty(((height - 1) // spacing + 1, (width - 1) // spacing + 1, 2), dtype=np.int32)
    for i in range(pixels.shape[0]):
        for j in range(pixels.shape[1]):
            pixels[i, j, 0], pixels[i, j, 1] = i * spacing, j * spacing
    return pixels.reshape(-1, 2)


@njit(nogil=True, cache=True, inline="always")
def _bend(before: float, first: float, second: float, after: float) -> float:
    """Largest second difference of four equidistant values about the middle two."""
    return max(abs(before - 2.0 * first + second), abs(first - 2.0 * second + after))


@njit(nogil=True, cache=True)
def _straight(rgba: np.ndarray, depth: np.ndarray, v: Four, u: Four, tolerance: float) -> bool:
    """Whether colour, opacity and depth are nearly linear along four pixels at rows ``v`` and columns ``u``."""
    for channel in range(4):
        bend = _bend(
            float(rgba[v[0], u[0], channel]), float(rgba[v[1], u[1], channel]),
            float(rgba[v[2], u[2], channel]), float(rgba[v[3], u[3], channel]),
        )  # fmt: skip
        if bend > tolerance:
            return False
    bend = _bend(float(depth[v[0], u[0]]), float(depth[v[1], u[1]]), float(depth[v[2], u[2]]), float(depth[v[3], u[3]]))
    return bool(bend <= FARTHER * depth[v[1], u[1]])


@njit(nogil=True, cache=True)
def _smooth(rgba: np.ndarray, depth: np.ndarray, row: int, column: int, side: int, tolerance: float) -> bool:
    """Whether a cell may be filled in: it lies on one side of the mask's edge, and its sides are straight."""
    last_row, last_column = row + side, column + side
    a, b = float(rgba[row, column, 3]), float(rgba[row, last_column, 3])
    c, d = float(rgba[last_row, column, 3]), float(rgba[last_row, last_column, 3])
    thinnest, densest = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
    if densest == 0.0:
        return True
    if thinnest <= 127.5 + tolerance / 8.0 and densest >= 127.5 - tolerance / 8.0:
        return False
    # At the border of the window its last pixel goes on.
    v = (max(row - side, 0), row, last_row, min(last_row + side, depth.shape[0] - 1))
    u = (max(column - side, 0), column, last_column, min(last_column + side, depth.shape[1] - 1))
    return (
        _straight(rgba, depth, (row, row, row, row), u, tolerance)
        and _straight(rgba, depth, (last_row, last_row, last_row, last_row), u, tolerance)
        and _straight(rgba, depth, v, (column, column, column, column), tolerance)
        and _straight(rgba, depth, v, (last_column, last_column, last_column, last_column), tolerance)
    )


@njit(nogil=True, cache=True)
def _fill(rgba: np.ndarray, depth: np.ndarray, known: np.ndarray, row: int, column: int, side: int) -> None:
    """Interpolate a cell's pixels that no ray was cast for."""
    above = rgba[row, column, 3] > 0 or rgba[row, column + side, 3] > 0
    below = rgba[row + side, column, 3] > 0 or rgba[row + side, column + side, 3] > 0
    if not (above or below):
        return
    share = np.float32(1.0 / side)
    values = np.empty((4, 5), dtype=np.float32)
    for corner in range(4):
        v, u = row + side * (corner >> 1), column + side * (corner & 1)
        for channel in range(4):
            values[corner, channel] = rgba[v, u, channel]
        values[corner, 4] = depth[v, u]
    for down in range(side + 1):
        y = np.float32(down) * share
        for right in range(side + 1):
            v, u = row + down, column + right
            if known[v, u]:
                continue
            x = np.float32(right) * share
            for channel in range(5):
                upper = values[0, channel] + (values[1, channel] - values[0, channel]) * x
                lower = values[2, channel] + (values[3, channel] - values[2, channel]) * x
                value = upper + (lower - upper) * y
                if channel < 4:
                    rgba[v, u, channel] = np.uint8(value + np.float32(0.5))
                else:
                    depth[v, u] = value


@njit(nogil=True, cache=True)
def _halve(
    rgba: np.ndarray, depth: np.ndarray, known: np.ndarray, cells: np.ndarray, side: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the smooth cells in; halve the others.

    Args:
        known: (h, w) uint8, 1 where a ray was cast; the pixels returned are added.
        cells: (N, 2) int32 first row and column of the cells of this round.
        side: their side, pixels.

    Returns:
        (M, 2) int32 cells of half the side, and (K, 2) int32 pixels of their corners that are not known.
    """
    half = side // 2
    smaller, pixels = np.empty((4 * len(cells), 2), dtype=np.int32), np.empty((5 * len(cells), 2), dtype=np.int32)
    count = asked = 0
    for index in range(len(cells)):
        row, column = int(cells[index, 0]), int(cells[index, 1])
        if _smooth(rgba, depth, row, column, side, tolerance):
            _fill(rgba, depth, known, row, column, side)
            continue
        for i in range(3):
            for j in range(3):
                v, u = row + i * half, column + j * half
                if i < 2 and j < 2:
                    smaller[count, 0], smaller[count, 1] = v, u
                    count += 1
                if not known[v, u]:
                    known[v, u] = 1
                    rgba[v, u, 0] = rgba[v, u, 1] = rgba[v, u, 2] = rgba[v, u, 3] = 0
                    depth[v, u] = 0.0
                    pixels[asked, 0], pixels[asked, 1] = v, u
                    asked += 1
    return smaller[:count], pixels[:asked]


def spacing_for(detail: float) -> int:
    """Pixels between the rays of the first round, for an object whose smallest detail is ``detail`` pixels."""
    return 4 if detail >= 2.5 else 2 if detail >= 1.0 else 1


def on_lattice(
    cast: CastPixels, width: int, height: int, spacing: int, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Render a window.

    Args:
        cast: casts rays.
        width: columns of the window.
        height: rows of the window.
        spacing: 1 (a ray a pixel), 2 or 4: pixels from one ray of the first round to the next. What is smaller is seen
            only if one of them meets it.
        tolerance: uint8 levels by which colour and opacity may bend between the corners of a cell.

    Returns:
        (height, width, 4) uint8 premultiplied colour and (height, width) float32 depth in metres, 0 where empty.
    """
    if spacing == 1:
        rows, columns = height, width
    else:  # whole cells, one at least
        rows, columns = (-(-max(size - 1, 1) // spacing) * spacing + 1 for size in (height, width))
    rgba, depth = np.zeros((rows, columns, 4), np.uint8), np.zeros((rows, columns), np.float32)
    pixels = _corners(rows, columns, spacing)
    cast(pixels, rgba, depth)
    if spacing == 1:
        return rgba, depth
    known = np.zeros((rows, columns), np.uint8)
    known[::spacing, ::spacing] = 1
    cells, side = _corners(rows - 1, columns - 1, spacing), spacing
    while side > 1:
        cells, pixels = _halve(rgba, depth, known, cells, side, tolerance)
        if len(pixels):
            cast(pixels, rgba, depth)
        side //= 2
    return np.ascontiguousarray(rgba[:height, :width]), np.ascontiguousarray(depth[:height, :width])

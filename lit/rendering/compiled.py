"""A compiled renderer and baker for exact tri-plane fields of EG3D's shape (three planes, mean, softplus decoder).

The field lives in its own cube [-1, 1]^3: three feature planes (x, y), (x, z), (y, z) are looked up bilinearly and
averaged; a decoder of one hidden softplus layer gives raw density and colour; ``density = softplus(raw - 1)`` per unit
of the cube, ``colour = sigmoid(raw) (1 + 2 e) - e`` with e = 0.001 (EG3D, Chan et al. 2022). One loop does rays,
lookup, decoder and quadrature, with an occupancy grid for empty space and an early stop; colour is decoded only where
there is density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_cdt, maximum_filter

from datamodules.assets.voxel_render import OPACITY_STEP
from datamodules.geometry import NEAR

HIDDEN = 64  # width of the decoder's hidden layer
CELLS = 64  # edge of the occupancy grid
EMPTY = 0.004  # opacity of an OPACITY_STEP of path up to which a cell counts as empty
STOP = 1.0 / 512.0  # transmittance at which a ray ends
WIDEN = 0.001  # colour reaches a little beyond [0, 1], as in EG3D


@dataclass(frozen=True)
class TriplaneField:
    """A tri-plane field with its decoder, laid out for the compiled loops.

    Attributes:
        planes: (3, R, R, C) float32 features; plane 0 is indexed [y, x], plane 1 [z, x], plane 2 [z, y].
        hidden_weight: (C, 64) float32, the transposed weight of the first layer.
        hidden_bias: (64,) float32.
        output_weight: (4, 64) float32 rows density, red, green, blue.
        output_bias: (4,) float32.
    """

    planes: np.ndarray
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _softplus(x: Any) -> Any:
    """log(1 + e^x) to 2e-5: max(x, 0) plus a rational fit of log(1 + e^-|x|), which vectorises where exp does not."""
    u = min(abs(x), np.float32(16.0))
    p = np.float32(-2.395295e-4) + u * np.float32(4.605975e-5)
    p = np.float32(4.0081761e-2) + u * (np.float32(3.2966682e-3) + u * p)
    p = np.float32(1.0959622) + u * (np.float32(1.9752538e-1) + u * p)
    p = p * p
    return max(x, np.float32(0.0)) + np.float32(1.0) / (p * p)


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _add_plane(plane: np.ndarray, column: float, row: float, features: np.ndarray) -> None:
    """Add a plane's bilinear features at (column, row), each in [-1, 1] with texel edges at the ends."""
    size = plane.shape[0]
    u = min(max((column + 1.0) * (0.5 * size) - 0.5, 0.0), size - 1.001)
    v = min(max((row + 1.0) * (0.5 * size) - 0.5, 0.0), size - 1.001)
    i, j = int(u), int(v)
    fu, fv = np.float32(u - i), np.float32(v - j)
    one = np.float32(1.0)
    w00, w01, w10, w11 = (one - fv) * (one - fu), (one - fv) * fu, fv * (one - fu), fv * fu
    a, b, c, d = plane[j, i], plane[j, i + 1], plane[j + 1, i], plane[j + 1, i + 1]
    for k in range(features.shape[0]):
        features[k] += w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k]


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _raw_density(
    features: np.ndarray, weight: np.ndarray, bias: np.ndarray, row: np.ndarray, hidden: np.ndarray
) -> Any:
    """Hidden layer from three planes' summed features (into ``hidden``) and its product with the density row."""
    for j in range(HIDDEN):
        hidden[j] = bias[j]
    third = np.float32(1.0 / 3.0)
    for k in range(
        0, features.shape[0], 4
    ):  # four features a pass: the hidden layer is loaded and stored once for them
        f0, f1, f2, f3 = features[k] * third, features[k + 1] * third, features[k + 2] * third, features[k + 3] * third
        for j in range(HIDDEN):
            hidden[j] += f0 * weight[k, j] + f1 * weight[k + 1, j] + f2 * weight[k + 2, j] + f3 * weight[k + 3, j]
    total = np.float32(0.0)
    for j in range(HIDDEN):
        hidden[j] = _softplus(hidden[j])
    for j in range(HIDDEN):
        total += hidden[j] * row[j]
    return total


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _colour(hidden: np.ndarray, row: np.ndarray, bias: Any) -> Any:
    total = np.float32(bias)
    for j in range(HIDDEN):
        total += hidden[j] * row[j]
    return np.float32(1.0 + 2.0 * WIDEN) / (np.float32(1.0) + np.exp(-total)) - np.float32(WIDEN)


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _resample(plane: np.ndarray, columns: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Bilinear features of a plane on the grid of the given columns and rows."""
    out[:] = 0.0
    for j in range(len(rows)):
        for i in range(len(columns)):
            _add_plane(plane, columns[i], rows[j], out[j, i])


def _resampled(field: TriplaneField, axes: list[np.ndarray]) -> list[np.ndarray]:
    """The three planes on a grid's axes (x, y, z positions): a grid point costs three additions of features then."""
    flat = []
    for plane, (column, row) in zip(field.planes, ((0, 1), (0, 2), (1, 2))):
        out = np.empty((len(axes[row]), len(axes[column]), plane.shape[2]), np.float32)
        _resample(plane, axes[column], axes[row], out)
        flat.append(out)
    return flat


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _density_lattice(
    xy: np.ndarray, xz: np.ndarray, yz: np.ndarray, weight: np.ndarray, bias: np.ndarray, row: np.ndarray,
    row_bias: Any, density: np.ndarray,
) -> None:  # fmt: skip
    """Density at a lattice's points from planes resampled to its axes."""
    features, hidden = np.empty(xy.shape[2], np.float32), np.empty(HIDDEN, np.float32)
    for i in range(density.shape[0]):
        for j in range(density.shape[1]):
            for k in range(density.shape[2]):
                a, b, c = xy[j, i], xz[k, i], yz[k, j]
                for f in range(features.shape[0]):
                    features[f] = a[f] + b[f] + c[f]
                raw = _raw_density(features, weight, bias, row, hidden) + row_bias
                density[i, j, k] = _softplus(raw - np.float32(1.0))


def occupancy(field: TriplaneField) -> np.ndarray:
    """(64, 64, 64) uint8 Chebyshev distance in cells to the next cell that holds density (0: this one).

    A cell counts as occupied when a corner of it or of a neighbour has density: nothing thinner than a cell is missed.
    """
    density = np.zeros((CELLS + 1,) * 3, dtype=np.float32)
    flat = _resampled(field, [np.linspace(-1.0, 1.0, CELLS + 1)] * 3)
    _density_lattice(
        flat[0], flat[1], flat[2], field.hidden_weight, field.hidden_bias, field.output_weight[0], field.output_bias[0],
        density,
    )  # fmt: skip
    solid = (1.0 - np.exp(-density * OPACITY_STEP)) > EMPTY
    occupied = maximum_filter(solid, size=3)
    cells = np.zeros((CELLS,) * 3, dtype=bool)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                cells |= occupied[i : CELLS + i, j : CELLS + j, k : CELLS + k]
    return np.minimum(distance_transform_cdt(~cells, metric="chessboard"), 255).astype(np.uint8)


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _cell_exit(position: float, cell: int, jump: int, inverse: float) -> float:
    """Distance along the ray to the end of the empty cube around ``cell``, along one axis (position in cells)."""
    edge = cell + jump if inverse > 0 else cell - jump + 1
    return (edge - position) * inverse * (2.0 / CELLS)


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _march(
    planes: np.ndarray, weight: np.ndarray, bias: np.ndarray, rows: np.ndarray, biases: np.ndarray, skip: np.ndarray,
    origin: np.ndarray, direction: np.ndarray, enter: float, leave: float, step: float,
    features: np.ndarray, hidden: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """One ray (unit direction, lengths in the cube's units): colour, opacity and weighted distance into ``out``."""
    dx, dy, dz = direction[0], direction[1], direction[2]
    transmittance = np.float32(1.0)
    out[:] = 0.0
    half = 0.5 * CELLS
    t = enter + 0.5 * step
    while t < leave:
        x, y, z = origin[0] + t * dx, origin[1] + t * dy, origin[2] + t * dz
        cx, cy, cz = (x + 1.0) * half, (y + 1.0) * half, (z + 1.0) * half
        i, j, k = min(int(cx), CELLS - 1), min(int(cy), CELLS - 1), min(int(cz), CELLS - 1)
        jump = int(skip[i, j, k])
        if jump > 0:
            nearest = min(
                _cell_exit(cx, i, jump, 1.0 / dx),
                min(_cell_exit(cy, j, jump, 1.0 / dy), _cell_exit(cz, k, jump, 1.0 / dz)),
            )
            t += max(np.ceil(nearest / step), 1.0) * step
            continue
        features[:] = 0.0
        _add_plane(planes[0], x, y, features)
        _add_plane(planes[1], x, z, features)
        _add_plane(planes[2], y, z, features)
        raw = _raw_density(features, weight, bias, rows[0], hidden) + biases[0]
        density = _softplus(raw - np.float32(1.0))
        opacity = np.float32(1.0) - np.exp(-density * np.float32(step))
        if opacity > np.float32(1e-4):
            w = transmittance * opacity
            out[0] += w * _colour(hidden, rows[1], biases[1])
            out[1] += w * _colour(hidden, rows[2], biases[2])
            out[2] += w * _colour(hidden, rows[3], biases[3])
            out[4] += w * t
            transmittance -= w
            if transmittance < STOP:
                break
        t += step
    out[3] = np.float32(1.0) - transmittance


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _render(
    planes: np.ndarray, weight: np.ndarray, bias: np.ndarray, rows: np.ndarray, biases: np.ndarray, skip: np.ndarray,
    origin: np.ndarray, matrix: np.ndarray, half: np.ndarray, left: int, top: int, step: float, near: float,
    rgba: np.ndarray, depth: np.ndarray,
) -> None:  # fmt: skip
    features, hidden = np.empty(planes.shape[3], np.float32), np.empty(HIDDEN, np.float32)
    out, direction = np.empty(5, np.float32), np.empty(3)
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            u, v = np.float64(left + column), np.float64(top + row)
            enter, leave, norm = 0.0, 1e30, 0.0
            for axis in range(3):
                d = matrix[axis, 0] * u + matrix[axis, 1] * v + matrix[axis, 2]
                d = d if abs(d) > 1e-9 else 1e-9
                direction[axis] = d
                norm += d * d
                a, b = (-half[axis] - origin[axis]) / d, (half[axis] - origin[axis]) / d
                enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
            enter = max(enter, near)
            if enter >= leave:
                continue
            norm = np.sqrt(norm)
            for axis in range(3):
                direction[axis] /= norm
            _march(
                planes, weight, bias, rows, biases, skip, origin, direction, enter * norm, leave * norm, step,
                features, hidden, out,
            )  # fmt: skip
            if out[3] > 1e-4:
                gain = np.float32(1.0) / out[3] if out[3] > 1.0 - STOP else np.float32(1.0)
                for c in range(4):
                    rgba[row, column, c] = out[c] * gain
                depth[row, column] = out[4] / out[3] / norm


def render_field(
    field: TriplaneField,
    skip: np.ndarray,
    projection: np.ndarray,
    half: np.ndarray,
    window: tuple[int, int, int, int],
    step: float = 1.0 / 96.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Render a window of the exact field.

    Args:
        field: the field.
        skip: its occupancy (:func:`occupancy`).
        projection: (3, 4) the field's cube to pixels, third row depth in metres.
        half: (3,) half size of the object's box inside the cube; rays are clipped to it.
        window: left, top, width, height in pixels.
        step: distance between samples in units of the cube.

    Returns:
        (height, width, 4) float32 premultiplied colour and opacity in [0, 1]; (height, width) float32 depth in metres.
    """
    left, top, width, height = window
    inverse = np.linalg.inv(projection[:, :3])
    rgba, depth = np.zeros((height, width, 4), np.float32), np.zeros((height, width), np.float32)
    _render(
        field.planes, field.hidden_weight, field.hidden_bias, field.output_weight, field.output_bias, skip,
        -inverse @ projection[:, 3], inverse, np.asarray(half, np.float64), left, top, step, NEAR, rgba, depth,
    )  # fmt: skip
    return rgba, depth


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _bake(
    xy: np.ndarray, xz: np.ndarray, yz: np.ndarray, weight: np.ndarray, bias: np.ndarray, rows: np.ndarray,
    biases: np.ndarray, skip: np.ndarray, cells: np.ndarray, path: float, grid: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``grid`` from planes resampled to its axes; ``cells`` has the occupancy cell of each index and axis."""
    features, hidden = np.empty(xy.shape[2], np.float32), np.empty(HIDDEN, np.float32)
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            a = xy[j, i]
            for k in range(grid.shape[2]):
                if skip[cells[0, i], cells[1, j], cells[2, k]] > 0:
                    continue
                b, c = xz[k, i], yz[k, j]
                for f in range(features.shape[0]):
                    features[f] = a[f] + b[f] + c[f]
                raw = _raw_density(features, weight, bias, rows[0], hidden) + biases[0]
                opacity = np.float32(1.0) - np.exp(-_softplus(raw - np.float32(1.0)) * np.float32(path))
                level = int(opacity * np.float32(255.0) + np.float32(0.5))
                if level > 0:
                    grid[i, j, k, 3] = level
                    for c3 in range(3):
                        value = _colour(hidden, rows[c3 + 1], biases[c3 + 1])
                        value = min(max(value, np.float32(0.0)), np.float32(1.0))
                        grid[i, j, k, c3] = int(value * np.float32(255.0) + np.float32(0.5))


def bake_field(
    field: TriplaneField, skip: np.ndarray, half: np.ndarray, shape: tuple[int, int, int] = (128, 52, 56)
) -> np.ndarray:
    """Bake the box of a field to a voxel grid (X, Y, Z, 4) uint8 (:mod:`datamodules.assets.voxel_render`).

    Each plane is resampled once to the grid's two axes, so a voxel costs three additions of features and one decoder;
    voxels in empty cells cost nothing. Opacity is stated per ``OPACITY_STEP`` of the field's cube: render the grid with
    ``unit=half``.
    """
    centres = [(np.arange(n) * 2.0 + 1.0) / n * h - h for n, h in zip(shape, half)]
    cells = np.zeros((3, max(shape)), dtype=np.int64)
    for axis, centre in enumerate(centres):
        cells[axis, : len(centre)] = ((centre + 1.0) * (CELLS / 2)).astype(np.int64).clip(0, CELLS - 1)
    flat = _resampled(field, centres)
    grid = np.zeros((*shape, 4), dtype=np.uint8)
    _bake(
        flat[0], flat[1], flat[2], field.hidden_weight, field.hidden_bias, field.output_weight, field.output_bias, skip,
        cells, OPACITY_STEP, grid,
    )  # fmt: skip
    return grid

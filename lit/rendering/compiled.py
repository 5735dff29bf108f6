"""EG3D's fields in compiled code: their renderer for previews on a CPU, and their baker.

The quadrature is that of :mod:`lit.networks.fields.quadrature`, one sample a piece of equal length, written out as
loops: torch decodes every sample of every ray, this stops where nothing more is seen and decodes colour only where
there is density. The way of a ray: clip it to the box; look up the occupancy grid, and where a cell is empty jump over
as many cells as are known to be; else add up three bilinear features, run the hidden layer, and where the density shows
also the colour; end at a transmittance of 1/512. Tests hold it against torch.

A baked grid's points lie on the planes' axes, so each plane is resampled once to the grid (:func:`_resampled`) and a
voxel costs three additions of features and one decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import njit
from scipy.ndimage import distance_transform_cdt, maximum_filter
from torch import Tensor

from datamodules.assets.voxels.voxel_render import OPACITY_STEP
from datamodules.errors import InputError
from datamodules.geometry import NEAR
from lit.networks.fields.planes import PLANE_AXES, Axes, DecodedPlanes
from lit.networks.fields.softplus_decoder import HIDDEN, WIDEN, SoftplusDecoder

CELLS = 64  # edge of the occupancy grid
EMPTY = 0.004  # opacity of an OPACITY_STEP of path up to which a cell counts as empty
STOP = 1.0 / 512.0  # transmittance at which a ray ends
CUBE = np.ones(3)


@dataclass(frozen=True)
class CompiledField:
    """A field in its own cube [-1, 1]^3, laid out for the compiled loops.

    Attributes:
        planes: (3, R, R, C) float32 features; plane 0 is indexed [y, x], plane 1 [z, x], plane 2 [z, y].
        hidden_weight: (C, 64) float32, the transposed weight of the first layer.
        hidden_bias: (64,) float32.
        output_weight: (4, 64) float32 rows density, red, green, blue.
        output_bias: (4,) float32.
        unit: density is per so much of a cube's unit.
        empty: opacity of an OPACITY_STEP of path up to which a cell counts as empty. Fog below it is not drawn: through
            the whole cube it may hide a third of what is behind.
    """

    planes: np.ndarray
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray
    unit: float = 1.0
    empty: float = EMPTY

    @cached_property
    def occupancy(self) -> np.ndarray:
        """(64, 64, 64) uint8 Chebyshev distance in cells to the next cell that holds density (0: this one).

        A cell counts as occupied when a corner of it or of a neighbour has density: nothing thinner than a cell is
        missed.
        """
        density = np.zeros((CELLS + 1,) * 3, dtype=np.float32)
        flat = _resampled(self.planes, [np.linspace(-1.0, 1.0, CELLS + 1)] * 3)
        _density_lattice(
            *flat, self.hidden_weight, self.hidden_bias, self.output_weight[0], self.output_bias[0], density
        )
        solid = (1.0 - np.exp(-density * (OPACITY_STEP * self.unit))) > self.empty
        occupied = maximum_filter(solid, size=3)
        cells = np.zeros((CELLS,) * 3, dtype=bool)
        for i, j, k in np.ndindex(2, 2, 2):
            cells |= occupied[i : CELLS + i, j : CELLS + j, k : CELLS + k]
        return np.minimum(distance_transform_cdt(~cells, metric="chessboard"), 255).astype(np.uint8)

    def render(
        self,
        projection: np.ndarray,
        window: tuple[int, int, int, int],
        half: np.ndarray = CUBE,
        step: float = 1.0 / 96.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render a window.

        Args:
            projection: (3, 4) the cube to pixels, third row depth in metres.
            window: left, top, width, height in pixels.
            half: (3,) half size of the object's box inside the cube; rays are clipped to it.
            step: distance between samples in units of the cube.

        Returns:
            (height, width, 4) float32 premultiplied colour and opacity in [0, 1]; (height, width) float32 depth in
            metres.
        """
        left, top, width, height = window
        inverse = np.linalg.inv(projection[:, :3])
        rgba, depth = np.zeros((height, width, 4), np.float32), np.zeros((height, width), np.float32)
        _render(
            self.planes, self.hidden_weight, self.hidden_bias, self.output_weight, self.output_bias, self.occupancy,
            -inverse @ projection[:, 3], inverse, np.asarray(half, np.float64), left, top, step, step * self.unit, NEAR,
            rgba, depth,
        )  # fmt: skip
        return rgba, depth

    def bake(self, shape: tuple[int, int, int] = (128, 52, 56), half: np.ndarray = CUBE) -> np.ndarray:
        """Bake the box of half size ``half`` (3,) to a voxel grid (X, Y, Z, 4) uint8.

        Voxels in empty cells cost nothing and stay black. Opacity is stated per ``OPACITY_STEP`` of the cube, not of
        the box: render the grid with ``unit=half`` (:mod:`datamodules.assets.voxels.voxel_render`).
        """
        centres = [(np.arange(n) * 2.0 + 1.0) / n * h - h for n, h in zip(shape, half)]
        cells = np.zeros((3, max(shape)), dtype=np.int64)
        for axis, centre in enumerate(centres):
            cells[axis, : len(centre)] = ((centre + 1.0) * (CELLS / 2)).astype(np.int64).clip(0, CELLS - 1)
        grid = np.zeros((*shape, 4), dtype=np.uint8)
        _bake(
            *_resampled(self.planes, centres), self.hidden_weight, self.hidden_bias, self.output_weight,
            self.output_bias, self.occupancy, cells, OPACITY_STEP * self.unit, grid,
        )  # fmt: skip
        return grid


def compiled_field(field: DecodedPlanes, empty: float = EMPTY) -> CompiledField:
    """The compiled form of one object's planes (B = 1) under a :class:`SoftplusDecoder`, see :class:`CompiledField`.

    Raises:
        InputError: another decoder, or several levels of planes.
    """
    decoder, planes = field.decode, field.planes
    if not isinstance(decoder, SoftplusDecoder) or not isinstance(planes, Tensor):
        raise InputError("the compiled renderer draws one level of planes under a SoftplusDecoder; use render_image")
    weights = [layer.weight * layer.gain for layer in (decoder.hidden, decoder.heads)]
    biases = [layer.bias * layer.bias_gain for layer in (decoder.hidden, decoder.heads)]
    if weights[0].shape[0] != HIDDEN or planes.shape[2] % 4:
        raise InputError(
            f"decoder of {planes.shape[2]} features and {weights[0].shape[0]} hidden units: the compiled renderer"
            f" expects a multiple of 4 and {HIDDEN}; use render_image"
        )
    summed = 3.0 if field.reduce == "sum" else 1.0  # the loops take the mean

    def laid_out(tensor: Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)

    return CompiledField(
        laid_out(_in_our_axes(planes[0], field.axes)),
        laid_out(weights[0].t() * summed),
        laid_out(biases[0]),
        laid_out(weights[1][:4]),
        laid_out(biases[1][:4]),
        field.box / 2,
        empty,
    )


def _in_our_axes(planes: Tensor, axes: Axes) -> Tensor:
    """Planes (3, R, R, C) of our axes that give the same sum of features as planes (3, C, R, R) of other ones."""
    ours = torch.zeros_like(planes)
    for plane, (a, b) in zip(planes, axes):
        ours[PLANE_AXES.index((min(a, b), max(a, b)))] += plane if a < b else plane.transpose(1, 2)
    return ours.permute(0, 2, 3, 1)


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
    for k in range(0, features.shape[0], 4):  # the hidden layer is loaded and stored once for four features
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


def _resampled(planes: np.ndarray, axes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes (3, R, R, C) on a grid's axes (x, y, z positions): a grid point costs three additions of features then."""
    flat = []
    for plane, (column, row) in zip(planes, PLANE_AXES):
        flat.append(np.empty((len(axes[row]), len(axes[column]), plane.shape[2]), np.float32))
        _resample(plane, axes[column], axes[row], flat[-1])
    return flat[0], flat[1], flat[2]


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


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _cell_exit(position: float, cell: int, jump: int, inverse: float) -> float:
    """Distance along the ray to the end of the empty cube around ``cell``, along one axis (position in cells)."""
    edge = cell + jump if inverse > 0 else cell - jump + 1
    return (edge - position) * inverse * (2.0 / CELLS)


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _march(
    planes: np.ndarray, weight: np.ndarray, bias: np.ndarray, rows: np.ndarray, biases: np.ndarray, skip: np.ndarray,
    origin: np.ndarray, direction: np.ndarray, enter: float, leave: float, step: float, path: float,
    features: np.ndarray, hidden: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """One ray (unit direction, lengths in the cube's units but ``path``, the step in the density's): colour, opacity
    and weighted distance into ``out``.
    """
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
        opacity = np.float32(1.0) - np.exp(-density * np.float32(path))
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
    origin: np.ndarray, matrix: np.ndarray, half: np.ndarray, left: int, top: int, step: float, path: float,
    near: float, rgba: np.ndarray, depth: np.ndarray,
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
                planes, weight, bias, rows, biases, skip, origin, direction, enter * norm, leave * norm, step, path,
                features, hidden, out,
            )  # fmt: skip
            if out[3] > 1e-4:
                gain = np.float32(1.0) / out[3] if out[3] > 1.0 - STOP else np.float32(1.0)
                for c in range(4):
                    rgba[row, column, c] = out[c] * gain
                depth[row, column] = out[4] / out[3] / norm


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

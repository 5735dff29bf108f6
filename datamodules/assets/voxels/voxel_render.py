"""The compiled renderer of baked voxel grids: one fused loop that skips empty space and stops at opaque surfaces.

A voxel grid is a uint8 array (X, Y, Z, 4) over the canonical cube [-1, 1]^3 (x length, y down, z width): straight
colour and the opacity that a path of :data:`OPACITY_STEP` canonical units collects. Voxel i of n covers
``[-1 + 2 i / n, -1 + 2 (i + 1) / n]``; between voxel centres opacity and opacity-weighted colour are interpolated
trilinearly, so empty neighbours lend no colour, and everything outside the grid is empty.

Samples lie at depths ``(i + 1/2) dt`` from the camera, not from the point where a ray enters the cube: both renderers
of this suite then take the same samples whatever they skip. The loop holds no Python object and releases the GIL.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_cdt

from datamodules.assets.voxels.cell_sums import cell_sums
from datamodules.geometry import NEAR
from datamodules.shapes.lattice import on_lattice

OPACITY_STEP = 1.0 / 64.0  # canonical units of path over which a voxel's opacity is stated
BLOCK = 4  # cells along the edge of a block of the empty-space map
LUT_SCALE = 4  # opacity table entries per uint8 level
MIN_TRANSMITTANCE = 1.0 / 255.0  # a ray that lets less through than this is opaque
MIN_ALPHA = 0.125  # uint8 levels; an interpolated opacity below this is nothing
MIN_COVERAGE = 0.002  # a pixel covered less is empty
UNIT = np.ones(3)


@dataclass(frozen=True)
class PreparedGrid:
    """A grid made ready for rendering; computed once per asset.

    Attributes:
        data: (X + 3, Y + 3, Z + 3, 4) uint8, the grid with an empty voxel before it and two behind it: rounding may
            put the last sample of a ray on the very bound.
        skip: (ceil((X + 2) / 4), ...) uint8 Chebyshev distance in blocks to the next block that holds anything (0:
            this one).
        low: (3,) float64 lower bound of what is occupied, in cells of ``data``.
        high: (3,) float64 upper bound; ``low > high`` where the grid is empty.
        shape: (X, Y, Z).
    """

    data: np.ndarray
    skip: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, int, int]


@njit(nogil=True, cache=True, boundscheck=False)
def _mark_blocks(grid: np.ndarray, occupied: np.ndarray, bounds: np.ndarray) -> None:
    """Mark the blocks whose trilinear cells touch an occupied voxel, and widen ``bounds`` to the occupied voxels."""
    nx, ny, nz, _ = grid.shape
    for x in range(nx):
        for y in range(ny):
            first, last = nz, -1
            for z in range(nz):
                if grid[x, y, z, 3] == 0:
                    continue
                first, last = min(first, z), z
                # voxel z is read by cells z and z + 1 of the padded grid; likewise along x and y
                for i in range(x // BLOCK, (x + 1) // BLOCK + 1):
                    for j in range(y // BLOCK, (y + 1) // BLOCK + 1):
                        for k in range(z // BLOCK, (z + 1) // BLOCK + 1):
                            occupied[i, j, k] = 1
            if last >= 0:
                bounds[0], bounds[3] = min(bounds[0], x), max(bounds[3], x)
                bounds[1], bounds[4] = min(bounds[1], y), max(bounds[4], y)
                bounds[2], bounds[5] = min(bounds[2], first), max(bounds[5], last)


def prepare_grid(grid: np.ndarray) -> PreparedGrid:
    """Pad a voxel grid (X, Y, Z, 4) uint8 and map its empty space. Takes about 1.5 ms for 128 x 52 x 56 voxels."""
    nx, ny, nz = (int(n) for n in grid.shape[:3])
    data = np.zeros((nx + 3, ny + 3, nz + 3, 4), dtype=np.uint8)
    data[1:-2, 1:-2, 1:-2] = grid
    blocks = tuple((n + 2 + BLOCK - 1) // BLOCK for n in (nx, ny, nz))
    occupied = np.zeros(blocks, dtype=np.uint8)
    bounds = np.array([nx, ny, nz, -1, -1, -1], dtype=np.int64)
    _mark_blocks(data[1:-2, 1:-2, 1:-2], occupied, bounds)
    if occupied.any():
        skip = np.minimum(distance_transform_cdt(occupied == 0, metric="chessboard"), 255).astype(np.uint8)
    else:
        skip = np.full(blocks, 255, dtype=np.uint8)
    return PreparedGrid(data, skip, bounds[:3].astype(np.float64), bounds[3:] + 2.0, (nx, ny, nz))


@functools.lru_cache(maxsize=256)
def opacity_table(ratio: float) -> np.ndarray:
    """(1021,) float32 opacity of a path of ``ratio`` opacity steps for uint8 opacities 0, 1/4, ... 255."""
    alpha = np.arange(255 * LUT_SCALE + 1) / (255.0 * LUT_SCALE)
    return (1.0 - (1.0 - alpha) ** ratio).astype(np.float32)


@njit(nogil=True, cache=True)
def grid_rays(projection: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rays in cells of the padded grid: origin (3,) and matrix (3, 3) from pixels (u, v, 1) to a metre of depth."""
    inverse = np.linalg.inv(np.ascontiguousarray(projection[:, :3]))
    half = np.array(shape) / 2.0
    origin = (-inverse @ np.ascontiguousarray(projection[:, 3]) + 1.0) * half + 0.5
    return origin, inverse * half.reshape(3, 1)


@njit(nogil=True, cache=True)
def sample_step(projection: np.ndarray, shape: tuple[int, int, int], unit: np.ndarray, steps_per_voxel: float) -> float:
    """Distance between samples in the unit of the density: a voxel along the axis that the view crosses fastest.

    It is one for the whole image, so that one opacity table serves all rays, and a multiple of OPACITY_STEP / 16, so
    that few tables are ever made.

    Args:
        projection: (3, 4) canonical cube to pixels.
        shape: voxels along the axes.
        unit: (3,) length of the axes' units in the unit of the density.
        steps_per_voxel: samples a voxel.
    """
    # from the camera to the cube's centre
    view = np.linalg.solve(np.ascontiguousarray(projection[:, :3]), np.ascontiguousarray(projection[:, 3]))
    size = np.array(shape)
    if np.abs(view).max() < 1.0:  # the camera is inside
        step = (2.0 * unit / size).min()
    else:
        step = np.sqrt(np.square(view * unit).sum()) / (np.abs(view) * size / 2.0).max()
    return max(np.rint(step / steps_per_voxel / OPACITY_STEP * 16.0), 1.0) * OPACITY_STEP / 16.0


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy", inline="always")
def _block_exit(cell: int, jump: int, direction: float, origin: float, inverse: float) -> float:
    """Depth at which a ray leaves, along one axis, the empty cube of blocks around the block of ``cell``."""
    block = cell >> 2
    edge = (block + jump) * BLOCK if direction > 0 else (block - jump + 1) * BLOCK
    return (edge - origin) * inverse


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _march(
    flat: np.ndarray, along_x: int, along_y: int, skip: np.ndarray, origin: tuple, direction: tuple, inverse: tuple,
    first: int, last: int, dt: float, table: np.ndarray,
) -> tuple:  # fmt: skip
    """Integrate samples ``first .. last - 1`` of one ray: weighted colour sums, weighted depth sum, transmittance."""
    dx, dy, dz = direction
    ox, oy, oz = origin[0], origin[1], origin[2]
    transmittance = np.float32(1.0)
    red = green = blue = distance = np.float32(0.0)
    i = first
    while i < last:
        t = (i + 0.5) * dt
        gx, gy, gz = ox + t * dx, oy + t * dy, oz + t * dz
        x, y, z = int(gx), int(gy), int(gz)
        jump = int(skip[x >> 2, y >> 2, z >> 2])
        if jump > 0:  # keep to the comb of samples, so that skipping changes nothing
            exit_x = _block_exit(x, jump, dx, ox, inverse[0])
            exit_y = _block_exit(y, jump, dy, oy, inverse[1])
            exit_z = _block_exit(z, jump, dz, oz, inverse[2])
            i = max(i + 1, int(np.ceil(min(exit_x, min(exit_y, exit_z)) / dt - 0.5)))
            continue
        i += 1
        start = x * along_x + y * along_y + 4 * z
        ar, ag, ab, alpha = cell_sums(  # type: ignore[call-arg, var-annotated]  # numba fills in its own first argument
            flat, start, along_x, along_y, np.float32(gx - x), np.float32(gy - y), np.float32(gz - z)
        )
        if alpha < np.float32(MIN_ALPHA):
            continue
        weight = transmittance * table[int(alpha * np.float32(LUT_SCALE) + np.float32(0.5))]
        scale = weight / alpha
        red += scale * ar
        green += scale * ag
        blue += scale * ab
        distance += weight * np.float32(t)
        transmittance -= weight
        if transmittance < MIN_TRANSMITTANCE:
            break
    return red, green, blue, distance, transmittance


@njit(nogil=True, cache=True, fastmath=True, boundscheck=False, error_model="numpy")
def _cast(
    data: np.ndarray, skip: np.ndarray, low: np.ndarray, high: np.ndarray, origin: np.ndarray, matrix: np.ndarray,
    metric: np.ndarray, left: int, top: int, step: float, near: float, table: np.ndarray,
    pixels: np.ndarray, rgba: np.ndarray, depth: np.ndarray,
) -> None:  # fmt: skip
    """Cast the rays of ``pixels`` (N, 2) of a window into ``rgba`` and ``depth``, which must be zero there."""
    flat, along_x, along_y = data.reshape(-1), 4 * data.shape[1] * data.shape[2], 4 * data.shape[2]
    ox, oy, oz = origin[0], origin[1], origin[2]
    for index in range(len(pixels)):
        row, column = pixels[index, 0], pixels[index, 1]
        u, v = np.float64(left + column), np.float64(top + row)
        dx = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
        dy = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
        dz = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
        dx = dx if abs(dx) > 1e-9 else 1e-9
        dy = dy if abs(dy) > 1e-9 else 1e-9
        dz = dz if abs(dz) > 1e-9 else 1e-9
        ix, iy, iz = 1.0 / dx, 1.0 / dy, 1.0 / dz
        ax, bx = (low[0] - origin[0]) * ix, (high[0] - origin[0]) * ix
        ay, by = (low[1] - origin[1]) * iy, (high[1] - origin[1]) * iy
        az, bz = (low[2] - origin[2]) * iz, (high[2] - origin[2]) * iz
        enter = max(max(min(ax, bx), min(ay, by)), max(min(az, bz), near))
        leave = min(min(max(ax, bx), max(ay, by)), max(az, bz))
        if enter >= leave:
            continue
        mx, my, mz = dx * metric[0], dy * metric[1], dz * metric[2]
        dt = step / np.sqrt(mx * mx + my * my + mz * mz)
        first, last = int(np.ceil(enter / dt - 0.5)), int(np.ceil(leave / dt - 0.5))
        red, green, blue, distance, transmittance = _march(
            flat, along_x, along_y, skip, (ox, oy, oz), (dx, dy, dz), (ix, iy, iz), first, last, dt, table
        )
        covered = np.float32(1.0) - transmittance
        if covered < MIN_COVERAGE:
            continue
        # A ray stopped early is opaque: what was left unseen takes the colour of what was seen.
        gain = np.float32(1.0) / covered if transmittance < MIN_TRANSMITTANCE else np.float32(1.0)
        rgba[row, column, 0] = np.uint8(min(red * gain + np.float32(0.5), np.float32(255.0)))
        rgba[row, column, 1] = np.uint8(min(green * gain + np.float32(0.5), np.float32(255.0)))
        rgba[row, column, 2] = np.uint8(min(blue * gain + np.float32(0.5), np.float32(255.0)))
        rgba[row, column, 3] = np.uint8(min(covered * gain, np.float32(1.0)) * np.float32(255.0) + np.float32(0.5))
        depth[row, column] = distance / covered


def render_voxels(
    grid: np.ndarray | PreparedGrid,
    projection: np.ndarray,
    left: int,
    top: int,
    width: int,
    height: int,
    steps_per_voxel: float = 1.0,
    unit: np.ndarray = UNIT,
    spacing: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Render a window of the image of one grid.

    Args:
        grid: (X, Y, Z, 4) uint8, or the same prepared once by :func:`prepare_grid`.
        projection: (3, 4) canonical cube to pixels, third row depth in metres
            (:func:`datamodules.geometry.canonical_projection`).
        left: column of the window's first pixel in the image.
        top: row of the window's first pixel.
        width: columns of the window.
        height: rows of the window.
        steps_per_voxel: samples a voxel (:func:`sample_step`).
        unit: (3,) length of the canonical axes' units in the unit of the density, (1, 1, 1) by Lift3D's convention; a
            field that was isotropic before it was cut to the box gives the box's half size.
        spacing: pixels between rays where the picture is smooth (:func:`datamodules.shapes.lattice.on_lattice`).

    Returns:
        (height, width, 4) uint8 colour premultiplied by opacity, and (height, width) float32 expected depth in metres,
        0 where nothing is.
    """
    prepared = grid if isinstance(grid, PreparedGrid) else prepare_grid(grid)
    projection = np.ascontiguousarray(projection, dtype=np.float64)
    unit = np.asarray(unit, dtype=np.float64)
    origin, matrix = grid_rays(projection, prepared.shape)
    step = sample_step(projection, prepared.shape, unit, steps_per_voxel)
    metric = 2.0 * unit / np.array(prepared.shape)
    table = opacity_table(step / OPACITY_STEP)

    def cast(pixels: np.ndarray, rgba: np.ndarray, depth: np.ndarray) -> None:
        _cast(
            prepared.data, prepared.skip, prepared.low, prepared.high, origin, matrix, metric,
            left, top, step, NEAR, table, pixels, rgba, depth,
        )  # fmt: skip

    return on_lattice(cast, width, height, spacing)

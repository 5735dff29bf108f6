"""Assets that are baked voxel grids, with coarser grids for objects whose voxels are smaller than pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from datamodules.assets import Layer
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame
from datamodules.voxel_render import OPACITY_STEP as OPACITY_STEP
from datamodules.voxel_render import PreparedGrid, prepare_grid, render_voxels
from datamodules.window import draw

MIN_EDGE = 6  # voxels; a grid is not halved below this


@njit(nogil=True, cache=True)
def _halve_even(grid: np.ndarray, out: np.ndarray) -> None:
    """Average 2 x 2 x 2 voxels: opacity plainly, colour weighted by opacity."""
    for x in range(out.shape[0]):
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                red = green = blue = alpha = 0
                for i in range(2):
                    for j in range(2):
                        for k in range(2):
                            a = int(grid[2 * x + i, 2 * y + j, 2 * z + k, 3])
                            if a > 0:
                                alpha += a
                                red += a * int(grid[2 * x + i, 2 * y + j, 2 * z + k, 0])
                                green += a * int(grid[2 * x + i, 2 * y + j, 2 * z + k, 1])
                                blue += a * int(grid[2 * x + i, 2 * y + j, 2 * z + k, 2])
                if alpha > 0:
                    out[x, y, z, 0] = (red + alpha // 2) // alpha
                    out[x, y, z, 1] = (green + alpha // 2) // alpha
                    out[x, y, z, 2] = (blue + alpha // 2) // alpha
                    out[x, y, z, 3] = (alpha + 4) // 8


def _area_matrix(count: int, target: int) -> np.ndarray:
    """(target, count) share of each of ``count`` equal cells in each of ``target`` equal cells; rows sum to 1."""
    edges = np.arange(target + 1) * (count / target)
    low = np.maximum(edges[:-1, None], np.arange(count))
    high = np.minimum(edges[1:, None], np.arange(count) + 1)
    return (np.maximum(high - low, 0.0) * (target / count)).astype(np.float32)


def halve_grid(grid: np.ndarray) -> np.ndarray:
    """Half the resolution of a (X, Y, Z, 4) uint8 grid over the same cube (odd edges are rounded down)."""
    shape = tuple(max(n // 2, 1) for n in grid.shape[:3])
    out = np.zeros((*shape, 4), dtype=np.uint8)
    if all(n % 2 == 0 for n in grid.shape[:3]):
        _halve_even(grid, out)
        return out
    alpha = grid[..., 3:].astype(np.float32)
    values = np.concatenate([grid[..., :3] * alpha, alpha], -1)
    for axis, target in enumerate(shape):
        values = np.moveaxis(np.tensordot(_area_matrix(grid.shape[axis], target), values, (1, axis)), 0, axis)
    out[..., 3] = np.rint(values[..., 3])
    out[..., :3] = np.rint(values[..., :3] / np.maximum(values[..., 3:], 1e-6)).clip(0, 255) * (out[..., 3:] > 0)
    return out


@dataclass(frozen=True)
class VoxelAsset:
    """One baked object.

    Attributes:
        id: unique within its source.
        name: class name in the data set's spelling.
        dims: (3,) float64 natural length, height, width in metres.
        grid: (X, Y, Z, 4) uint8 straight colour and opacity per :data:`OPACITY_STEP` (see
            :mod:`datamodules.voxel_render`).
        pose: always None: it may be drawn anywhere.
    """

    id: str
    name: str
    dims: np.ndarray
    grid: np.ndarray
    pose: Boxes3D | None = None
    _levels: dict[int, PreparedGrid] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.grid.ndim != 4 or self.grid.shape[-1] != 4 or self.grid.dtype != np.uint8:
            raise InputError(
                f"voxel grid of {self.id}: expected uint8 (X, Y, Z, 4), got {self.grid.dtype} {self.grid.shape};"
                " bake it again"
            )

    def __getstate__(self) -> dict[str, object]:
        """Workers prepare grids themselves: only the grid travels."""
        return {**self.__dict__, "_levels": {}, "grid": np.asarray(self.grid)}

    def level(self, index: int) -> PreparedGrid:
        """The grid halved ``index`` times and prepared; computed once. Threads may race, to the same result."""
        prepared = self._levels.get(index)
        if prepared is None:
            grid = np.ascontiguousarray(self.grid)
            for _ in range(index):
                grid = halve_grid(grid)
            prepared = self._levels[index] = prepare_grid(grid)
        return prepared

    def render_window(
        self, projection: np.ndarray, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render a window with the grid whose voxels come closest to pixels (a ``RenderWindow``)."""
        level = self._level_for(projection)
        return render_voxels(self.level(level), projection, left, top, width, height)

    def _level_for(self, projection: np.ndarray) -> int:
        depth = max(projection[2, 3], 1e-3)  # of the cube's centre
        centre = projection[:2, 3] / depth
        jacobian = (projection[:2, :3] - centre[:, None] * projection[2, :3]) / depth  # pixels a canonical unit
        voxel = np.linalg.norm(jacobian, axis=0) * 2.0 / np.array(self.grid.shape[:3])
        level = math.floor(math.log2(1.0 / max(float(voxel.max()), 1e-6)) + 0.25)
        deepest = int(math.log2(max(min(self.grid.shape[:3]) / MIN_EDGE, 1.0)))
        return min(max(level, 0), deepest)

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.Asset.render`)."""
        return draw(camera, box, self.render_window)

"""Assets that are baked voxel grids."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from datamodules.assets.contract import Layer
from datamodules.assets.cube_render import render_cube, sketch_cube
from datamodules.assets.visibility import EVERYWHERE, Visibility
from datamodules.assets.voxels.voxel_render import OPACITY_STEP as OPACITY_STEP
from datamodules.assets.voxels.voxel_render import PreparedGrid, prepare_grid, render_voxels
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame
from datamodules.shapes.lattice import spacing_for

STEPS_PER_PIXEL = 0.7  # samples a pixel's width along a ray: closer ones cost time and change the image by < .2 dB
TINY = 24.0  # pixels of height; a pixel of a smaller object takes the average of four rays
MIN_STEPS = 0.4  # samples a voxel; fewer would jump over thin parts such as wing mirrors


@dataclass(frozen=True)
class VoxelAsset:
    """One baked object.

    Attributes:
        id: unique within its source.
        name: class name in the data set's spelling.
        dims: (3,) float64 natural length, height, width in metres.
        grid: (X, Y, Z, 4) uint8 straight colour and opacity per :data:`OPACITY_STEP` (see
            :mod:`datamodules.assets.voxels.voxel_render`).
        seen: (K, 2) observation angle and elevation, radians, from which it was photographed, its mirrored side's
            included where that was learnt; none where it was seen from all around, or nobody knows.
        visibility: the directions it may be seen from.
    """

    id: str
    name: str
    dims: np.ndarray
    grid: np.ndarray
    seen: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)), compare=False)
    visibility: Visibility = field(default=EVERYWHERE, repr=False, compare=False)
    _prepared: list[PreparedGrid] = field(default_factory=list, init=False, repr=False, compare=False)
    pose = None

    def __post_init__(self) -> None:
        if self.grid.ndim != 4 or self.grid.shape[-1] != 4 or self.grid.dtype != np.uint8:
            raise InputError(
                f"voxel grid of {self.id}: expected uint8 (X, Y, Z, 4), got {self.grid.dtype} {self.grid.shape};"
                " bake it again"
            )

    def __getstate__(self) -> dict[str, object]:
        """Workers prepare grids themselves: only the grid travels."""
        return {**self.__dict__, "_prepared": [], "grid": np.asarray(self.grid)}

    @property
    def prepared(self) -> PreparedGrid:
        """The grid ready for rendering; computed once. Threads may race, to the same result."""
        if not self._prepared:
            self._prepared.append(prepare_grid(np.ascontiguousarray(self.grid)))
        return self._prepared[0]

    def render_window(
        self, projection: np.ndarray, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render a window (a ``RenderWindow``): fewer samples a ray for voxels smaller than pixels, else fewer rays.

        Coarser grids would be quicker still, but the average of a surface's voxels is a fog around it: halved grids
        came out 3 to 4 % too large and 5 to 15 dB further from a supersampled image than the grid itself.
        """
        pixels = voxel_pixels(projection, self.grid.shape)
        steps, spacing = steps_per_voxel(pixels), spacing_for(pixels)
        return render_voxels(self.prepared, projection, left, top, width, height, steps, spacing=spacing)

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.contract.Asset.render`)."""
        return render_cube(camera, box, self.render_window, TINY)

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        """See roughly (:meth:`datamodules.assets.contract.Sketched.sketch`)."""
        return sketch_cube(camera, box, self.render_window, TINY)


def steps_per_voxel(pixels: float) -> float:
    """Samples a voxel along a ray, for voxels of an edge of ``pixels``."""
    return min(max(STEPS_PER_PIXEL * pixels, MIN_STEPS), 1.0)


@njit(nogil=True, cache=True)
def voxel_pixels(projection: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest edge, in pixels, of a voxel at the centre of a cube of (X, Y, Z, ...) voxels seen by (3, 4)."""
    depth = max(projection[2, 3], 1e-3)
    x, y = projection[0, 3] / depth, projection[1, 3] / depth
    largest = 0.0
    for axis in range(3):
        across = (projection[0, axis] - x * projection[2, axis]) / depth  # pixels a canonical unit
        down = (projection[1, axis] - y * projection[2, axis]) / depth
        largest = max(largest, np.sqrt(across * across + down * down) * 2.0 / shape[axis])
    return largest

"""Pseudo-depth of a photographed object whose box is known: that of a typical one of its class drawn at the box.

Of a few of the studio's, cars as a rule, stretched to the box, the one is taken whose outline fits the object's mask
best. No estimator is asked, and depth has the scale that the label states.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.shapes import street, vehicles
from datamodules.shapes.meshes import CarMesh, car
from datamodules.shapes.raycast import pixel_rays, ray_scene

COARSE = 32  # pixels a side at which outlines are compared


SHAPES: dict[str, Callable[[np.random.Generator], CarMesh]] = {  # of KITTI's classes that no car resembles
    "Pedestrian": street.pedestrian,
    "Person_sitting": street.pedestrian,
    "Cyclist": street.cyclist,
    "Truck": vehicles.truck,
    "Tram": vehicles.bus,
}


class ShapePrior:
    """Depth of the best-fitting of some shapes.

    Args:
        cars: how many; cars are the first of the studio's population.
        seed: of the population.
        name: class; those of :data:`SHAPES` are drawn as such, all others as cars.

    Raises:
        InputError: no shapes.
    """

    def __init__(self, cars: int = 8, seed: int = 0, name: str = "Car") -> None:
        if cars < 1:
            raise InputError(f"prior cars {cars}: expected at least 1; correct data.prior_cars")
        self.cars, self.seed, self.name = cars, seed, name

    def depth(self, projection: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, float]:
        """Depth (S, S) float32 metres, NaN where the chosen shape does not show, and the outlines' IoU.

        Args:
            projection: (3, 4) from the object's canonical box to pixels, third row depth in metres.
            alpha: (S, S) uint8 the object's mask.
        """
        size = len(alpha)
        step = max(size // COARSE, 1)
        mask = alpha[::step, ::step] > 127
        agreement = []
        for number in range(self.cars):
            covered = ~np.isnan(_cast(self._car(number), projection, size, step))
            agreement.append(float((covered & mask).sum() / max((covered | mask).sum(), 1)))
        best = int(np.argmax(agreement))
        return _cast(self._car(best), projection, size, 1), agreement[best]

    def _car(self, number: int) -> CarMesh:
        return car("studio", number, self.seed) if self.name not in SHAPES else _shape(self.name, number, self.seed)


@cache
def _shape(name: str, number: int, seed: int) -> CarMesh:
    return SHAPES[name](derive(seed, "shape prior", name, number))


def _cast(mesh: CarMesh, projection: np.ndarray, size: int, step: int) -> np.ndarray:
    """Depth of every ``step``-th pixel of a square picture, NaN where nothing is, of a mesh stretched to the box."""
    origin, directions = pixel_rays(projection, 0, 0, size, size, 1)
    directions = directions.reshape(size, size, 3)[::step, ::step]
    half = mesh.dims / 2
    hits = ray_scene(mesh.mesh).nearest(origin * half, (directions.reshape(-1, 3) * half).astype(np.float32))
    return np.where(hits.triangle >= 0, hits.distance, np.float32(np.nan)).reshape(directions.shape[:2])

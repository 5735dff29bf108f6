"""Parametric vehicles: right proportions, standing on the ground, boxes that their meshes fill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from datamodules.randomness import derive
from datamodules.shapes import street, vehicles
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import GLASS, HEADLIGHT, TAILLIGHT

SIZES: dict[
    str, tuple[Callable[[np.random.Generator], CarMesh], tuple[float, float, float], tuple[float, float, float]]
]
SIZES = {
    "truck": (vehicles.truck, (5.5, 2.2, 2.1), (9.0, 3.7, 2.9)),
    "bus": (vehicles.bus, (9.0, 2.8, 2.3), (12.8, 3.5, 2.8)),
    "trailer": (vehicles.trailer, (6.8, 3.2, 2.3), (11.0, 4.0, 2.7)),
    "construction_vehicle": (vehicles.construction_vehicle, (4.3, 2.4, 1.9), (7.0, 3.8, 2.9)),
    "motorcycle": (lambda rng: vehicles.motorcycle(rng, True), (1.8, 1.5, 0.5), (2.4, 1.9, 1.0)),
    "scooter": (lambda rng: vehicles.motorcycle(rng, False), (1.8, 0.9, 0.5), (2.4, 1.3, 1.0)),
    "bicycle": (street.bicycle, (1.5, 0.9, 0.4), (1.9, 1.2, 0.7)),
    "cone": (vehicles.traffic_cone, (0.3, 0.55, 0.3), (0.5, 1.0, 0.5)),
    "barrier": (vehicles.barrier, (0.4, 0.8, 1.7), (0.6, 1.2, 2.7)),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_boxes(name: str) -> None:
    make, low, high = SIZES[name]
    for index in range(12):
        thing = make(derive(0, name, index))
        assert (thing.dims >= low).all(), thing.dims
        assert (thing.dims <= high).all(), thing.dims
        np.testing.assert_allclose(thing.mesh.bounds, [-thing.dims / 2, thing.dims / 2], atol=1e-4)
        assert np.isfinite(thing.mesh.normals).all()
        assert (thing.mesh.colour >= 0).all()
        assert (thing.mesh.colour <= 1).all()


@pytest.mark.parametrize("name", ["truck", "bus", "motorcycle"])
def test_lamps_tell_front_from_rear(name: str) -> None:
    thing = SIZES[name][0](derive(1, name))
    middle = thing.mesh.triangles.mean(1)
    assert middle[thing.mesh.part == HEADLIGHT, 0].min() > 0.2 * thing.dims[0]
    assert middle[thing.mesh.part == TAILLIGHT, 0].max() < -0.4 * thing.dims[0]
    if name != "motorcycle":
        assert (thing.mesh.part == GLASS).any()


def test_no_two_are_alike() -> None:
    for name, (make, _, _) in SIZES.items():
        first, second = make(derive(0, name, 0)), make(derive(0, name, 1))
        same = len(first.mesh) == len(second.mesh) and np.array_equal(first.mesh.colour, second.mesh.colour)
        assert not same or not np.allclose(first.dims, second.dims)


def test_same_generator_same_mesh() -> None:
    a, b = (vehicles.bus(derive(2, "bus")) for _ in range(2))
    np.testing.assert_array_equal(a.mesh.triangles, b.mesh.triangles)

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import InputError
from lit.rendering.marching_cubes import marching_cubes, triangles_of_cases


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(-0.8, 0.8))
def test_any_surface_is_closed_and_faces_outwards(seed: int, bias: float) -> None:
    inner = np.random.default_rng(seed).uniform(-1, 1, (5, 4, 6)) + bias
    values = np.pad(inner, 1, constant_values=-1.0)
    vertices, faces = marching_cubes(values, 0.0)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts % 2 == 0).all()
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forth, back = (sorted(map(tuple, way)) for way in (directed, directed[:, ::-1]))
    assert forth == back  # each edge is walked as often one way as the other
    if len(faces):
        a, b, c = vertices[faces].transpose(1, 0, 2)
        assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0


def test_a_sphere_has_its_radius_area_and_volume() -> None:
    places = np.linspace(-1.5, 1.5, 41)
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(places, places, places, indexing="ij")))
    vertices, faces = marching_cubes(-distance, -1.0)
    sphere = trimesh.Trimesh(vertices * (3 / 40) - 1.5, faces)
    assert sphere.is_watertight
    assert sphere.volume == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert sphere.area == pytest.approx(4 * np.pi, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(sphere.vertices, axis=1), 1.0, atol=2e-3)


def test_a_plane_lies_where_the_values_say() -> None:
    values = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 3, 3))
    vertices, faces = marching_cubes(values, 1.25)
    np.testing.assert_allclose(vertices[:, 0], 1.25)
    assert len(faces) == 8


def test_cases_mirror_each_other_and_nothing_gives_nothing() -> None:
    table = triangles_of_cases()
    counts = (table[..., 0] >= 0).sum(1)
    assert counts[0] == counts[255] == 0
    assert counts.max() <= 5
    assert (counts[[1 << corner for corner in range(8)]] == 1).all()
    assert marching_cubes(np.zeros((2, 2, 2)), 1.0)[1].shape == (0, 3)
    with pytest.raises(InputError, match="at least two points"):
        marching_cubes(np.zeros((2, 1, 2)), 0.0)

"""Surfaces of constant value in a lattice by marching cubes.

Source: Lorensen and Cline, SIGGRAPH 1987. The table of cases is derived here, not copied: on each face of a cube the
corners inside are cut off one run at a time, the same way by both cubes that share the face. So surfaces have no holes,
which the original table leaves between some neighbours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from datamodules.errors import InputError

CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
CUBE_EDGES = [(a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit]
"""Corners of the twelve edges: four along each axis in turn, from the lower corner."""
FACES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
"""Corners of the six faces, counter-clockwise as seen from outside."""


@lru_cache
def triangles_of_cases() -> np.ndarray:
    """(256, T, 3) edges of each case's triangles, -1 where there are fewer; bit c of a case: corner c is inside."""
    number = {frozenset(edge): place for place, edge in enumerate(CUBE_EDGES)}
    found = [_triangles(case, number) for case in range(256)]
    table = np.full((256, max(map(len, found)), 3), -1)
    for case, triangles in enumerate(found):
        if triangles:
            table[case, : len(triangles)] = triangles
    return table


def _triangles(case: int, number: dict[frozenset[int], int]) -> list[tuple[int, int, int]]:
    """Triangles of one case: the cuts of its faces, joined to loops, each a fan; they face outwards."""
    inside = [bool(case >> corner & 1) for corner in range(8)]
    onwards: dict[int, int] = {}
    for face in FACES:
        for place in range(4):
            if not inside[face[place - 1]] and inside[face[place]]:  # a run of inside corners begins
                end = place
                while inside[face[(end + 1) % 4]]:
                    end += 1
                enter = number[frozenset((face[place - 1], face[place]))]
                leave = number[frozenset((face[end % 4], face[(end + 1) % 4]))]
                onwards[enter] = leave
    triangles = []
    while onwards:
        first, edge = onwards.popitem()
        loop = [first]
        while edge != first:
            loop.append(edge)
            edge = onwards.pop(edge)
        triangles += [(loop[0], loop[i], loop[i + 1]) for i in range(1, len(loop) - 1)]
    return triangles


def marching_cubes(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The surface around all points whose value is above a level.

    Args:
        values: (X, Y, Z) at the points of a lattice, at least two along each axis.
        level: of the surface.

    Returns:
        Vertices (V, 3) in steps of the lattice, and triangles (T, 3) of them, counter-clockwise from outside. The
        surface is open where it reaches the lattice's end.

    Raises:
        InputError: a lattice without cells.
    """
    if values.ndim != 3 or min(values.shape) < 2:
        raise InputError(f"lattice of shape {values.shape}: expected at least two points along three axes")
    inside = values > level
    vertices: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    count = 0
    for axis in range(3):
        low, high = (np.take(values, range(start, values.shape[axis] - 1 + start), axis) for start in (0, 1))
        crossed = (low > level) != (high > level)
        place = np.argwhere(crossed)
        start, end = low[crossed].astype(np.float64), high[crossed].astype(np.float64)
        points = place.astype(np.float64)
        points[:, axis] += (level - start) / (end - start)
        numbers = np.full(crossed.shape, -1)
        numbers[crossed] = count + np.arange(len(place))
        vertices.append(points)
        ids.append(numbers)
        count += len(place)
    cells = tuple(size - 1 for size in values.shape)
    case = np.zeros(cells, np.int64)
    for corner, (i, j, k) in enumerate(CORNERS):
        case |= inside[i : i + cells[0], j : j + cells[1], k : k + cells[2]].astype(np.int64) << corner
    where = np.argwhere((case > 0) & (case < 255))
    edges = triangles_of_cases()[case[tuple(where.T)]]  # (N, T, 3)
    cell, triangle = np.nonzero(edges[..., 0] >= 0)
    chosen = edges[cell, triangle]  # (M, 3)
    faces = np.empty_like(chosen)
    for number, (corner, _) in enumerate(CUBE_EDGES):
        here = chosen == number
        at = (where[cell] + CORNERS[corner])[np.nonzero(here)[0]]
        faces[here] = ids[number // 4][tuple(at.T)]
    return np.concatenate(vertices), faces

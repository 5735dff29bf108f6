"""Triangle soups with smooth normals, and the surfaces that street objects are assembled from.

All meshes live in an object frame in metres: x forward, y down, z to the object's left (KITTI's object frame at yaw 0).
Soups, not indexed meshes: a frame is one concatenation, and a ray hit needs one gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datamodules.geometry import Columns

# Part labels, also the values of the studio's part images (0 is background).
PAINT, GLASS, TYRE, RIM, HEADLIGHT, TAILLIGHT, TRIM, PLATE, OTHER = range(1, 10)
PART_NAMES = ("background", "paint", "glass", "tyre", "rim", "headlight", "taillight", "trim", "plate", "other")


@dataclass(frozen=True)
class Mesh(Columns):
    """A triangle soup.

    Attributes:
        triangles: (T, 3, 3) float32 corner positions, metres.
        normals: (T, 3, 3) float32 unit corner normals.
        colour: (T, 3) float32 linear albedo in [0, 1].
        gloss: (T,) float32 strength of reflections in [0, 1].
        part: (T,) uint8 part labels, see :data:`PART_NAMES`.
    """

    triangles: np.ndarray
    normals: np.ndarray
    colour: np.ndarray
    gloss: np.ndarray
    part: np.ndarray

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) lowest and highest corner."""
        points = self.triangles.reshape(-1, 3)
        return np.stack([points.min(0), points.max(0)])

    def transformed(self, rotation: np.ndarray, translation: np.ndarray) -> Mesh:
        """Rotate (3, 3), then translate (3,)."""
        rotation = np.asarray(rotation, np.float32)
        return replace(
            self,
            triangles=self.triangles @ rotation.T + np.asarray(translation, np.float32),
            normals=self.normals @ rotation.T,
        )

    def moved(self, x: float, y: float, z: float) -> Mesh:
        """Translate."""
        return replace(self, triangles=self.triangles + np.array([x, y, z], np.float32))

    def scaled(self, factors: np.ndarray) -> Mesh:
        """Scale the axes by (3,) positive factors; normals follow by the inverse."""
        normals = self.normals / np.asarray(factors, np.float32)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        return replace(self, triangles=self.triangles * np.asarray(factors, np.float32), normals=normals)

    def fitted(self, dims: np.ndarray) -> Mesh:
        """Centre the mesh on the origin and scale it to exactly length, height, width (3,) metres."""
        low, high = self.bounds
        length, height, width = dims
        factors = np.array([length, height, width]) / np.maximum(high - low, 1e-6)
        middle = (low + high) / 2
        return self.moved(*(-middle)).scaled(factors)


def soup(
    triangles: np.ndarray,
    normals: np.ndarray,
    colour: np.ndarray | Sequence[float],
    gloss: float | np.ndarray,
    part: int | np.ndarray,
) -> Mesh:
    """Build a :class:`Mesh`, broadcasting colour, gloss and part, and dropping triangles without area."""
    count = len(triangles)
    edges = triangles[:, 1:] - triangles[:, :1]
    keep = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=-1) > 1e-9
    return Mesh(
        triangles[keep].astype(np.float32),
        normals[keep].astype(np.float32),
        np.broadcast_to(np.asarray(colour, np.float32), (count, 3))[keep],
        np.broadcast_to(np.asarray(gloss, np.float32), (count,))[keep],
        np.broadcast_to(np.asarray(part, np.uint8), (count,))[keep],
    )


def grid(
    points: np.ndarray,
    colour: np.ndarray | Sequence[float],
    gloss: float | np.ndarray = 0.0,
    part: int | np.ndarray = OTHER,
    closed: bool = False,
    smooth: bool = True,
) -> Mesh:
    """A surface through a grid of points, two triangles a cell.

    Args:
        points: (R, C, 3) grid.
        colour: (3,) or (R-1, C', 3) per cell, where C' = C when ``closed`` else C - 1.
        gloss: scalar or (R-1, C').
        part: scalar or (R-1, C').
        closed: join the last column to the first.
        smooth: average normals at the grid's points; flat cells otherwise.
    """
    if closed:
        points = np.concatenate([points, points[:, :1]], 1)
    rows, columns = points.shape[0] - 1, points.shape[1] - 1
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    flat = np.cross(c - a, d - b)  # area-weighted cell normals
    if smooth:
        vertex = np.zeros(points.shape)
        first, last = slice(0, -1), slice(1, None)
        for rs, cs in ((first, first), (first, last), (last, last), (last, first)):
            vertex[rs, cs] += flat
        if closed:
            vertex[:, 0] = vertex[:, -1] = vertex[:, 0] + vertex[:, -1]
        corner = [vertex[:-1, :-1], vertex[:-1, 1:], vertex[1:, 1:], vertex[1:, :-1]]
    else:
        corner = [flat, flat, flat, flat]
    unit = [n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-12) for n in corner]
    triangles = np.stack([np.stack([a, b, c], -2), np.stack([a, c, d], -2)], 2).reshape(-1, 3, 3)
    normals = np.stack([np.stack(unit[:3], -2), np.stack([unit[0], unit[2], unit[3]], -2)], 2).reshape(-1, 3, 3)

    def cells(value: float | int | np.ndarray | Sequence[float], tail: tuple[int, ...]) -> np.ndarray:
        return np.repeat(np.broadcast_to(np.asarray(value), (rows, columns, *tail)).reshape(-1, *tail), 2, axis=0)

    return soup(triangles, normals, cells(colour, (3,)), cells(gloss, ()), cells(part, ()))


def _unit_box() -> tuple[np.ndarray, np.ndarray]:
    """Triangles and normals (12, 3, 3) of the cube [-1/2, 1/2]^3."""
    triangles, normals = [], []
    for axis in range(3):
        u, v = [a for a in range(3) if a != axis]
        for sign in (-0.5, 0.5):
            corner = np.zeros((4, 3))
            corner[:, axis] = sign
            corner[:, u], corner[:, v] = (-0.5, 0.5, 0.5, -0.5), (-0.5, -0.5, 0.5, 0.5)
            normal = np.zeros((3, 3))
            normal[:, axis] = 2 * sign
            triangles += [corner[[0, 1, 2]], corner[[0, 2, 3]]]
            normals += [normal, normal]
    return np.stack(triangles), np.stack(normals)


_BOX_TRIANGLES, _BOX_NORMALS = _unit_box()


def box(
    size: Sequence[float],
    centre: Sequence[float],
    colour: np.ndarray | Sequence[float],
    gloss: float = 0.0,
    part: int = OTHER,
) -> Mesh:
    """An axis-aligned box of ``size`` (x, y, z) metres around ``centre``, flat shaded."""
    return soup(_BOX_TRIANGLES * np.asarray(size) + np.asarray(centre), _BOX_NORMALS, colour, gloss, part)


def revolve(
    profile: np.ndarray,
    axis: str,
    segments: int,
    colour: np.ndarray | Sequence[float],
    gloss: float = 0.0,
    part: int | np.ndarray = OTHER,
) -> Mesh:
    """A surface of revolution about "y" or "z" through the origin.

    Args:
        profile: (R, 2) distance from the axis and position along it, metres.
        colour: (3,) or (R-1, segments, 3).
    """
    angle = np.arange(segments) * (2 * np.pi / segments)
    radius, along = profile[:, :1], profile[:, 1:]
    p, q, w = radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(along, (len(profile), segments))
    points = np.stack([p, w, q] if axis == "y" else [p, q, w], -1)
    return grid(points, colour, gloss, part, closed=True)


def cylinder(radius: float, bottom: float, top: float, colour: Sequence[float] | np.ndarray, segments: int = 8) -> Mesh:
    """An upright cylinder from y = ``bottom`` to y = ``top`` with both caps."""
    profile = np.array([[0.0, bottom], [radius, bottom], [radius, top], [0.0, top]])
    return revolve(profile, "y", segments, colour)


def ellipsoid(
    radii: Sequence[float],
    centre: Sequence[float],
    colour: Sequence[float] | np.ndarray,
    segments: int = 8,
    rings: int = 5,
    part: int = OTHER,
) -> Mesh:
    """An ellipsoid with half axes ``radii`` (x, y, z)."""
    polar = np.linspace(0, np.pi, rings + 1)
    ball = revolve(np.stack([np.sin(polar), -np.cos(polar)], 1), "y", segments, colour, part=part)
    return ball.scaled(np.asarray(radii)).moved(*centre)


def limb(
    start: Sequence[float], end: Sequence[float], radius: float, colour: Sequence[float] | np.ndarray, segments: int = 6
) -> Mesh:
    """A cylinder between two points."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    direction = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    helper = np.array([1.0, 0, 0]) if abs(direction[0]) < 0.9 else np.array([0.0, 0, 1])
    u = np.cross(direction, helper)
    u /= np.linalg.norm(u)
    v = np.cross(direction, u)
    angle = np.arange(segments) * (2 * np.pi / segments)
    ring = radius * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v)
    rows = np.stack([np.zeros_like(ring) + a, ring + a, ring + b, np.zeros_like(ring) + b])
    return grid(rows, colour, closed=True)

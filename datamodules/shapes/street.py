"""Everything on a street that is not a car: people, cyclists, poles, signs, bins, plants and buildings.

Frames as in :mod:`datamodules.shapes.primitives`. People and cyclists are centred on their box like cars; the
rest stands on y = 0.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from datamodules.randomness import derive
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import Mesh, box, cylinder, ellipsoid, grid, limb, revolve

CROWNS = 40  # distinct crowns; drawn once, because leaves are most of a street's triangles

SKIN = ((0.55, 0.33, 0.22), (0.35, 0.18, 0.10), (0.16, 0.08, 0.05), (0.65, 0.42, 0.32))


def cloth(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour of clothes, linear."""
    return colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0, 0.8)), float(rng.uniform(0.03, 0.6)))


def _person(rng: np.random.Generator, height: float, stride: float) -> list[Mesh]:
    """Standing or walking towards +x, feet at y = 0."""
    skin, shirt, trousers = SKIN[rng.integers(len(SKIN))], cloth(rng), cloth(rng)
    hip, shoulder = -0.48 * height, -0.81 * height
    parts = [
        ellipsoid((0.15, 0.19 * height, 0.21), (0, -0.65 * height, 0), shirt),
        ellipsoid((0.10, 0.125, 0.09), (0.01, -0.93 * height, 0), skin),
        ellipsoid((0.105, 0.07, 0.095), (-0.015, -0.965 * height, 0), (0.05, 0.03, 0.02)),
    ]
    for side in (-1.0, 1.0):
        step = stride * side
        parts.append(limb((0, hip, 0.09 * side), (step, -0.04, 0.09 * side), 0.075, trousers))
        parts.append(limb((0, shoulder, 0.22 * side), (-step * 0.8, hip, 0.25 * side), 0.05, shirt))
        parts.append(box((0.24, 0.07, 0.09), (step + 0.05, -0.035, 0.09 * side), (0.03, 0.03, 0.03)))
    return parts


def centred(name: str, identity: str, parts: list[Mesh]) -> CarMesh:
    """An object whose box is the bounds of its parts, in the parts' own orientation."""
    mesh = Mesh.concatenate(parts)
    low, high = mesh.bounds
    size = (high - low).astype(float)
    return CarMesh(identity, name, size, mesh.moved(*(-(low + high) / 2)), name.lower())


def pedestrian(rng: np.random.Generator) -> CarMesh:
    """One pedestrian, box as in KITTI (about 0.8 × 1.75 × 0.6 m)."""
    return centred(
        "Pedestrian", "pedestrian", _person(rng, float(rng.uniform(1.55, 1.9)), float(rng.uniform(0.05, 0.4)))
    )


def _bicycle_parts(frame: tuple[float, float, float], saddle: tuple[float, float, float]) -> list[Mesh]:
    """Wheels, frame and handlebar, towards +x on y = 0."""
    wheel = revolve(np.array([[0.34, -0.02], [0.34, 0.02], [0.27, 0.02], [0.27, -0.02]]), "z", 14, (0.02, 0.02, 0.02))
    return [
        wheel.moved(0.53, -0.34, 0),
        wheel.moved(-0.53, -0.34, 0),
        limb((-0.53, -0.34, 0), saddle, 0.025, frame),
        limb(saddle, (0.45, -0.85, 0), 0.025, frame),
        limb((0.53, -0.34, 0), (0.42, -1.02, 0.0), 0.025, frame),
        limb((0.0, -0.30, 0), (0.45, -0.8, 0), 0.025, frame),
        limb((0.42, -1.02, -0.25), (0.42, -1.02, 0.25), 0.02, (0.02, 0.02, 0.02)),
    ]


def bicycle(rng: np.random.Generator) -> CarMesh:
    """One bicycle without a rider (about 1.75 × 1.05 × 0.5 m)."""
    saddle = (-0.18, -0.92, 0.0)
    parts = _bicycle_parts(cloth(rng), saddle)
    parts.append(box((0.26, 0.07, 0.14), (saddle[0], saddle[1] - 0.04, 0), (0.02, 0.02, 0.02)))
    return centred("Bicycle", "bicycle", parts)


def cyclist(rng: np.random.Generator) -> CarMesh:
    """One cyclist riding towards +x, bicycle included (about 1.75 × 1.75 × 0.6 m)."""
    skin, shirt, trousers, frame = SKIN[rng.integers(len(SKIN))], cloth(rng), cloth(rng), cloth(rng)
    saddle, shoulder = (-0.18, -0.92, 0.0), (0.12, -1.40, 0.0)
    parts = [
        *_bicycle_parts(frame, saddle),
        limb((-0.16, -0.95, 0), shoulder, 0.16, shirt, 8),
        ellipsoid((0.11, 0.13, 0.09), (0.20, -1.62, 0), skin),
        ellipsoid((0.13, 0.08, 0.10), (0.18, -1.69, 0), cloth(rng)),
    ]
    for side in (-1.0, 1.0):
        knee = (0.22, -0.68 + 0.15 * side, 0.11 * side)
        parts.append(limb((-0.16, -0.93, 0.09 * side), knee, 0.075, trousers))
        parts.append(limb(knee, (0.02, -0.25 + 0.15 * side, 0.11 * side), 0.06, trousers))
        parts.append(limb((0.12, -1.38, 0.17 * side), (0.42, -1.03, 0.24 * side), 0.045, shirt))
    return centred("Cyclist", "cyclist", parts)


def lamp_post(rng: np.random.Generator) -> Mesh:
    """A street lamp with its arm towards -z."""
    grey, height = [float(rng.uniform(0.05, 0.3))] * 3, float(rng.uniform(5, 8))
    return Mesh.concatenate(
        [
            cylinder(0.08, 0, -height, grey, 6),
            limb((0, -height, 0), (0, -height - 0.3, -1.4), 0.05, grey),
            box((0.2, 0.1, 0.6), (0, -height - 0.3, -1.5), (0.3, 0.3, 0.28)),
        ]
    )


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign that faces -x."""
    rim = [(0.5, 0.02, 0.02), (0.02, 0.08, 0.45), (0.6, 0.45, 0.02)][rng.integers(3)]
    plate = [(0.75, 0.75, 0.72), rim][rng.integers(2)]
    height, sides = float(rng.uniform(2.0, 2.6)), int(rng.choice([3, 4, 8, 12]))
    start = -np.pi / 2 if sides == 3 else np.pi / sides
    angle = start + np.arange(sides) * 2 * np.pi / sides
    rings = [
        np.stack([np.full(sides, -0.07), -height + r * np.sin(angle), r * np.cos(angle)], -1) for r in (0.38, 0.30, 0.0)
    ]
    colours = np.stack([np.broadcast_to(rim, (sides, 3)), np.broadcast_to(plate, (sides, 3))])
    return Mesh.concatenate(
        [cylinder(0.04, 0, -height - 0.3, (0.25, 0.25, 0.25), 6), grid(np.stack(rings), colours, closed=True)]
    )


def bin_(rng: np.random.Generator) -> Mesh:
    """A wheelie bin or a round litter bin."""
    colour = [(0.02, 0.10, 0.03), (0.03, 0.03, 0.04), (0.35, 0.25, 0.02), (0.02, 0.05, 0.22), (0.2, 0.1, 0.05)][
        rng.integers(5)
    ]
    height = float(rng.uniform(0.9, 1.2))
    if rng.random() < 0.35:
        return cylinder(0.27, 0, -height, colour, 10)
    body = box((0.6, height, 0.55), (0, -height / 2 - 0.05, 0), colour)
    return Mesh.concatenate([body, box((0.66, 0.07, 0.6), (0.02, -height - 0.08, 0), np.array(colour) * 0.6)])


@lru_cache(maxsize=CROWNS)
def _crown_shape(index: int) -> Mesh:
    """An irregular unit ball of leaves whose colours are factors from cell to cell."""
    rng = derive(0, "crown", index)
    rings, segments = 7, 10
    polar = np.linspace(0.0, np.pi, rings + 1)[:, None]
    angle = (np.arange(segments) * 2 * np.pi / segments)[None]
    radius = rng.uniform(0.78, 1.15, (rings + 1, segments))
    radius[[0, -1]] = 1.0
    ball = np.stack([np.sin(polar) * np.cos(angle), -np.cos(polar) + 0 * angle, np.sin(polar) * np.sin(angle)], -1)
    return grid(ball * radius[..., None], rng.uniform(0.55, 1.35, (rings, segments, 1)), closed=True)


def _crown(rng: np.random.Generator, radii: Sequence[float], centre: Sequence[float]) -> Mesh:
    """A ball of leaves with half axes ``radii``, one of a few shapes in any green."""
    hue, saturation, value = rng.uniform((0.20, 0.5, 0.08), (0.36, 0.85, 0.22))
    shape = _crown_shape(int(rng.integers(CROWNS))).scaled(np.asarray(radii)).moved(*centre)
    return replace(shape, colour=shape.colour * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32))


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk with two or three overlapping crowns."""
    trunk, size = float(rng.uniform(1.8, 3.0)), float(rng.uniform(1.3, 2.4))
    parts = [cylinder(float(rng.uniform(0.1, 0.22)), 0, -trunk - 0.5, (0.09, 0.06, 0.04), 6)]
    for _ in range(int(rng.integers(2, 4))):
        dx, dy, dz = rng.normal(0, 0.35, 3) * size
        parts.append(_crown(rng, (size, size * 0.9, size), (dx, -trunk - size * 0.8 + dy, dz)))
    return Mesh.concatenate(parts)


def bush(rng: np.random.Generator) -> Mesh:
    """A low bush or a stretch of hedge."""
    length, height = float(rng.uniform(0.5, 2.0)), float(rng.uniform(0.4, 0.9))
    return _crown(rng, (length, height, 0.6), (0.0, -height * 0.7, 0.0))


def building(rng: np.random.Generator, length: float) -> Mesh:
    """A house front in the plane z = 0 seen from -z, ``length`` metres along x, with side walls and a roof.

    Windows and doors are cells of the wall's grid.
    """
    depth, storeys = 8.0, int(rng.integers(1, 5))
    storey = float(rng.uniform(2.7, 3.3))
    height = storeys * storey + 0.6
    warm, value = float(rng.uniform(0.02, 0.13)), float(rng.uniform(0.12, 0.6))
    wall = np.array(colorsys.hsv_to_rgb(warm, float(rng.uniform(0.0, 0.55)), value))
    glass, frame = np.full(3, rng.uniform(0.02, 0.10)), wall * float(rng.uniform(0.6, 1.3))
    bays = max(int(length / rng.uniform(2.0, 3.4)), 1)

    def front(width: float, count: int, lively: bool) -> tuple[np.ndarray, np.ndarray]:
        """Grid coordinates and cell colours of one wall: bays by storeys, each window with a sill."""
        across = np.concatenate([[0.0], ((np.arange(count)[:, None] + [0.28, 0.72]) / count).ravel(), [1.0]]) * width
        rise = np.concatenate(
            [[0.0], (np.arange(storeys)[:, None] * storey + np.array([0.9, 1.0, 2.3])).ravel(), [height]]
        )
        colours = np.broadcast_to(wall, (len(rise) - 1, len(across) - 1, 3)).copy()
        for level in range(storeys):
            columns = np.arange(1, 2 * count, 2)
            colours[2 + 3 * level, columns] = glass * rng.uniform(0.6, 2.0, (count, 1)) if lively else wall
            colours[1 + 3 * level, columns] = np.clip(frame, 0, 0.9) if lively else wall
        if lively:
            door = 1 + 2 * int(rng.integers(count))
            colours[:3, door] = colorsys.hsv_to_rgb(float(rng.random()), 0.5, float(rng.uniform(0.05, 0.3)))
        colours[0, :] = np.where(colours[0] == wall, wall * 0.75, colours[0])
        points = np.stack(np.meshgrid(across, -rise), -1)
        return points, colours

    flat, colours = front(length, bays, True)
    street_side = np.stack([flat[..., 0] - length / 2, flat[..., 1], np.zeros(flat.shape[:2])], -1)
    gable, side_colours = front(depth, 2, bool(rng.random() < 0.5))
    parts = [grid(street_side, colours, smooth=False)]
    for end in (-0.5, 0.5):
        side = np.stack([np.full(gable.shape[:2], length * end), gable[..., 1], gable[..., 0]], -1)
        parts.append(grid(side, side_colours, smooth=False))
    tile = np.array(
        colorsys.hsv_to_rgb(float(rng.uniform(0.0, 0.08)), float(rng.uniform(0.1, 0.7)), float(rng.uniform(0.05, 0.3)))
    )
    pitch = float(rng.choice([0.0, 2.2, 3.2]))
    profile = np.array([[0.0, -height, -0.3], [0.0, -height - pitch, depth / 2], [0.0, -height, depth]])
    parts.append(grid(np.stack([profile + np.array([s * length / 2, 0, 0]) for s in (-1, 1)]), tile, smooth=False))
    if pitch:
        for s in (-1, 1):
            x = s * length / 2
            for z in (0, depth):
                top, middle = [x, -height - pitch, depth / 2], [x, -height, depth / 2]
                parts.append(grid(np.array([[[x, -height, z], top], [middle, middle]]), wall, smooth=False))
    return Mesh.concatenate(parts)

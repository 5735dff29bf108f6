"""Trucks, buses, trailers, building machines and motorcycles: simple shapes that tell the classes apart.

Built towards +x on y = 0 (see :mod:`datamodules.shapes.primitives`), returned centred on their box like cars.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from datamodules.shapes import street
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import (
    GLASS,
    HEADLIGHT,
    PAINT,
    RIM,
    TAILLIGHT,
    TRIM,
    TYRE,
    Mesh,
    box,
    ellipsoid,
    limb,
    revolve,
)

Colour = tuple[float, float, float]
BLACK: Colour = (0.02, 0.02, 0.02)
STEEL: Colour = (0.12, 0.12, 0.12)
LAMP: Colour = (0.92, 0.93, 0.90)
RED: Colour = (0.55, 0.01, 0.01)
SIGNAL_YELLOW: Colour = (0.70, 0.40, 0.02)


def paint(rng: np.random.Generator, white: float = 0.4) -> Colour:
    """A paint as linear albedo: near white with probability ``white``, else any hue."""
    if rng.random() < white:
        value = float(rng.uniform(0.5, 0.8))
        return value, value, value
    return colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.12, 0.6)))


def _wheels(stations: Sequence[float], width: float, radius: float, thickness: float = 0.3) -> list[Mesh]:
    """A wheel on both sides at each station (x, metres); ``width`` is the vehicle's, outer faces just inside it."""
    half = thickness / 2
    profile = np.array(
        [[0.0, half], [radius * 0.55, half - 0.01], [radius * 0.96, half], [radius, half * 0.8], [radius, -half]]
    )
    colours = np.array([(0.30, 0.30, 0.30), BLACK, BLACK, BLACK])
    parts = np.array([RIM, TYRE, TYRE, TYRE])
    wheels = []
    for side in (-1.0, 1.0):
        turned = profile * [1.0, side]
        wheel = revolve(turned, "z", 14, np.repeat(colours[:, None], 14, 1), 0.0, np.repeat(parts[:, None], 14, 1))
        wheels += [wheel.moved(x, -radius, side * (width / 2 - half)) for x in stations]
    return wheels


def _block(
    back: float,
    front: float,
    low: float,
    high: float,
    width: float,
    colour: Sequence[float],
    gloss: float = 0.3,
    part: int = PAINT,
) -> Mesh:
    """A box from x = ``back`` to ``front`` and from ``low`` to ``high`` metres above ground."""
    size, middle = (front - back, high - low, width), ((front + back) / 2, -(low + high) / 2, 0.0)
    return box(size, middle, colour, gloss, part)


def _pane(back: float, front: float, low: float, high: float, width: float, colour: Sequence[float]) -> Mesh:
    """Glass as a box that stands a centimetre out of the body it sits in."""
    return _block(back, front, low, high, width, colour, 1.0, GLASS)


def _lamps(x: float, up: float, width: float, colour: Colour, part: int) -> list[Mesh]:
    """Two lamps at the vehicle's front or rear face."""
    return [box((0.06, 0.2, 0.34), (x, -up, side * (width / 2 - 0.25)), colour, 0.4, part) for side in (-1.0, 1.0)]


def _cab(back: float, front: float, width: float, height: float, colour: Colour, glass: Colour) -> list[Mesh]:
    """A flat-fronted driver's cab with windscreen, side windows, grille, lamps and mirrors."""
    belt = 0.55 * height
    parts = [
        _block(back, front, 0.45, height, width, colour, 0.6),
        _pane(front - 0.3, front + 0.015, belt, height - 0.25, width * 0.88, glass),
        _pane(back + 0.35, front - 0.25, belt, height - 0.3, width + 0.02, glass),
        box((0.03, 0.35, width * 0.6), (front + 0.01, -0.85, 0), BLACK, 0.2, TRIM),
        *_lamps(front, 0.72, width, LAMP, HEADLIGHT),
    ]
    for side in (-1.0, 1.0):
        parts.append(box((0.1, 0.45, 0.16), (front - 0.05, -belt - 0.25, side * (width / 2 + 0.06)), BLACK, 0.2, TRIM))
    return parts


def truck(rng: np.random.Generator) -> CarMesh:
    """A rigid truck with a box, a tarpaulin or a tipper body (about 7 × 3.1 × 2.5 m)."""
    length, width = float(rng.uniform(5.8, 8.6)), float(rng.uniform(2.2, 2.5))
    top, cab = float(rng.uniform(2.7, 3.5)), float(rng.uniform(2.3, 2.7))
    colour, load, shade = paint(rng, 0.3), paint(rng, 0.6), float(rng.uniform(0.02, 0.07))
    front, back, nose = length / 2, -length / 2, float(rng.uniform(1.7, 2.1))
    floor = 1.05
    parts = [
        *_cab(front - nose, front, width * 0.96, cab, colour, (shade, shade * 1.1, shade * 1.2)),
        _block(back, front - nose, 0.6, floor, width * 0.4, STEEL, 0.1),
        *_wheels((front - 1.2, back + 1.2, back + 2.35)[: 2 + int(length > 7.2)], width * 0.97, 0.48),
        *_lamps(back, 0.85, width, RED, TAILLIGHT),
    ]
    if rng.random() < 0.25:
        parts.append(_block(back, front - nose - 0.2, floor, floor + 0.25, width, load, 0.2))
        for z in (-1.0, 1.0):
            wall = box((length - nose - 0.2, 0.9, 0.08), ((back + front - nose - 0.2) / 2, -floor - 0.6, 0), load, 0.2)
            parts.append(wall.moved(0, 0, z * (width / 2 - 0.04)))
        for x in (back + 0.04, front - nose - 0.24):
            parts.append(box((0.08, 0.9, width), (x, -floor - 0.6, 0), load, 0.2))
    else:
        parts.append(_block(back, front - nose - 0.15, floor, top, width, load, 0.15))
        stripe = paint(rng, 0.0)
        parts.append(_block(back + 0.4, front - nose - 0.6, floor + 0.35, floor + 0.75, width + 0.02, stripe, 0.1))
        parts.append(box((0.02, top - floor - 0.2, 0.05), (back - 0.005, -(top + floor) / 2, 0), STEEL))
    return street.centred("Truck", "truck", parts)


def bus(rng: np.random.Generator) -> CarMesh:
    """A city bus: one long body with a band of windows (about 11 × 3.1 × 2.55 m)."""
    length, width, height = float(rng.uniform(9.5, 12.2)), float(rng.uniform(2.45, 2.6)), float(rng.uniform(2.95, 3.3))
    colour, low, glass = paint(rng, 0.15), 0.32, (0.025, 0.03, 0.035)
    lower = paint(rng, 0.5) if rng.random() < 0.5 else colour
    front, back = length / 2, -length / 2
    parts = [
        _block(back, front, low, 1.1, width, lower, 0.5),
        _block(back, front, 1.1, height - 0.12, width, colour, 0.5),
        _block(back + 0.6, front - 0.4, height - 0.12, height, width * 0.8, (0.6, 0.6, 0.6), 0.1),
        _pane(front - 0.2, front + 0.02, 1.05, height - 0.55, width * 0.92, glass),
        _pane(back - 0.02, back + 0.2, 1.6, height - 0.5, width * 0.75, glass),
        box((0.03, 0.28, width * 0.6), (front + 0.02, -height + 0.33, 0), (0.75, 0.45, 0.05), 0.0, TRIM),
        *_wheels((front - 2.6, back + 3.0), width + 0.02, 0.48),
        *_lamps(front, 0.75, width, LAMP, HEADLIGHT),
        *_lamps(back, 1.2, width, RED, TAILLIGHT),
    ]
    bays = int(length / 1.5)
    step = (length - 0.8) / bays
    for i in range(bays):
        start = back + 0.4 + i * step
        parts.append(_pane(start + 0.06, start + step - 0.06, 1.35, height - 0.5, width + 0.02, glass))
    for x in (front - 0.9, front - length * 0.5):  # doors on the kerb side
        parts.append(box((1.1, 2.0, 0.03), (x, -1.4, -width / 2 - 0.005), glass, 0.9, GLASS))
    return street.centred("Bus", "bus", parts)


def trailer(rng: np.random.Generator) -> CarMesh:
    """A parked semi-trailer on its rear axles and landing legs, without a tractor (about 9 × 3.6 × 2.5 m)."""
    length, width, height = float(rng.uniform(7.0, 10.5)), float(rng.uniform(2.4, 2.55)), float(rng.uniform(3.3, 3.9))
    colour, front, back, floor = paint(rng, 0.45), length / 2, -length / 2, 1.25
    parts = [
        _block(back, front, 1.0, floor, width * 0.55, STEEL, 0.1),
        _block(back, front, floor, height, width, colour, 0.15),
        *_wheels((back + 1.0, back + 2.2, back + 3.4), width, 0.5),
        *_lamps(back, 1.05, width, RED, TAILLIGHT),
        box((0.06, 0.5, 0.06), (back - 0.02, -2.3, 0), STEEL),
    ]
    ribs = int(length / 1.1)
    rib = tuple(0.75 * value for value in colour)
    for i in range(ribs):
        x = back + (i + 0.5) * length / ribs
        parts.append(_block(x - 0.05, x + 0.05, floor + 0.05, height - 0.05, width + 0.04, rib, 0.1))
    for side in (-1.0, 1.0):
        parts.append(box((0.14, 1.1, 0.14), (front - 2.2, -0.55, side * 0.75), STEEL))
        parts.append(box((length * 0.4, 0.5, 0.05), (front - length * 0.52, -0.75, side * (width / 2 - 0.05)), STEEL))
    return street.centred("Trailer", "trailer", parts)


def construction_vehicle(rng: np.random.Generator) -> CarMesh:
    """An excavator on tracks or a wheel loader (about 6 × 3 × 2.4 m)."""
    colour = SIGNAL_YELLOW if rng.random() < 0.7 else (0.62, 0.20, 0.02)
    glass: Colour = (0.03, 0.035, 0.04)
    size = float(rng.uniform(0.9, 1.1))
    if rng.random() < 0.6:
        elbow = (float(rng.uniform(1.3, 2.0)), -float(rng.uniform(2.6, 3.2)), -0.3)
        tip = (float(rng.uniform(2.4, 3.1)), -float(rng.uniform(1.0, 1.9)), -0.3)
        parts = []
        for side in (-1.0, 1.0):
            z = side * 0.95
            parts.append(box((2.6, 0.75, 0.5), (-0.9, -0.42, z), BLACK))
            parts += [ellipsoid((0.40, 0.40, 0.25), (x, -0.42, z), STEEL, 10, 4) for x in (-2.2, 0.4)]
        parts += [
            _block(-1.6, 0.1, 0.75, 1.0, 1.4, STEEL, 0.1),
            _block(-2.5, 0.2, 1.0, 1.9, 2.3, colour, 0.3),
            box((1.3, 1.0, 1.0), (-0.4, -2.4, 0.6), colour, 0.3),
            box((1.1, 0.75, 1.04), (-0.38, -2.45, 0.6), glass, 1.0, GLASS),
            box((0.5, 0.9, 0.8), (0.02, -2.4, 0.6), glass, 1.0, GLASS),
            limb((0.0, -1.5, -0.3), elbow, 0.22, colour),
            limb(elbow, tip, 0.17, colour),
            limb((0.6, -1.6, -0.3), (0.75 * elbow[0], 0.8 * elbow[1], -0.3), 0.09, STEEL),
            box((0.7, 0.7, 1.0), (tip[0] - 0.1, tip[1] + 0.35, -0.3), STEEL),
        ]
    else:
        bucket = -float(rng.uniform(0.45, 1.3))
        parts = [
            _block(-2.6, -0.4, 0.8, 1.9, 1.9, colour, 0.3),
            _block(-0.4, 1.2, 0.7, 1.3, 1.5, colour, 0.3),
            box((1.3, 1.5, 1.4), (-0.3, -2.3, 0), colour, 0.3),
            box((1.34, 0.9, 1.2), (-0.3, -2.35, 0), glass, 1.0, GLASS),
            box((1.1, 0.9, 1.44), (-0.3, -2.35, 0), glass, 1.0, GLASS),
            *_wheels((-1.7, 1.0), 2.4, 0.7, 0.55),
            box((0.9, 0.8, 2.4), (2.6, bucket, 0), STEEL),
        ]
        for side in (-0.5, 0.5):
            parts.append(limb((0.6, -1.5, side), (2.3, bucket - 0.2, side), 0.13, colour))
    machine = [part.scaled(np.full(3, size)) for part in parts]
    return street.centred("Construction", "construction_vehicle", machine)


def motorcycle(rng: np.random.Generator, rider: bool) -> CarMesh:
    """A motorcycle, or a scooter, with or without its rider (about 2.1 × 1.2 or 1.6 × 0.8 m)."""
    colour, radius = paint(rng, 0.1), 0.31
    rubber = np.array(
        [[0.0, -0.02], [radius * 0.6, -0.05], [radius, -0.06], [radius, 0.06], [radius * 0.6, 0.05], [0, 0.02]]
    )
    wheel = revolve(rubber, "z", 14, BLACK, part=TYRE)
    parts = [
        wheel.moved(0.72, -radius, 0),
        wheel.moved(-0.68, -radius, 0),
        ellipsoid((0.34, 0.17, 0.17), (0.12, -0.80, 0), colour),
        box((0.62, 0.32, 0.26), (0.02, -0.46, 0), STEEL, 0.4),
        box((0.75, 0.12, 0.26), (-0.40, -0.80, 0), BLACK),
        ellipsoid((0.24, 0.10, 0.12), (-0.72, -0.78, 0), colour),
        limb((0.72, -radius, 0.09), (0.48, -0.98, 0.09), 0.035, STEEL),
        limb((0.72, -radius, -0.09), (0.48, -0.98, -0.09), 0.035, STEEL),
        limb((0.44, -1.02, -0.36), (0.44, -1.02, 0.36), 0.025, BLACK),
        ellipsoid((0.10, 0.12, 0.12), (0.60, -0.88, 0), LAMP, part=HEADLIGHT),
        limb((-0.75, -0.35, -0.16), (0.05, -0.32, -0.16), 0.05, (0.3, 0.3, 0.3)),
        box((0.04, 0.08, 0.16), (-0.95, -0.76, 0), RED, 0.3, TAILLIGHT),
    ]
    if rider:
        shirt, trousers, helmet = street.cloth(rng), street.cloth(rng), paint(rng, 0.3)
        parts += [
            limb((-0.28, -0.84, 0), (-0.06, -1.36, 0), 0.17, shirt, 8),
            ellipsoid((0.17, 0.14, 0.24), (-0.05, -1.34, 0), shirt),
            ellipsoid((0.16, 0.17, 0.14), (0.02, -1.58, 0), helmet),
        ]
        for side in (-1.0, 1.0):
            knee = (0.18, -0.78, 0.22 * side)
            parts.append(limb((-0.26, -0.88, 0.1 * side), knee, 0.09, trousers))
            parts.append(limb(knee, (0.0, -0.32, 0.24 * side), 0.07, trousers))
            parts.append(limb((-0.06, -1.32, 0.2 * side), (0.42, -1.02, 0.32 * side), 0.055, shirt))
    return street.centred("Motorcycle", "motorcycle", parts)


def traffic_cone(rng: np.random.Generator) -> CarMesh:
    """An orange cone with white bands on a square foot (about 0.4 × 0.75 × 0.4 m)."""
    height, foot = float(rng.uniform(0.6, 0.95)), float(rng.uniform(0.34, 0.44))
    up = np.array([0.04, 0.36, 0.55, 0.72, 0.86, 1.0]) * height
    radius = np.interp(up, [0, height], [foot * 0.38, 0.03])
    profile = np.stack([np.append(radius, 0.0), -np.append(up, height)], 1)
    orange, white = (0.80, 0.14, 0.01), (0.80, 0.80, 0.78)
    bands = np.array([orange, white, orange, white, orange, orange])
    body = revolve(profile, "y", 12, np.repeat(bands[:, None], 12, 1))
    base = box((foot, 0.05, foot), (0, -0.025, 0), (0.5, 0.09, 0.01))
    return street.centred("Cone", "traffic_cone", [base, body])


def barrier(rng: np.random.Generator) -> CarMesh:
    """A road barrier across x: as in nuScenes thin along its length axis and long across it (0.5 × 1 × 2.3 m)."""
    wide, height = float(rng.uniform(1.8, 2.6)), float(rng.uniform(0.85, 1.1))
    if rng.random() < 0.5:  # a board of red and white fields on two feet
        fields = 8
        parts = [
            box(
                (0.06, 0.3, wide / fields),
                (0, -up, (i + 0.5) * wide / fields - wide / 2),
                (0.65, 0.02, 0.02) if (i + row) % 2 else (0.8, 0.8, 0.78),
            )
            for row, up in enumerate((height - 0.15, height - 0.6))
            for i in range(fields)
        ]
        for z in (0.1 - wide / 2, wide / 2 - 0.1):  # at its ends, so that it fills its box from every side
            parts.append(box((0.05, height, 0.05), (0, -height / 2, z), STEEL))
            parts.append(box((0.5, 0.08, 0.2), (0, -0.04, z), BLACK))
    else:  # a moulded wall, broad at its foot
        colour = ((0.75, 0.75, 0.72), (0.75, 0.16, 0.02), (0.30, 0.30, 0.29))[rng.integers(3)]
        parts = [
            box((0.5, 0.2, wide), (0, -0.1, 0), colour),
            box((0.32, 0.25, wide), (0, -0.32, 0), colour),
            box((0.18, height - 0.4, wide), (0, -(height + 0.4) / 2, 0), colour),
            box((0.20, 0.15, wide * 0.9), (0, -height + 0.25, 0), (0.65, 0.02, 0.02)),
        ]
    return street.centred("Barrier", "barrier", parts)

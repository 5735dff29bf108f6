"""Parametric cars: lofted bodies with windows, wheels, lights, plates, mirrors and paint.

A body is two skirts (hull and cabin), each a closed grid of outline columns times height levels, and two decks that
close them. Windows, lights, grille and plates are cells of those grids, so they follow every change of shape.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from datamodules.shapes.primitives import (
    GLASS,
    HEADLIGHT,
    PAINT,
    PLATE,
    RIM,
    TAILLIGHT,
    TRIM,
    TYRE,
    Mesh,
    box,
    grid,
    revolve,
)

BODIES = ("hatchback", "sedan", "estate", "suv", "pickup")
BODY_SHARES = (0.38, 0.25, 0.15, 0.17, 0.05)

# Mean and standard deviation of length, height, width in metres; with the shares above near KITTI's mean car.
BODY_DIMS = {
    "hatchback": ((3.62, 1.49, 1.60), (0.20, 0.05, 0.05)),
    "sedan": ((4.05, 1.45, 1.63), (0.24, 0.04, 0.05)),
    "estate": ((4.12, 1.49, 1.65), (0.20, 0.05, 0.05)),
    "suv": ((4.02, 1.68, 1.71), (0.26, 0.07, 0.06)),
    "pickup": ((4.60, 1.75, 1.75), (0.24, 0.07, 0.06)),
    "van": ((5.05, 2.15, 1.90), (0.40, 0.20, 0.08)),
}
# Ranges, as shares of the length from the front: windscreen foot, roof front, roof rear, rear window foot.
CABIN = {
    "hatchback": ((0.21, 0.28), (0.37, 0.43), (0.80, 0.91), (0.95, 0.985)),
    "sedan": ((0.27, 0.33), (0.41, 0.47), (0.66, 0.74), (0.81, 0.88)),
    "estate": ((0.25, 0.31), (0.39, 0.45), (0.87, 0.94), (0.965, 0.985)),
    "suv": ((0.24, 0.30), (0.36, 0.42), (0.84, 0.93), (0.955, 0.985)),
    "pickup": ((0.24, 0.29), (0.36, 0.41), (0.56, 0.61), (0.60, 0.645)),
    "van": ((0.10, 0.16), (0.23, 0.30), (0.955, 0.975), (0.98, 0.99)),
}

HULL_Z = np.array([-1, -0.84, -0.64, -0.38, -0.15, 0.15, 0.38, 0.64, 0.84, 1.0])  # columns across front and rear
HULL_LEVELS = np.array([0, 0.12, 0.34, 0.50, 0.66, 0.84, 1.0])
CABIN_Z = np.array([-1, -0.9, -0.5, 0, 0.5, 0.9, 1.0])
CABIN_LEVELS = np.array([0, 0.08, 0.45, 0.82, 0.93, 1.0])


@dataclass(frozen=True)
class CarShape:
    """All that tells one car from another; lengths in metres, stations as shares of the length from its front."""

    body: str
    dims: tuple[float, float, float]
    stations: tuple[float, float, float, float]
    clearance: float
    nose: float
    bonnet: float
    belt: float
    tail: float
    round_front: float
    round_rear: float
    tumblehome: float
    arch: float
    shoulder: float
    axles: tuple[float, float]
    wheel_radius: float
    wheel_width: float
    spokes: int
    rim: tuple[float, float, float]
    paint: tuple[float, float, float]
    roof: tuple[float, float, float]
    lower: tuple[float, float, float]
    pillar: tuple[float, float, float]
    tint: tuple[float, float, float]
    gloss: float
    head_columns: int
    head_levels: tuple[int, int]
    tail_columns: int
    tail_levels: tuple[int, int]
    grille_levels: tuple[int, int]
    plate_shift: float
    pillars: tuple[float, float, float, float]
    panel: bool
    rails: bool
    box: bool
    spoiler: bool
    headlight: tuple[float, float, float] = (0.92, 0.93, 0.90)
    taillight: tuple[float, float, float] = (0.55, 0.01, 0.01)
    front_plate: tuple[float, float, float] = (0.75, 0.75, 0.72)
    rear_plate: tuple[float, float, float] = (0.75, 0.62, 0.10)


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A car paint as linear albedo: four in ten without hue, the rest of every hue."""
    if rng.random() < 0.42:
        value = float(rng.choice([0.025, 0.07, 0.16, 0.35, 0.55, 0.78], p=[0.2, 0.15, 0.15, 0.18, 0.14, 0.18]))
        tint = rng.normal(0, 0.04, 3)
        r, g, b = np.clip(value * (1 + tint), 0.012, 0.85)
        return float(r), float(g), float(b)
    hue, saturation = float(rng.random()), float(rng.uniform(0.45, 0.95))
    return colorsys.hsv_to_rgb(hue, saturation, float(rng.uniform(0.10, 0.72)))


def _grey(value: float) -> tuple[float, float, float]:
    return value, value, value


def draw_shape(rng: np.random.Generator, body: str | None = None) -> CarShape:
    """Draw one car's shape and paint.

    Args:
        rng: the only source of randomness.
        body: one of :data:`BODIES` or "van"; drawn by :data:`BODY_SHARES` when None.
    """
    chosen = str(rng.choice(BODIES, p=BODY_SHARES))  # drawn in any case, so that naming the body keeps the other draws
    body = body or chosen
    mean, spread = BODY_DIMS[body]
    dims = tuple(float(m + s * np.clip(rng.normal(), -2.2, 2.2)) for m, s in zip(mean, spread))
    u = rng.uniform
    stations = tuple(float(u(*span)) for span in CABIN[body])
    tall = body in ("suv", "pickup", "van")
    belt = u(0.57, 0.66) if body != "van" else u(0.50, 0.58)
    bonnet = belt - (u(0.02, 0.09) if not tall else u(0.0, 0.05))
    paint = _colour(rng)
    two_tone = rng.random() < 0.16
    roof = tuple(_colour(rng)) if two_tone else ((0.02, 0.02, 0.02) if rng.random() < 0.08 else paint)
    cladding = rng.random() < (0.5 if tall else 0.18)
    grey = float(u(0.02, 0.08))
    tint = float(u(0.008, 0.055))
    head, rear = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    low = int(rng.integers(3, 5))
    tail_low = int(rng.integers(2, 5))
    b_pillar = float(u(0.42, 0.54))
    c_pillar = float(u(0.78, 0.9))
    return CarShape(
        body=body,
        dims=(dims[0], dims[1], dims[2]),
        stations=(stations[0], stations[1], stations[2], stations[3]),
        clearance=float(u(0.13, 0.19) + (0.07 if tall else 0.0)),
        nose=float(bonnet - u(0.06, 0.16)),
        bonnet=float(bonnet),
        belt=float(belt),
        tail=float(belt + (u(-0.02, 0.06) if body == "sedan" else u(-0.03, 0.01))),
        round_front=float(u(0.03, 0.085)) * (0.7 if tall else 1.0),
        round_rear=float(u(0.015, 0.06)) * (0.6 if tall or body == "estate" else 1.0),
        tumblehome=float(u(0.10, 0.22)) * (0.5 if body == "van" else 1.0),
        arch=float(u(0.02, 0.07)),
        shoulder=float(u(0.03, 0.10)),
        axles=(float(u(0.17, 0.21)), float(u(0.77, 0.82))),
        wheel_radius=float(u(0.28, 0.33) + (0.045 if tall else 0.0)),
        wheel_width=float(u(0.17, 0.23)),
        spokes=int(rng.choice([0, 5, 6, 8, 10])),
        rim=_grey(float(u(0.10, 0.65))),
        paint=paint,
        roof=(float(roof[0]), float(roof[1]), float(roof[2])),
        lower=(grey, grey, grey) if cladding else paint,
        pillar=(0.015, 0.015, 0.015) if rng.random() < 0.55 else paint,
        tint=(tint, tint * float(u(1.0, 1.25)), tint * float(u(1.0, 1.35))),
        gloss=float(u(0.35, 1.0)),
        head_columns=head,
        head_levels=(low, 5),
        tail_columns=rear,
        tail_levels=(tail_low, 5 if rng.random() < 0.7 or tail_low == 4 else 4),
        grille_levels=(int(rng.integers(1, 4)), int(rng.integers(3, 5))),
        plate_shift=float(u(-0.3, 0.3)),
        pillars=(0.07, b_pillar - 0.02, b_pillar + 0.02, c_pillar),
        panel=bool(rng.random() < 0.6),
        rails=bool(rng.random() < (0.6 if body in ("suv", "estate") else 0.06)),
        box=bool(rng.random() < 0.04),
        spoiler=bool(rng.random() < (0.5 if body == "hatchback" else 0.1)),
    )


@dataclass(frozen=True)
class _Lines:
    """The side view as functions of the station t (share of length from the front); heights are metres above ground."""

    shape: CarShape

    def top(self, t: np.ndarray) -> np.ndarray:
        s, height = self.shape, self.shape.dims[1]
        foot, rear = s.stations[0], s.stations[3]
        if s.body == "pickup":
            rear = 0.66
        knots = [0.0, foot * 0.45, foot, (foot + rear) / 2, rear, 1.0]
        mid = (s.nose + 2 * s.bonnet) / 3
        values = [s.nose, mid, s.bonnet, (s.bonnet + s.belt) / 2, s.belt, min(s.tail, s.belt + 0.05)]
        return np.interp(t, knots, values) * height

    def bottom(self, t: np.ndarray) -> np.ndarray:
        c = self.shape.clearance
        return np.interp(t, [0, 0.10, 0.2, 0.8, 0.92, 1.0], [c + 0.07, c + 0.01, c, c, c + 0.03, c + 0.12])

    def half_width(self, t: np.ndarray) -> np.ndarray:
        front = np.clip((0.2 - t) / 0.2, 0, 1) ** 2
        rear = np.clip((t - 0.8) / 0.2, 0, 1) ** 2
        return 0.475 * self.shape.dims[2] * (1 - 0.09 * front - 0.06 * rear)


def _place(shape: CarShape, t: np.ndarray, up: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (..., 3) in the object frame from station, height above ground and lateral position."""
    length, height, _ = shape.dims
    return np.stack(np.broadcast_arrays(length * (0.5 - t), height / 2 - up, z), -1)


def _hull(shape: CarShape) -> list[Mesh]:
    """Lower body: skirt with bumpers, lights, grille and plates, and the deck (bonnet, boot lid or load bed).

    The skirt is a grid, levels from the bottom up times columns round the outline. Its columns, from above, with n
    across each end and m along each side; cell k of a level lies between columns k and k + 1::

                  left (z = 1)
               n  ...  n + m - 1
        n - 1 .-----------------. n + m
        front |                 | rear        station t: 0 at the front, 1 at the rear
            0 '-----------------' 2 n + m - 1
        2 (n + m) - 1 ... 2 n + m
                  right (z = -1)

    A point is (t, height, z) of its column and level, eased: the corners are rounded (``round_front``,
    ``round_rear``), bumpers stand out and the shoulder leans in (``wide``, ``pull``). What is seen on the skirt are
    coloured cells.
    """
    lines = _Lines(shape)
    ease_front = shape.round_front * np.abs(HULL_Z) ** 2.6
    ease_rear = 1 - shape.round_rear * np.abs(HULL_Z) ** 2.6
    inner = np.array([0.13, 0.2, 0.28, 0.36, 0.45, 0.55, 0.64, 0.66, 0.74, 0.82, 0.9])
    t = np.concatenate([ease_front, inner, ease_rear[::-1], inner[::-1]])
    zf = np.concatenate([HULL_Z, np.ones(len(inner)), HULL_Z[::-1], -np.ones(len(inner))])
    n, m = len(HULL_Z), len(inner)
    # A level's share of the width and of the overhang: bumpers stand out, the shoulder leans in.
    wide = np.interp(HULL_LEVELS, [0, 0.12, 0.34, 0.66, 1], [0.93, 0.985, 1.0, 0.99, 1 - shape.shoulder])
    pull = np.interp(HULL_LEVELS, [0, 0.12, 0.34, 0.5, 0.84, 1], [0.03, 0.004, 0.0, 0.008, 0.018, 0.05])
    end = np.clip(np.abs(t - 0.5) / 0.5, 0, 1) ** 6
    tt = 0.5 + (t - 0.5)[None] * (1 - 2 * pull[:, None] * end[None] * 0.6)
    low, high = lines.bottom(t), lines.top(t)
    up = low + HULL_LEVELS[:, None] * (high - low)
    points = _place(shape, tt, up, zf * lines.half_width(t) * wide[:, None])
    rows, columns = len(HULL_LEVELS) - 1, len(t)
    colour = np.broadcast_to(np.array(shape.paint), (rows, columns, 3)).copy()
    part = np.full((rows, columns), PAINT)
    gloss = np.full((rows, columns), shape.gloss)

    def cell(row: slice, cols: list[int], rgb: tuple[float, ...], label: int, shine: float) -> None:
        colour[row, cols], part[row, cols], gloss[row, cols] = rgb, label, shine

    front, back = list(range(n - 1)), [n + m + i for i in range(n - 1)]
    cell(slice(0, 1), list(range(columns)), shape.lower if shape.lower != shape.paint else (0.03,) * 3, TRIM, 0.0)
    if shape.lower != shape.paint:
        cell(slice(0, 2), list(range(columns)), shape.lower, TRIM, 0.05)
    low_g, high_g = shape.grille_levels
    cell(slice(low_g, max(high_g, low_g + 1)), front[2:-2], (0.015,) * 3, TRIM, 0.2)
    # Lights wrap round the corners: their last columns are the sides'.
    heads = [*front[: shape.head_columns], *front[-shape.head_columns :], n - 1, columns - 1]
    cell(slice(*shape.head_levels), heads, shape.headlight, HEADLIGHT, 0.6)
    tails = [*back[: shape.tail_columns], *back[-shape.tail_columns :], n + m - 1, 2 * n + m - 1]
    cell(slice(*shape.tail_levels), tails, shape.taillight, TAILLIGHT, 0.5)
    cell(slice(2, 3), [front[4]], shape.front_plate, PLATE, 0.0)
    cell(slice(2 if shape.body != "pickup" else 1, 3), [back[4]], shape.rear_plate, PLATE, 0.0)
    fuel_flap = [2 * n + m + 1]  # on the right
    cell(slice(4, 5), fuel_flap, tuple(0.35 * np.array(shape.paint)), PAINT, 0.0)
    skirt = grid(points, colour, gloss, part, closed=True)
    return [skirt, _deck(shape, points[-1], n, m)]


def _deck(shape: CarShape, edge: np.ndarray, n: int, m: int) -> Mesh:
    """Close the hull from above between its top edge's front row, sides and rear row."""
    front, left, rear, right = edge[:n], edge[n : n + m], edge[n + m : 2 * n + m][::-1], edge[2 * n + m :][::-1]
    share = ((HULL_Z + 1) / 2)[None, :, None]
    inner = right[:, None] * (1 - share) + left[:, None] * share
    inner[..., 1] -= 0.045 * (1 - HULL_Z**2)
    colour = np.array(shape.paint)
    if shape.body == "pickup":
        bed = inner[:, 0, 0] < shape.dims[0] * (0.5 - shape.stations[3] - 0.005)
        inner[bed, 1 : n - 1, 1] += 0.38
        rows = np.concatenate([front[None], inner, rear[None]])
        cells = np.broadcast_to(colour, (len(rows) - 1, n - 1, 3)).copy()
        cells[int(np.argmax(bed)) :, 1:-1] = 0.04
        return grid(rows, cells, np.where(cells.mean(-1) == 0.04, 0.0, shape.gloss), PAINT, smooth=False)
    return grid(np.concatenate([front[None], inner, rear[None]]), colour, shape.gloss, PAINT)


def _cabin(shape: CarShape) -> list[Mesh]:
    """Greenhouse: windows and pillars as a skirt from belt to roof, and the roof."""
    lines = _Lines(shape)
    height = shape.dims[1]
    foot, roof_front, roof_rear, rear_foot = shape.stations
    side = np.array([*shape.pillars, min(shape.pillars[3] + 0.05, 0.97)])
    n, m = len(CABIN_Z), len(side)
    v = CABIN_LEVELS[:, None]
    bend = np.sin(np.clip(v, 0, 1) * np.pi / 2) ** 1.15  # the screens lean in faster towards the roof
    start = foot + (roof_front - foot) * (0.35 * bend + 0.65 * v)
    stop = rear_foot + (roof_rear - rear_foot) * (0.35 * bend + 0.65 * v)
    ease = 0.035 * CABIN_Z**2
    u = np.concatenate([np.zeros(n), side, np.ones(n), side[::-1]])
    t = start + (stop - start) * u
    t = t + np.concatenate([ease, np.zeros(m), -0.6 * ease[::-1], np.zeros(m)])
    zf = np.concatenate([CABIN_Z, np.ones(m), CABIN_Z[::-1], -np.ones(m)])
    roof = height * (1 - shape.arch * 0.6 * (2 * np.clip(u, 0, 1) - 1) ** 2) - 0.05
    base = lines.top(np.clip(t, 0, 1)) - 0.03
    up = base + (roof - base) * np.array([0, 0.09, 0.48, 0.86, 0.95, 1.0])[:, None]
    belt = lines.half_width(t) * (1 - shape.shoulder - 0.01)
    narrow = 1 - shape.tumblehome * v**1.4 - np.array([0, 0, 0, 0, 0.01, 0.05])[:, None]
    points = _place(shape, t, up, zf * belt * narrow)
    rows, columns = len(CABIN_LEVELS) - 1, t.shape[1]
    colour = np.broadcast_to(np.array(shape.pillar), (rows, columns, 3)).copy()
    part = np.full((rows, columns), PAINT)
    gloss = np.full((rows, columns), shape.gloss * 0.7)
    colour[0], colour[3:] = shape.paint, shape.roof
    windows = [*range(1, n - 2), n, n + 2, *range(n + m + 1, 2 * n + m - 2), 2 * n + m + 1, 2 * n + m + 3]
    if shape.body in ("estate", "suv"):
        windows += [n + 3, 2 * n + m]
    if shape.body == "van" and shape.panel:
        windows = [*range(1, n - 2), n, 2 * n + m + 3]
        colour[1:3, n + 1 : -2] = shape.paint
    colour[1:3, windows], part[1:3, windows], gloss[1:3, windows] = shape.tint, GLASS, 1.0
    skirt = grid(points, colour, gloss, part, closed=True)
    edge = points[-1]
    front, left, rear, right = edge[:n], edge[n : n + m], edge[n + m : 2 * n + m][::-1], edge[2 * n + m :][::-1]
    share = ((CABIN_Z + 1) / 2)[None, :, None]
    inner = right[:, None] * (1 - share) + left[:, None] * share
    inner[..., 1] -= 0.05 * (1 - CABIN_Z**2)
    return [skirt, grid(np.concatenate([front[None], inner, rear[None]]), shape.roof, shape.gloss, PAINT)]


def _wheels(shape: CarShape) -> list[Mesh]:
    """Four wheels with their arches."""
    length, height, width = shape.dims
    r, parts = shape.wheel_radius, []
    segments = 20 if shape.spokes in (0, 5, 10) else 24
    tyre, dark = (0.018, 0.018, 0.018), np.array([0.012, 0.012, 0.012])
    rim = np.broadcast_to(np.array(shape.rim), (2, segments, 3)).copy()
    if shape.spokes:
        rim[1] = np.where(((np.arange(segments) * shape.spokes * 2 // segments) % 2 == 0)[:, None], rim[1], dark)
        rim[0] = shape.rim
    for station in shape.axles:
        for sign in (-1.0, 1.0):
            face = 0.475 * width + 0.006
            rubber = np.array(
                [
                    [r * 0.93, face - shape.wheel_width],
                    [r, face - 0.16],
                    [r, face - 0.03],
                    [r * 0.93, face],
                    [r * 0.68, face],
                ]
            )
            alloy = np.array([[r * 0.22, face - 0.005], [r * 0.25, face - 0.004], [r * 0.68, face]])
            hub = np.array([[0.0, face], [r * 0.22, face - 0.005]])
            angle = np.linspace(np.pi * -0.12, np.pi * 1.12, 14)
            arch = np.stack(
                [
                    np.stack([0 * angle, 0 * angle, 0 * angle + face - 0.004], -1),
                    np.stack([(r + 0.06) * np.cos(angle), -(r + 0.06) * np.sin(angle), 0 * angle + face - 0.004], -1),
                ]
            )
            wheel = Mesh.concatenate(
                [
                    revolve(rubber, "z", segments, tyre, part=TYRE),
                    revolve(alloy, "z", segments, rim, 0.4, RIM),
                    revolve(hub, "z", segments, shape.rim, 0.4, RIM),
                    grid(arch, dark, 0.0, TRIM),
                ]
            )
            x, y = length * (0.5 - station), height / 2 - r
            parts.append(
                wheel.scaled(np.array([1.0, 1.0, 1.0])).moved(x, y, 0) if sign > 0 else _mirrored(wheel).moved(x, y, 0)
            )
    return parts


def _mirrored(mesh: Mesh) -> Mesh:
    """The mesh reflected in the plane z = 0, winding kept outward."""
    flip = np.array([1, 1, -1], np.float32)
    return Mesh(mesh.triangles[:, ::-1] * flip, mesh.normals[:, ::-1] * flip, mesh.colour, mesh.gloss, mesh.part)


def _fittings(shape: CarShape) -> list[Mesh]:
    """Mirrors, and roof rails, roof box and spoiler where the shape has them."""
    length, height, width = shape.dims
    foot, roof_front, roof_rear, _ = shape.stations
    parts = []
    for sign in (-1, 1):
        x, up = length * (0.5 - foot - 0.06), height * (shape.belt + 0.05)
        parts.append(box((0.12, 0.13, 0.14), (x, height / 2 - up, sign * (width / 2 - 0.07)), shape.paint, 0.3, PAINT))
        if shape.rails:
            middle = length * (0.5 - (roof_front + roof_rear) / 2)
            span = length * (roof_rear - roof_front) * 0.8
            parts.append(
                box((span, 0.05, 0.05), (middle, -height / 2 + 0.055, sign * width * 0.31), (0.25,) * 3, 0.4, TRIM)
            )
    if shape.box:
        middle = length * (0.5 - (roof_front + roof_rear) / 2)
        parts.append(box((1.5, 0.28, 0.7), (middle, -height / 2 - 0.12, 0.1 * width), (0.05,) * 3, 0.4, TRIM))
    if shape.spoiler and shape.body != "pickup":
        x = length * (0.5 - roof_rear - 0.03)
        parts.append(box((0.22, 0.03, width * 0.62), (x, -height / 2 + 0.09, 0), shape.roof, shape.gloss, PAINT))
    return parts


def build(shape: CarShape) -> Mesh:
    """The car's mesh, filling its dims exactly, centred on the origin of the object frame."""
    parts = [*_hull(shape), *_cabin(shape), *_wheels(shape), *_fittings(shape)]
    return Mesh.concatenate(parts).fitted(np.array(shape.dims))

"""The light of a photograph, read off the ground around its labelled vehicles.

Asphalt is about equally grey everywhere, so that its colour in the picture tells exposure and white balance; how dark
it is under labelled vehicles tells the contact shadow. That is found by synthesis: the shadow which
:mod:`datamodules.injection.shadow` would draw is fitted to the ground that is seen, so that what is estimated is what
will be painted.

::

    ring, within REACH of a footprint        . . . . . . . . .
    contact, GAP or less inside its edge     . +-----------+ .       the ring gives the ground's colour,
    towards the camera                       . |  footprint| .       c the contact shadow
                                             . |ccccccccccc| .
                                             . +-----------+ .
                                             . . . camera . . .
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Boxes3D, Camera
from datamodules.injection.shadow import contact_coverage
from datamodules.object_classes import VEHICLES
from datamodules.occlusion_levels import LEVELS
from datamodules.scene import Frame
from datamodules.shapes.shading import GAMMA

REACH, STEP, GAP = 4.0, 0.4, 0.5  # metres: of the ring, between its points, and seen below a bumper
NEAREST, FARTHEST, LEAST_HEIGHT = 3.0, 40.0, 12.0  # metres, metres, pixels: vehicles that are looked at
ASPHALT = 0.14  # linear reflectance of worn asphalt under the unit light that assets are baked in
CONTACT = 0.6  # darkness of a contact shadow where no vehicle tells: between overcast and sunny KITTI frames
CONTACT_WEIGHT = 2.0  # contact points that this prior is worth
BRIGHTNESS, TINT = (0.2, 2.0), (0.75, 1.3)  # bounds of the two factors: a wet or painted road tells little
LEAST_POINTS = 25  # of the ground that tell its colour
DARKEST = 5.0  # percentile of a vehicle's grey levels: glass, tyres and wheel arches, whatever its paint


@dataclass(frozen=True)
class SceneLight:
    """What the ground tells about a frame's light.

    Attributes:
        ground: (3,) linear colour of the open ground, or None where none is seen.
        contact: darkness of the ground under a vehicle, in [0, 1].
    """

    ground: np.ndarray | None
    contact: float


@dataclass(frozen=True)
class _Ring:
    """Ground points about one vehicle: place in its own axes, linear luminance over the ground's, and what they are."""

    box: Boxes3D
    along: np.ndarray
    across: np.ndarray
    colour: np.ndarray
    level: np.ndarray
    contact: np.ndarray


def scene_light(frame: Frame) -> SceneLight:
    """Estimate a frame's light; what cannot be told is a prior (contact) or None (ground)."""
    objects = frame.objects
    rings = [
        ring
        for row in _seen_vehicles(frame)
        if (ring := _ring(frame, objects.boxes[row : row + 1], int(row))) is not None
    ]
    if not rings:
        return SceneLight(None, CONTACT)
    ground = np.median(np.concatenate([ring.colour[~ring.contact] for ring in rings]), 0)
    return SceneLight(ground, _contact(rings))


def dark_level(frame: Frame) -> float:
    """Grey level of the darkest parts of the frame's labelled vehicles; without any, of the lower half of the picture.

    Every car has glass, tyres and wheel arches that are near black, so that theirs tells what black looks like.
    """
    levels = []
    for left, top, right, bottom in frame.objects.bbox[_seen_vehicles(frame)]:
        inset = 0.1 * (right - left), 0.1 * (bottom - top)
        columns = slice(max(round(left + inset[0]), 0), round(right - inset[0]) + 1)
        inner = frame.image[:, max(round(top + inset[1]), 0) : round(bottom - inset[1]) + 1, columns]
        if inner.size:
            levels.append(float(np.percentile(inner.mean(0), DARKEST)))
    if levels:
        return float(np.median(levels))
    return float(np.percentile(frame.image[:, frame.image.shape[1] // 2 :: 2, ::2].mean(0), DARKEST))


def _seen_vehicles(frame: Frame) -> np.ndarray:
    """Rows of the labelled vehicles that stand free, whole and near enough to tell something."""
    objects = frame.objects
    height = objects.bbox[:, 3] - objects.bbox[:, 1]
    depth = objects.boxes.center[:, 2]
    seen = (objects.occlusion <= 0) & (objects.truncation < LEVELS[0]) & (height >= LEAST_HEIGHT)
    return np.flatnonzero(seen & np.isin(objects.names, VEHICLES) & (depth > NEAREST) & (depth < FARTHEST))


def light_gain(
    frame: Frame, box: Boxes3D, light: SceneLight, exposure: float, white_balance: float
) -> np.ndarray | None:
    """(3,) factor on an object's linear colour that brings it from unit light under that of the ground it stands on.

    Args:
        frame: the frame before injection.
        box: of the object.
        light: of the frame, where the ground about the object is not seen.
        exposure: in [0, 1], how far brightness follows the ground's.
        white_balance: in [0, 1], how far the tint does.

    Returns:
        The factor, or None where no ground is seen.
    """
    ground = ground_around(frame, box)
    ground = light.ground if ground is None else ground
    if ground is None:
        return None
    level = max(float(ground.mean()), 1e-3)
    brightness = np.clip(level / ASPHALT, *BRIGHTNESS) ** exposure
    return np.asarray(brightness * np.clip(ground / level, *TINT) ** white_balance)


def ground_around(frame: Frame, box: Boxes3D) -> np.ndarray | None:
    """(3,) linear median colour of the ground that is seen about a box, or None where too little is.

    Args:
        frame: the frame before injection.
        box: one box, labelled or not.
    """
    ring = _ring(frame, box, None)
    return None if ring is None else np.asarray(np.median(ring.colour[~ring.contact], 0))


def _ring(frame: Frame, box: Boxes3D, row: int | None) -> _Ring | None:
    """Points about a box; ``row`` is the labelled object it belongs to. None where too few are seen."""
    length, _, width = box.dims[0]
    ends = length / 2 + REACH, width / 2 + REACH
    along, across = np.stack(np.meshgrid(*(np.arange(-end, end, STEP) for end in ends))).reshape(2, -1)
    cos, sin = math.cos(box.yaw[0]), math.sin(box.yaw[0])
    x, z = box.center[0, 0] + cos * along + sin * across, box.center[0, 2] - sin * along + cos * across
    pixels = np.rint(frame.camera.project(np.stack([x, np.full_like(x, box.center[0, 1]), z], -1))[0])
    pixels = np.unique(pixels[_in_image(frame.camera, pixels)], axis=0)
    # Where the pixels' own centres lie: between two rows there may be metres.
    origin, rays = frame.camera.rays(pixels)
    depth = (box.center[0, 1] - origin[1]) / np.where(rays[:, 1] > 1e-6, rays[:, 1], np.inf)
    x, z = origin[0] + depth * rays[:, 0], origin[2] + depth * rays[:, 2]
    away_x, away_z = x - box.center[0, 0], z - box.center[0, 2]
    along, across = cos * away_x - sin * away_z, sin * away_x + cos * away_z
    outside = np.maximum(np.abs(along) - length / 2, np.abs(across) - width / 2)  # metres beyond the footprint
    # A point is seen below the bumper when the ray leaves the footprint within GAP on its way to the camera.
    towards = np.stack([-x, -z], -1) / np.maximum(np.hypot(x, z), 1e-6)[:, None] * GAP
    nearer_x, nearer_z = cos * towards[:, 0] - sin * towards[:, 1], sin * towards[:, 0] + cos * towards[:, 1]
    leaves = np.maximum(np.abs(along + nearer_x) - length / 2, np.abs(across + nearer_z) - width / 2) > 0
    contact = (outside <= 0) & leaves
    inside = depth > 1
    free = ~_covered(frame, pixels, row)
    hidden = np.zeros(len(x), bool) if row is None else _within(frame.objects.bbox[row], pixels)
    ring = (outside > 0.3) & ~hidden
    kept = inside & free & (ring | (contact & (row is not None)))
    if (kept & ring).sum() < LEAST_POINTS:
        return None
    columns, rows = pixels[kept].astype(int).T
    colour = (frame.image[:, rows, columns].T / 255.0) ** GAMMA
    contact = contact[kept]
    open_ground = float(np.median(colour[~contact].mean(1)))
    level = colour.mean(1) / max(open_ground, 1e-4)
    return _Ring(box, along[kept], across[kept], colour, level, contact)


def _in_image(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    limit = np.array([camera.width - 1, camera.height - 1])
    return np.asarray(((pixels >= 0) & (pixels <= limit)).all(-1))


def _within(bbox: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(((pixels >= bbox[:2]) & (pixels <= bbox[2:])).all(-1))


def _covered(frame: Frame, pixels: np.ndarray, row: int | None) -> np.ndarray:
    """(N,) bool points over which another labelled object stands; where the road is known, also those off it."""
    covered = np.zeros(len(pixels), bool)
    for other, bbox in enumerate(frame.objects.bbox):
        if other != row:
            covered |= _within(bbox, pixels)
    if frame.road is not None:
        limit = np.array(frame.road.shape[::-1]) - 1
        columns, rows = np.clip(pixels, 0, limit).astype(int).T
        covered |= ~frame.road[rows, columns]
    return covered


def _contact(rings: Sequence[_Ring]) -> float:
    """Darkness of the ground under vehicles: least squares of what is missing on what the shadow would take."""
    missing, shade = [0.0], [0.0]
    for ring in rings:
        length, _, width = ring.box.dims[0]
        for index in np.flatnonzero(ring.contact):
            # shadows multiply display values
            missing.append(1 - min(float(ring.level[index]), 1.0) ** (1 / GAMMA))
            shade.append(contact_coverage(ring.along[index], ring.across[index], length, width))
    found, drawn = np.array(missing), np.array(shade)
    strength = (found @ drawn + CONTACT_WEIGHT * CONTACT * 0.25) / (drawn @ drawn + CONTACT_WEIGHT * 0.25)
    return float(np.clip(strength, 0.0, 0.9))

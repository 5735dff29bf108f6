"""From where CAD models are rendered: 3D-DST's five viewpoint modes, its distances and its camera.

3D-DST's angles are Blender's: theta about the vertical, -90 degrees at the object's front, and phi down from the
zenith. The suite's azimuth is theta + 90 (0 looks at the front, 90 at the left side), its elevation 90 - phi
(:mod:`datamodules.objects.studio`). A model that its CSV row turns by offsets is rendered from theta + azimuth
offset and phi - elevation offset in its file's axes.

Source: Ma et al., "Generating Images with 3D Annotations Using Diffusion Models", ICLR 2024, and its public code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from datamodules.errors import InputError
from datamodules.geometry import wrap_angle

LENS, SENSOR = 35.0, 32.0  # millimetres: f = 560 pixels at 512
RENDER_FIELD_OF_VIEW = 2 * float(np.arctan(SENSOR / (2 * LENS)))  # radians, of the square picture
FRONT = (-195.0, 15.0)  # degrees of theta, the object's front half and 15 more on either side
DISTANCE_SPREAD, DISTANCE_RANGE = 0.5, (-0.5, 1.5)  # of a drawn distance about the given one, in longest sides
STEEPEST = 89.5  # degrees of elevation either way: straight from above the picture has no upright


@dataclass(frozen=True)
class ViewpointMode:
    """One of 3D-DST's five; angles in degrees.

    Attributes:
        theta: range of the uniform azimuth.
        phi: range of the polar angle.
        normal: mean and spread of the polar angle, truncated to its range; None for a uniform one.
    """

    theta: tuple[float, float]
    phi: tuple[float, float]
    normal: tuple[float, float] | None


FULL = (0.0, 360.0)
VIEWPOINT_MODES = {
    1: ViewpointMode(FULL, (0.0, 180.0), (90.0, 30.0)),
    2: ViewpointMode(FRONT, (0.0, 180.0), (90.0, 30.0)),
    3: ViewpointMode(FULL, (0.0, 195.0), (60.0, 20.0)),
    4: ViewpointMode(FRONT, (0.0, 195.0), (60.0, 20.0)),
    5: ViewpointMode(FULL, (0.0, 180.0), None),
}


@dataclass(frozen=True)
class Viewpoint:
    """Where one picture is taken from.

    Attributes:
        theta, phi: as 3D-DST draws them, degrees, before offsets.
        azimuth: of the camera about the object, degrees in [0, 360); 0 looks at its front, 90 at its left side.
        elevation: of the camera above the object's middle, degrees.
        distance: to the object's middle, in longest sides of its box.
    """

    theta: float
    phi: float
    azimuth: float
    elevation: float
    distance: float

    @property
    def yaw(self) -> float:
        """Observation angle of the object, radians in [-pi, pi): its yaw in a level camera that looks at it."""
        return float(wrap_angle(np.array(np.deg2rad(self.azimuth + 90.0))))


def truncated_normal(
    rng: np.random.Generator, mean: float, spread: float, low: float, high: float, count: int
) -> np.ndarray:
    """(count,) draws of a normal within [low, high], one uniform draw each, through the inverse of its distribution."""
    a, b = ndtr((low - mean) / spread), ndtr((high - mean) / spread)
    return np.asarray(np.clip(mean + spread * ndtri(a + (b - a) * rng.random(count)), low, high))


def draw_viewpoints(
    mode: int,
    count: int,
    distance: float,
    rng: np.random.Generator,
    vary_distance: bool = False,
    max_polar: float = 180.0,
    elevation_offset: float = 0.0,
) -> list[Viewpoint]:
    """Draw viewpoints of one object.

    Args:
        mode: 1 to 5, see :data:`VIEWPOINT_MODES`.
        count: how many.
        distance: longest sides of the object's box.
        rng: of all draws.
        vary_distance: draw each distance from a normal about the given one (spread 0.5, from 0.5 less to 1.5 more);
            else all are the given one.
        max_polar: largest polar angle, degrees: 90 is the horizon, and what stands on the ground is not seen from
            below. The distribution is cut there, its shape stays.
        elevation_offset: degrees that the camera is raised by, the ``elevation`` of the CSV file.

    Raises:
        InputError: unknown mode, a distance that enters the object, or a polar limit outside the mode's range.
    """
    if mode not in VIEWPOINT_MODES:
        raise InputError(f"viewpoint mode {mode}: expected 1 to {len(VIEWPOINT_MODES)}")
    nearest = distance + (DISTANCE_RANGE[0] if vary_distance else 0.0)
    if not (nearest >= 0.9 and distance <= 100):
        raise InputError(
            f"distance {distance:g}: expected 0.9 to 100 longest sides of the object (1.4 where it varies), for the "
            "camera must stay outside; give a larger one"
        )
    chosen = VIEWPOINT_MODES[mode]
    low, high = chosen.phi[0], min(chosen.phi[1], max_polar, 180.0)
    if not low < high:
        raise InputError(f"max_polar {max_polar:g}: expected degrees in ({low:g}, 180]; 90 is the horizon")
    theta = rng.uniform(*chosen.theta, count)
    if chosen.normal is None:
        phi = rng.uniform(low, high, count)
    else:
        phi = truncated_normal(rng, *chosen.normal, low, high, count)
    if vary_distance:
        lengths = truncated_normal(
            rng, distance, DISTANCE_SPREAD, distance + DISTANCE_RANGE[0], distance + DISTANCE_RANGE[1], count
        )
    else:
        lengths = np.full(count, distance)
    elevation = np.clip(90.0 - (phi - elevation_offset), -STEEPEST, STEEPEST)
    return [
        Viewpoint(float(t), float(p), float((t + 90.0) % 360), float(e), float(d))
        for t, p, e, d in zip(theta, phi, elevation, lengths)
    ]

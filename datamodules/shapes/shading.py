"""One shading model for the road world, the studio and pasted meshes: sun, sky, and a little reflection."""

from __future__ import annotations

import numpy as np

from datamodules.light import Light
from datamodules.shapes.primitives import GLASS

GAMMA = 2.2  # of the display curve: a value is linear light to the power 1 / GAMMA
SUN_TINT = np.array([1.06, 1.0, 0.90], np.float32)
SKY_TINT = np.array([0.93, 1.0, 1.10], np.float32)
STREET_HORIZON = (7.0, -0.2)  # the sky begins 2 degrees above the horizon and is all there is from 10 degrees on
STREET_GLASS = 0.04  # of a window's reflection beside Fresnel's: behind it is a dark cabin


def sky_radiance(directions: np.ndarray) -> np.ndarray:
    """Linear sky colour (..., 3) along unit directions (..., 3), y down: pale horizon, deeper blue above."""
    height = np.clip(-directions[..., 1:2], 0, 1)
    return np.float32(0.95) + (np.array([0.36, 0.52, 0.85], np.float32) - np.float32(0.95)) * np.sqrt(height)


def display(radiance: np.ndarray, exposure: float) -> np.ndarray:
    """Linear radiance to display values in [0, 1], with a soft shoulder above 0.8."""
    x = np.maximum(radiance * np.float32(exposure), 0)
    over = np.maximum(x - 0.7, 0)
    x = np.minimum(x, 0.7) + 0.3 * (1 - np.exp(-over / 0.3))
    return x ** np.float32(1 / GAMMA)


def _head_on(normals: np.ndarray, elevation: float) -> np.ndarray:
    """Unit directions (N, 3) from an eye at an elevation (radians), straight before each surface, to it."""
    across = np.hypot(normals[:, 0], normals[:, 2])
    level = np.cos(elevation) / np.maximum(across, 1e-6)
    return np.stack([-level * normals[:, 0], np.full_like(across, np.sin(elevation)), -level * normals[:, 2]], -1)


def shade(
    normals: np.ndarray,
    directions: np.ndarray,
    colour: np.ndarray,
    gloss: np.ndarray,
    part: np.ndarray,
    lit: np.ndarray,
    light: Light,
) -> np.ndarray:
    """Linear radiance (N, 3) of surface points.

    Args:
        normals: (N, 3) unit normals towards the viewer.
        directions: (N, 3) unit directions from the eye to the points.
        colour: (N, 3) linear albedo.
        gloss: (N,) reflection strength.
        part: (N,) part labels; glass reflects the sky.
        lit: (N,) share of the sun that reaches the point, 0 in shadow.
        light: illumination, sun in the same frame.
    """
    sun = np.asarray(light.sun, np.float32)
    lambert = np.maximum(normals @ sun, 0) * lit
    # The lower half of the surroundings is ground: darker, so that downward surfaces are.
    sky = np.float32(light.ambient) * (0.62 - 0.38 * normals[:, 1])
    direct = np.float32(1.45 * (1 - light.ambient))
    radiance = colour * (sky[:, None] * SKY_TINT + (direct * lambert)[:, None] * SUN_TINT)
    shiny = np.nonzero(gloss > 0.02)[0]
    if light.specular > 0 and len(shiny):
        n, street = normals[shiny], light.level_eye is not None
        d = directions[shiny] if light.level_eye is None else _head_on(n, light.level_eye)
        cosine = np.clip(-(n * d).sum(-1), 0, 1)
        mirror = d + 2 * cosine[:, None] * n
        fresnel = 0.04 + 0.96 * (1 - cosine) ** 5
        weight = gloss[shiny] * (np.where(part[shiny] == GLASS, STREET_GLASS if street else 0.10, 0.0) + 0.55 * fresnel)
        # Below the horizon the reflection is dark ground; in a street, houses and trees stand above it.
        rise, horizon = STREET_HORIZON if street else (3.0, 0.5)
        up, sky_seen = np.clip(horizon - rise * mirror[:, 1], 0, 1)[:, None], sky_radiance(mirror)
        if street:  # photographs show it paler than it is: it is brighter than their range
            sky_seen = (sky_seen + sky_seen.mean(-1, keepdims=True)) / 2
        seen = up * sky_seen + (1 - up) * np.float32(0.16)
        glint = np.maximum(mirror @ sun, 0) ** 60 * gloss[shiny] * lit[shiny] * direct
        radiance[shiny] += np.float32(light.specular) * (weight[:, None] * seen + (0.8 * glint)[:, None] * SUN_TINT)
    return radiance

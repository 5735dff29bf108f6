"""What the splits of a class image set differ in: light, occlusion, shape, weather. Frames as in the studio.

After OOD-CV (Zhao et al., ECCV 2022), whose test sets each change one thing about the training pictures.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from datamodules.light import Light
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.shading import GAMMA

OOD_SPLITS = ("light", "occlusion", "shape", "weather")
CLASS_SPLITS = ("train", "id", *OOD_SPLITS)
COVERED = (0.3, 0.5)  # share of the object's pixels that an occluder takes
STRETCH = ((0.6, 0.75), (1.35, 1.6))  # factors on one of an unseen shape's sides


def clutter(size: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float32 in [0, 255]: something above, something below, blocks of any colour between, out of focus."""
    horizon = int(size * rng.uniform(0.35, 0.65))
    picture: np.ndarray = np.empty((size, size, 3), np.float32)
    picture[:horizon], picture[horizon:] = _colour(rng), _colour(rng)
    for _ in range(int(rng.integers(4, 10))):
        width, height = (int(size * share) for share in rng.uniform(0.08, 0.5, 2))
        left, foot = int(size * rng.uniform(-0.2, 0.95)), horizon + int(size * rng.uniform(-0.1, 0.25))
        cv2.rectangle(picture, (left, foot - height), (left + width, foot), _colour(rng).tolist(), -1)
    picture = cv2.GaussianBlur(picture, (0, 0), size * rng.uniform(0.008, 0.03))
    grain = rng.normal(0, rng.uniform(3, 14), (max(size // 4, 2), max(size // 4, 2), 1)).astype(np.float32)
    return np.asarray(picture + cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)[..., None])


def _colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) a muted colour."""
    colour = rng.uniform(30, 235, 3)
    return np.asarray(colour.mean() + 0.55 * (colour - colour.mean()), np.float32)


def odd_light(rng: np.random.Generator) -> tuple[Light, float]:
    """A low sun with hard shadows, at dusk or too bright for the camera; and its factor on the backdrop's display."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(8, 22))
    sun = np.array([np.cos(elevation) * np.cos(azimuth), -np.sin(elevation), np.cos(elevation) * np.sin(azimuth)])
    exposure = float(rng.uniform(0.22, 0.45) if rng.random() < 0.5 else rng.uniform(1.8, 2.6))
    return Light(sun, float(rng.uniform(0.15, 0.35)), exposure, 0.3), exposure ** (1 / GAMMA)


def reshaped(mesh: CarMesh, rng: np.random.Generator) -> CarMesh:
    """The same object with one side far shorter or longer than its class has it."""
    factors = np.ones(3)
    factors[int(rng.integers(3))] = rng.uniform(*STRETCH[int(rng.integers(2))])
    dims = mesh.dims * factors
    return replace(mesh, dims=dims, mesh=mesh.mesh.fitted(dims))


def occluded(picture: np.ndarray, solid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (S, S, 3) whose object (S, S) bool something hides from the left, the right or below."""
    side, share = int(rng.integers(3)), rng.uniform(*COVERED)
    counts = solid.sum(0) if side < 2 else solid.sum(1)
    if side > 0:
        counts = counts[::-1]
    reach = int(np.searchsorted(np.cumsum(counts), share * counts.sum())) + 1
    hidden, size = picture.copy(), len(picture)
    place = (slice(None), slice(reach)), (slice(None), slice(size - reach, None)), (slice(size - reach, None),)
    area = hidden[place[side]]
    area[:] = _colour(rng) + rng.normal(0, 8, (*area.shape[:2], 1))
    return hidden


def weathered(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (S, S, 3) float32 in [0, 255] seen through fog, rain or snow."""
    kind, size = ("fog", "rain", "snow")[int(rng.integers(3))], len(picture)
    grey = np.float32(rng.uniform(165, 225))
    haze = rng.uniform(0.5, 0.72) if kind == "fog" else rng.uniform(0.15, 0.3)
    found = picture * np.float32(0.75 if kind == "rain" else 1.0)
    found = np.ascontiguousarray(found * np.float32(1 - haze) + grey * np.float32(haze), np.float32)
    if kind == "fog":
        return found
    drops, veil = int(size * size * rng.uniform(0.012, 0.025)), np.zeros((size, size), np.float32)
    slant, length = rng.uniform(-0.4, 0.4), size * rng.uniform(0.06, 0.14)
    for x, y in rng.uniform(0, size, (drops, 2)):
        if kind == "rain":
            end = (int(x + slant * length), int(y + length))
            cv2.line(veil, (int(x), int(y)), end, rng.uniform(0.25, 0.6), 1)
        else:
            cv2.circle(veil, (int(x), int(y)), int(rng.integers(0, max(size // 40, 1) + 1)), rng.uniform(0.6, 1.0), -1)
    return np.asarray(found + veil[..., None] * (np.float32(235) - found))


def sensed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 of a picture (S, S, 3) in [0, 255] as a camera takes it: a little blurred, a little noisy."""
    soft = cv2.GaussianBlur(np.asarray(picture, np.float32), (0, 0), rng.uniform(0.3, 0.7))
    noisy = soft + rng.normal(0, rng.uniform(1, 5), picture.shape)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)

"""Posed images of cars made of coloured boxes, rendered analytically: test data without meshes or a ray caster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from datamodules.geometry import Boxes3D, Camera, canonical_projection

# canonical boxes: low corner, high corner
PARTS = (
    ((-1.0, -0.1, -1.0), (1.0, 0.7, 1.0)),  # body
    ((-0.7, -1.0, -0.85), (0.45, -0.1, 0.85)),  # cabin
    ((0.45, 0.4, -1.0), (0.8, 1.0, 1.0)),  # front wheels
    ((-0.8, 0.4, -1.0), (-0.45, 1.0, 1.0)),  # rear wheels
)


def face_colours(rng: np.random.Generator) -> np.ndarray:
    """(parts, 6, 3) colours of the faces -x, +x, -y, +y, -z, +z: front yellow, rear red, sides unlike each other."""
    paint = rng.uniform(0.2, 0.9, 3)
    body = np.stack([[0.8, 0.1, 0.1], [0.9, 0.9, 0.3], paint, paint * 0.3, paint * 0.8, paint * 0.5])
    glass = np.tile([0.15, 0.2, 0.3], (6, 1))
    glass[2] = paint
    wheel = np.full((6, 3), 0.05)
    return np.stack([body, glass, wheel, wheel])


def cast(origin: np.ndarray, directions: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """RGBA (R, 4) in [0, 1] of rays from origin (3,) along (R, 3), canonical frame."""
    best = np.full(len(directions), np.inf)
    rgba = np.zeros((len(directions), 4))
    for (low, high), colour in zip(PARTS, colours):
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (np.array(low) - origin) / directions, (np.array(high) - origin) / directions
        entry, leave = np.minimum(a, b), np.maximum(a, b).min(1)
        axis, near = entry.argmax(1), entry.max(1)
        hit = (near < leave) & (near > 0) & (near < best)
        side = 2 * axis + (directions[np.arange(len(axis)), axis] < 0)
        rgba[hit] = np.concatenate([colour[side[hit]], np.ones((hit.sum(), 1))], 1)
        best[hit] = near[hit]
    return rgba


def orbit_projection(azimuth: float, elevation: float, dims: np.ndarray, size: int) -> np.ndarray:
    """(3, 4) canonical projection of a camera that orbits the box's middle at 8 m, looking at it."""
    distance, focal = 8.0, 1.55 * size
    yaw = azimuth
    tilt = np.array(
        [
            [1, 0, 0],
            [0, np.cos(elevation), -np.sin(elevation)],
            [0, np.sin(elevation), np.cos(elevation)],
        ]
    )
    intrinsics = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    pose = np.concatenate([tilt, [[0], [0], [distance]]], 1)
    camera = Camera(intrinsics @ pose, size, size)
    return canonical_projection(camera, Boxes3D.single(np.array([0, dims[1] / 2, 0]), dims, yaw))[0]


def render(projection: np.ndarray, size: int, colours: np.ndarray, oversample: int = 3) -> np.ndarray:
    """(S, S, 4) uint8 straight colour and antialiased alpha."""
    offsets = (np.arange(oversample) + 0.5) / oversample - 0.5
    inverse = np.linalg.inv(projection[:, :3])
    total = np.zeros((size * size, 4))
    for dy in offsets:
        for dx in offsets:
            v, u = np.mgrid[:size, :size].astype(float)
            pixels = np.stack([u.ravel() + dx, v.ravel() + dy, np.ones(size * size)], 1)
            sample = cast(-inverse @ projection[:, 3], pixels @ inverse.T, colours)
            total += np.concatenate([sample[:, :3] * sample[:, 3:], sample[:, 3:]], 1)
    alpha = total[:, 3:] / oversample**2
    colour = total[:, :3] / np.maximum(total[:, 3:], 1e-9)
    return np.round(np.concatenate([colour, alpha], 1) * 255).astype(np.uint8).reshape(size, size, 4)


def write_posed_boxes(
    folder: Path, objects: int = 4, views: int = 12, size: int = 32, seed: int = 0, relief: float = 0.0
) -> Path:
    """Write a posed image set of box cars and return its folder; depth grows by ``relief`` m from left to right."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, records, ramp = np.random.default_rng(seed), [], np.linspace(-relief / 2, relief / 2, size)
    for index in range(objects):
        dims = np.array([4.0, 1.5, 1.7]) * rng.uniform(0.9, 1.1, 3)
        colours = face_colours(rng)
        angles = rng.permutation(views) * 2 * np.pi / views - np.pi
        tilts = np.deg2rad(rng.uniform(0, 20, views))
        projection = np.stack([orbit_projection(a, t, dims, size) for a, t in zip(angles, tilts)])
        rgba = np.stack([render(p, size, colours) for p in projection])
        parts = (rgba[..., 3] > 127).astype(np.uint8)
        edges, depth = np.zeros_like(parts), np.where(parts > 0, 8.0 + ramp, 0.0).astype(np.float16)
        name = f"box{index:03d}"
        np.savez(folder / f"{name}.npz", rgba=rgba, projection=projection, depth=depth, parts=parts, edges=edges)
        records.append({"id": name, "dims": dims.tolist()})
    meta = {"schema": 1, "class": "Car", "image_size": size, "views": views, "objects": records, "source": "boxes"}
    (folder / "posed.json").write_text(json.dumps(meta))
    return folder

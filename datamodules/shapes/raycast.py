"""An Embree ray caster over triangle soups: nearest hits, cast shadows, single meshes through any projection."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from datamodules.light import Light
from datamodules.shapes.lattice import on_lattice
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import Mesh
from datamodules.shapes.shading import display, shade

SHADOW_OFFSET = 0.012  # metres; clears the facets of smooth-shaded low-polygon bodies


class RayScene:
    """Triangles ready to be traced.

    Args:
        triangles: (T, 3, 3) float32.
    """

    def __init__(self, triangles: np.ndarray) -> None:
        self._scene = EmbreeScene()
        vertices = np.ascontiguousarray(triangles, np.float32).reshape(-1, 3)
        TriangleMesh(self._scene, vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3))

    def nearest(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hits of N rays; origins (3,) or (N, 3), directions (N, 3) of any length."""
        directions = np.ascontiguousarray(directions, np.float32)
        origins = np.ascontiguousarray(np.broadcast_to(np.asarray(origins, np.float32), directions.shape))
        found = self._scene.run(origins, directions, output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"], found["Ng"])

    def blocked(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N,) bool, whether anything lies along the rays."""
        directions = np.ascontiguousarray(np.broadcast_to(np.asarray(directions, np.float32), origins.shape))
        return self._scene.run(np.ascontiguousarray(origins, np.float32), directions, query="OCCLUDED") == 0


@dataclass(frozen=True)
class Hits:
    """Nearest hits of N rays.

    Attributes:
        triangle: (N,) int32 index, -1 where the ray misses.
        distance: (N,) float32 in lengths of the ray's direction.
        u, v: (N,) float32 weights of the triangle's second and third corner.
        facing: (N, 3) float32 geometric normal, not normalised, either side.
    """

    triangle: np.ndarray
    distance: np.ndarray
    u: np.ndarray
    v: np.ndarray
    facing: np.ndarray


def smooth_normals(
    mesh: Mesh, triangle: np.ndarray, u: np.ndarray, v: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """(N, 3) interpolated unit normals at hits, turned towards the viewer."""
    corner = mesh.normals[triangle]
    normal = corner[:, 0] * (1 - u - v)[:, None] + corner[:, 1] * u[:, None] + corner[:, 2] * v[:, None]
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    away = (normal * directions).sum(-1) > 0
    normal[away] *= -1
    return normal


def sunlit(scene: RayScene, points: np.ndarray, facing: np.ndarray, directions: np.ndarray, light: Light) -> np.ndarray:
    """(N,) float32, 1 where the sun reaches the points; one shadow ray each.

    Args:
        points: (N, 3) hit positions.
        facing: (N, 3) geometric normals of either side.
        directions: (N, 3) view directions, which tell the visible side.
        light: illumination; nothing is traced when the sky is the only light.
    """
    if light.ambient >= 0.999:
        return np.ones(len(points), np.float32)
    sun = np.asarray(light.sun, np.float32)
    unit = facing / np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-12)
    unit = np.where(((unit * directions).sum(-1) > 0)[:, None], -unit, unit)
    towards = unit @ sun > -0.2  # facets that turn away are dark by Lambert's law anyway
    lit = np.zeros(len(points), np.float32)
    chosen = np.nonzero(towards)[0]
    if not len(chosen):
        return lit
    start = points[chosen] + unit[chosen] * SHADOW_OFFSET + sun * SHADOW_OFFSET
    lit[chosen] = ~scene.blocked(start, sun)
    return lit


_KEYS: dict[int, tuple[weakref.ref[np.ndarray], RayScene]] = {}


def ray_scene(mesh: Mesh) -> RayScene:
    """The mesh's Embree scene, built once and dropped with the mesh."""
    key = id(mesh.triangles)
    found = _KEYS.get(key)
    if found is not None and found[0]() is mesh.triangles:
        return found[1]
    scene = RayScene(mesh.triangles)
    _KEYS[key] = (weakref.ref(mesh.triangles, lambda _: _KEYS.pop(key, None)), scene)
    return scene


def pixel_rays(
    projection: np.ndarray, left: float, top: float, width: int, height: int, supersample: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rays through a window of pixels, ``supersample`` squared a pixel, pixel-major.

    Args:
        projection: (3, 4) from any frame to pixels; its third row is depth in metres.
        left, top: the window's first pixel.

    Returns:
        Origin (3,) and directions (height * width * supersample^2, 3) in that frame; a step of 1 is one metre of depth.
    """
    inverse = np.linalg.inv(projection[:, :3])
    offset = (np.arange(supersample) + 0.5) / supersample - 0.5
    v, u, dv, du = np.meshgrid(top + np.arange(height), left + np.arange(width), offset, offset, indexing="ij")
    pixels = np.stack([(u + du).ravel(), (v + dv).ravel(), np.ones(u.size)], -1)
    return -inverse @ projection[:, 3], pixels @ inverse.T


@dataclass(frozen=True)
class Samples:
    """What the rays of a window see of one mesh, one row a ray; rays that miss are absent.

    Attributes:
        ray: (M,) int64 index of the ray.
        depth: (M,) float32 metres.
        colour: (M, 3) float32 display values in [0, 1].
        normals: (M, 3) float32 in the object frame.
        part: (M,) uint8.
    """

    ray: np.ndarray
    depth: np.ndarray
    colour: np.ndarray
    normals: np.ndarray
    part: np.ndarray


def cast_car(car: CarMesh, origin: np.ndarray, directions: np.ndarray, light: Light) -> Samples:
    """Trace and shade one mesh.

    Args:
        car: the mesh.
        origin: (3,) in the canonical frame.
        directions: (N, 3) in the canonical frame, a step of 1 being one metre of depth.
        light: illumination with the sun in the object frame.
    """
    half = car.dims / 2
    scene, mesh = ray_scene(car.mesh), car.mesh
    rays = (directions * half).astype(np.float32)
    hits = scene.nearest(origin * half, rays)
    ray = np.nonzero(hits.triangle >= 0)[0]
    index, depth = hits.triangle[ray], hits.distance[ray]
    rays = rays[ray]
    points = (origin * half).astype(np.float32) + rays * depth[:, None]
    view = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    normals = smooth_normals(mesh, index, hits.u[ray], hits.v[ray], view)
    lit = sunlit(scene, points, hits.facing[ray], view, light)
    radiance = shade(normals, view, mesh.colour[index], mesh.gloss[index], mesh.part[index], lit, light)
    return Samples(ray, depth, display(radiance, light.exposure), normals, mesh.part[index])


def render_car(
    mesh: CarMesh,
    projection: np.ndarray,
    left: int,
    top: int,
    width: int,
    height: int,
    sun: np.ndarray | None = None,
    ambient: float = 0.75,
    exposure: float = 1.0,
    supersample: int = 2,
    spacing: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one mesh into a window of pixels.

    Args:
        mesh: the car (or any object) to draw.
        projection: (3, 4) canonical cube to pixels, as :func:`datamodules.geometry.canonical_projection` gives it.
        left, top, width, height: the window, pixels.
        sun: (3,) unit vector towards the sun in the object frame (``rotation_y(yaw).T @ sun_camera``); None: a default.
        ambient, exposure: see :class:`datamodules.light.Light`.
        supersample: rays a pixel and axis.
        spacing: 1, 2 or 4: pixels between those that are looked at where the picture is smooth
            (:mod:`datamodules.shapes.lattice`).

    Returns:
        (height, width, 4) uint8 colour premultiplied by alpha, and (height, width) float32 metres, 0 where empty.
    """
    light = Light(ambient=ambient, exposure=exposure)
    if sun is not None:
        light = Light(np.asarray(sun, float), ambient, exposure)
    inverse = np.linalg.inv(projection[:, :3])
    origin, rays, share = -inverse @ projection[:, 3], supersample**2, 1.0 / supersample**2
    offset = (np.arange(supersample) + 0.5) / supersample - 0.5
    down, right = (part.ravel() for part in np.meshgrid(top + offset, left + offset, indexing="ij"))

    def cast(pixels: np.ndarray, rgba: np.ndarray, depth: np.ndarray) -> None:
        v, u = (pixels[:, :1] + down).ravel(), (pixels[:, 1:] + right).ravel()
        seen = cast_car(mesh, origin, np.stack([u, v, np.ones(len(u))], -1) @ inverse.T, light)
        pixel, count = seen.ray // rays, len(pixels)
        covered = np.bincount(pixel, minlength=count)
        colour = np.empty((count, 4))
        for channel in range(3):
            colour[:, channel] = np.bincount(pixel, seen.colour[:, channel], count) * share
        colour[:, 3] = covered * share
        rgba[pixels[:, 0], pixels[:, 1]] = np.rint(colour * 255)
        depth[pixels[:, 0], pixels[:, 1]] = np.bincount(pixel, seen.depth, count) / np.maximum(covered, 1)

    return on_lattice(cast, width, height, spacing)

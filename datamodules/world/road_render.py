"""Draws a street by ray casting: image, depth, instance ids and road mask of a road layout's scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.geometry import Camera, clip_bbox, plane_height, projected_bbox, rotation_y
from datamodules.randomness import derive
from datamodules.shapes.primitives import OTHER, Mesh, soup
from datamodules.shapes.raycast import RayScene, pixel_rays, smooth_normals, sunlit
from datamodules.shapes.shading import display, shade, sky_radiance
from datamodules.world.road_layout import Road, RoadScene

SUPERSAMPLE = 2
GROUND_REACH = 400.0  # metres of ground ahead
HAZE = 260.0  # metres at which 63 % of a surface's colour has turned into the horizon's


@dataclass(frozen=True)
class DrawnStreet:
    """One drawn frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 metres, 0 in the sky.
        instances: (H, W) int64 1 + object index, 0 elsewhere.
        road: (H, W) bool carriageway and parking strips where visible.
        visible: (N,) share of each object's silhouette inside the image that nothing hides, 0 when it is outside.
        pixels: (N,) float visible area, pixels.
        covered: (N,) float area of the whole silhouette inside the image, hidden parts included, pixels.
        silhouettes: (N, 4) tight rectangle of each object's whole silhouette inside the image, NaN when it is outside.
    """

    image: np.ndarray
    depth: np.ndarray
    instances: np.ndarray
    road: np.ndarray
    visible: np.ndarray
    pixels: np.ndarray
    covered: np.ndarray
    silhouettes: np.ndarray


@dataclass(frozen=True)
class Stage:
    """A scene whose triangles are ready to be traced from any camera.

    Attributes:
        scene: what is drawn.
        soup: all triangles, in the scene's frame.
        owner: (T,) instance of each triangle: -1 ground, 0 scenery, 1 + i for object i.
        caster: the ray caster over them.
        around: whether there is ground in every direction; else only ahead (z > -30 m).
    """

    scene: RoadScene
    soup: Mesh
    owner: np.ndarray
    caster: RayScene
    around: bool


def _noise_tile() -> np.ndarray:
    """(256, 256) float32 tile of smooth noise in [-1, 1] that repeats."""
    rng = derive(0, "ground texture")
    total = np.zeros((256, 256), np.float32)
    for size, weight in ((8, 0.3), (32, 0.35), (128, 0.5), (256, 0.5)):
        coarse = np.pad(rng.uniform(-1, 1, (size, size)).astype(np.float32), 2, mode="wrap")
        scale = 256 // size
        big = cv2.resize(coarse, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        total += weight * big[2 * scale : 2 * scale + 256, 2 * scale : 2 * scale + 256]
    return np.clip(total, -1, 1)


_NOISE = _noise_tile()


def _texture(u: np.ndarray, v: np.ndarray, cell: float) -> np.ndarray:
    """Noise at ground coordinates, ``cell`` metres a texel."""
    return _NOISE[np.floor(u / cell).astype(np.int64) & 255, np.floor(v / cell).astype(np.int64) & 255]


def ground_colour(
    road: Road, x: np.ndarray, z: np.ndarray, distance: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Linear albedo (N, 3) of the ground at (x, z), and (N,) bool whether it is carriageway or parking strip.

    Args:
        road: course and cross-section.
        x, z: (N,) metres.
        distance: (N,) metres from the camera; None takes z.
    """
    u, v = road.lateral(x, z), z
    # Texels smaller than a pixel would only flicker.
    fade = np.clip(1.2 - (z if distance is None else distance) / 45, 0.15, 1)
    fine = _texture(u, v, 0.06) * fade
    coarse = _texture(u + 31.0, v + 17.0, 0.45)
    left, right = road.edges
    on_road = (u > left) & (u < right)
    colour = np.array(road.grass, np.float32) * (1 + 0.45 * fine + 0.35 * coarse)[:, None]
    tone = road.asphalt * (1 + 0.22 * fine + 0.14 * coarse)
    paint = np.zeros(len(u), bool)
    if road.marking == 2:
        paint |= np.abs(u) < 0.07
    elif road.marking == 1:
        paint |= (np.abs(u) < 0.07) & (np.mod(v, 7.0) < 3.0)
    if road.edge_lines:
        paint |= np.abs(np.abs(u) - road.lane + 0.12) < 0.06
    for side, sign in ((0, -1.0), (1, 1.0)):
        if road.parking[side]:
            inner = sign * road.lane
            paint |= (np.abs(u - inner) < 0.05) & (np.mod(v, 2.0) < 1.0)
    worn = 0.55 * (0.8 + 0.3 * coarse)
    tone = np.where(paint, worn, tone)
    colour[on_road] = tone[on_road, None]
    for side, sign in ((0, -1.0), (1, 1.0)):
        out = (u - road.edges[side]) * sign
        kerb = (out >= 0) & (out < 0.16)
        colour[kerb] = 0.42
        start = 0.16 + road.verge[side]
        path = (out >= start) & (out < start + road.pavement[side])
        joint = (np.mod(v, 0.9) < 0.05) | (np.mod(u, 0.9) < 0.05)
        slab = road.paving * (1 + 0.12 * fine + 0.10 * coarse) * np.where(joint, 1 - 0.3 * fade, 1.0)
        colour[path] = slab[path, None]
    return np.clip(colour, 0.01, 0.9), on_road


def _ground(plane: np.ndarray, around: bool) -> Mesh:
    """Two triangles of the plane in front of (and a little behind) the camera, or on all sides of it."""
    x, z = np.meshgrid([-GROUND_REACH, GROUND_REACH], [-GROUND_REACH if around else -30.0, GROUND_REACH])
    corner = np.stack([x, plane_height(plane, x, z), z], -1)
    triangles = np.stack([corner[0, 0], corner[0, 1], corner[1, 1], corner[0, 0], corner[1, 1], corner[1, 0]])
    return soup(triangles.reshape(2, 3, 3), np.broadcast_to(plane[:3], (2, 3, 3)), (0.1, 0.1, 0.1), 0.0, OTHER)


def _contact(scene: RoadScene, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(N,) share of sky light that reaches the ground near and under vehicles."""
    open_sky = np.ones(len(x), np.float32)
    boxes = scene.boxes
    for i in range(len(boxes)):
        length, _, width = boxes.dims[i]
        cx, cz = boxes.center[i, 0], boxes.center[i, 2]
        near = np.nonzero((np.abs(x - cx) < length * 0.5 + 1.5) & (np.abs(z - cz) < length * 0.5 + 1.5))[0]
        dx, dz = x[near] - cx, z[near] - cz
        c, s = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        a = np.abs(c * dx - s * dz) - length * 0.46
        b = np.abs(s * dx + c * dz) - width * 0.42
        distance = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0)
        open_sky[near] *= 1 - 0.8 / (1 + np.exp((distance - 0.05) / 0.14))
    return open_sky


def assemble(scene: RoadScene, around: bool = False) -> Stage:
    """Gather all triangles of a scene and build its ray caster.

    Args:
        scene: what to draw.
        around: lay ground behind the camera too.
    """
    parts = [_ground(scene.plane, around), scene.static]
    ids = [np.full(2, -1), np.zeros(len(scene.static), np.int64)]
    middle = scene.boxes.center - np.array([0, 0.5, 0]) * scene.boxes.dims[:, 1:2]
    rotation = rotation_y(scene.boxes.yaw)
    for i, thing in enumerate(scene.objects):
        parts.append(thing.mesh.transformed(rotation[i], middle[i]))
        ids.append(np.full(len(thing.mesh), 1 + i))
    soup = Mesh.concatenate(parts)
    return Stage(scene, soup, np.concatenate(ids), RayScene(soup.triangles), around)


def render(scene: RoadScene, rng: np.random.Generator) -> DrawnStreet:
    """Draw a scene through its own camera; ``rng`` drives only the sensor's noise."""
    return draw_stage(assemble(scene), scene.camera, rng)


def draw_stage(stage: Stage, camera: Camera, rng: np.random.Generator) -> DrawnStreet:
    """Draw a stage through a camera.

    Args:
        stage: the scene with its ray caster.
        camera: its projection maps the scene's frame to pixels, so that it may stand and look anywhere.
        rng: drives only the sensor's noise.
    """
    scene, soup = stage.scene, stage.soup
    origin, rays = pixel_rays(camera.projection, 0, 0, camera.width, camera.height, SUPERSAMPLE)
    rays = rays.astype(np.float32)
    hits = stage.caster.nearest(origin, rays)
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    radiance = np.empty_like(rays)
    radiance[hits.triangle < 0] = _sky(scene, unit[hits.triangle < 0])
    ray = np.nonzero(hits.triangle >= 0)[0]
    index, depth, view = hits.triangle[ray], hits.distance[ray], unit[ray]
    points = origin.astype(np.float32) + rays[ray] * depth[:, None]
    normals = smooth_normals(soup, index, hits.u[ray], hits.v[ray], view)
    lit = sunlit(stage.caster, points, hits.facing[ray], view, scene.light)
    colour = soup.colour[index]
    instance = stage.owner[index]
    ground = np.nonzero(instance < 0)[0]
    distance = depth[ground] if stage.around else None
    albedo, on_road = ground_colour(scene.road, points[ground, 0], points[ground, 2], distance)
    colour[ground] = albedo * _contact(scene, points[ground, 0], points[ground, 2])[:, None]
    surface = shade(normals, view, colour, soup.gloss[index], soup.part[index], lit, scene.light)
    haze = np.exp(-depth / HAZE)[:, None].astype(np.float32)
    radiance[ray] = surface * haze + (1 - haze) * np.float32(0.8)
    ids, metres, drivable = (np.zeros(len(rays), t) for t in (np.int64, np.float32, bool))
    ids[ray], metres[ray] = np.maximum(instance, 0), depth
    drivable[ray[ground]] = on_road
    ids[ray[ground]] = -1
    image = _develop(radiance, scene, camera, rng)
    shape = (camera.height, camera.width, SUPERSAMPLE**2)
    instances, depth_image = _resolve(ids.reshape(shape), metres.reshape(shape))
    road = drivable.reshape(shape).mean(-1) >= 0.5
    return DrawnStreet(
        image, depth_image, instances, road, *_visibility(scene, camera, ids.reshape(shape), rays, origin)
    )


def _sky(scene: RoadScene, unit: np.ndarray) -> np.ndarray:
    """Sky (N, 3) along unit directions, with a glow around the sun on clear days."""
    radiance = sky_radiance(unit) * np.float32(0.75 + 0.35 * scene.light.ambient)
    if scene.light.ambient < 0.8:
        radiance += (0.5 * np.maximum(unit @ scene.light.sun.astype(np.float32), 0) ** 24)[:, None]
    return radiance


def _develop(radiance: np.ndarray, scene: RoadScene, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Radiance of all rays to the sensor's uint8 image: average, blur, white balance, display curve, noise."""
    h, w = camera.height, camera.width
    linear = radiance.reshape(h, w, SUPERSAMPLE**2, 3).mean(2)
    linear = cv2.GaussianBlur(linear, (0, 0), scene.blur) * scene.balance.astype(np.float32)
    shown = display(linear, scene.light.exposure)
    shown += rng.standard_normal(shown.shape, np.float32) * np.float32(scene.noise)
    return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)


def _resolve(ids: np.ndarray, metres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per pixel the instance most of its rays hit, and the mean depth of those rays."""
    order = np.sort(ids, -1)
    a, b, c, d = (order[..., i] for i in range(4))
    chosen = np.where(b == c, b, np.where(a == b, a, np.where(c == d, c, d)))
    same = (ids == chosen[..., None]) & (metres > 0)
    depth = (metres * same).sum(-1) / np.maximum(same.sum(-1), 1)
    return np.maximum(chosen, 0), depth.astype(np.float32)


def _window(camera: Camera, bbox: np.ndarray) -> tuple[int, int, int, int] | None:
    """Integer window of an image rectangle, or None when it is outside."""
    if np.isnan(bbox).any():
        return None
    left, top = np.maximum(np.floor(bbox[:2]) - 1, 0).astype(int)
    right, bottom = np.minimum(np.ceil(bbox[2:]) + 2, [camera.width, camera.height]).astype(int)
    return (left, top, right, bottom) if right > left and bottom > top else None


def _visibility(
    scene: RoadScene, camera: Camera, ids: np.ndarray, rays: np.ndarray, origin: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compare what each object covers in the scene with what the same rays hit of it alone.

    Returns:
        visible share (N,), visible pixels (N,), pixels of the whole silhouette (N,), silhouette rectangles (N, 4).
    """
    count = len(scene.objects)
    share, pixels, covered, boxes = np.zeros(count), np.zeros(count), np.zeros(count), np.full((count, 4), np.nan)
    windows = projected_bbox(camera, scene.boxes, clip=False)
    middle = scene.boxes.center - np.array([0, 0.5, 0]) * scene.boxes.dims[:, 1:2]
    rotation = rotation_y(scene.boxes.yaw)
    grid = rays.reshape(camera.height, camera.width, SUPERSAMPLE**2, 3)
    for i, thing in enumerate(scene.objects):
        window = _window(camera, windows[i])
        if window is None:
            continue
        left, top, right, bottom = window
        local = grid[top:bottom, left:right].reshape(-1, 3) @ rotation[i].astype(np.float32)
        hit = RayScene(thing.mesh.triangles).nearest((origin - middle[i]) @ rotation[i], local).triangle >= 0
        hit = hit.reshape(bottom - top, right - left, SUPERSAMPLE**2)
        if not hit.any():
            continue
        seen = (ids[top:bottom, left:right] == i + 1).sum()
        share[i], pixels[i], covered[i] = seen / hit.sum(), seen / SUPERSAMPLE**2, hit.sum() / SUPERSAMPLE**2
        v, u, k = np.nonzero(hit)
        offset = (np.arange(SUPERSAMPLE) + 0.5) / SUPERSAMPLE - 0.5
        x, y, half = left + u + offset[k % SUPERSAMPLE], top + v + offset[k // SUPERSAMPLE], 0.5 / SUPERSAMPLE
        reach = np.array([x.min() - half, y.min() - half, x.max() + half, y.max() + half])
        boxes[i] = clip_bbox(reach, camera.width, camera.height)
    return np.minimum(share, 1), pixels, covered, boxes

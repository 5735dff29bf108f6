"""What a procedural street holds and where: camera, ground, light, road, traffic and roadside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Boxes3D, Camera, plane_height, rotation_y
from datamodules.light import Light
from datamodules.rotated_iou import rectangle_intersection
from datamodules.shapes import street
from datamodules.shapes.meshes import CarMesh, car
from datamodules.shapes.primitives import Mesh

# KITTI's colour camera: focal length, principal point, image size (pixels), and its offset from the label frame (m).
KITTI_FOCAL, KITTI_CENTRE, KITTI_SIZE = 721.5377, (609.5593, 172.854), (1242, 375)
KITTI_OFFSET = (0.05984, -0.00036, 0.002746)
POOL = 2000  # distinct cars a population offers to the world's frames


@dataclass(frozen=True)
class Road:
    """A road's course and cross-section; lateral positions are metres to the right of its centre line.

    Attributes:
        offset: lateral position of the centre line at z = 0, metres to the right of the camera.
        heading: angle of the road against the camera's z axis, radians towards +x.
        bend: curvature, 1/m.
        lane: lane width, metres.
        parking: width of the parking strips (left, right), 0 when there is none.
        verge: grass between kerb and pavement (left, right).
        pavement: width of the pavement (left, right).
        marking: 0 none, 1 dashed, 2 solid centre line.
        edge_lines: whether the carriageway has white edge lines.
        tone: albedo of asphalt, pavement (linear grey), and (3,) grass.
    """

    offset: float
    heading: float
    bend: float
    lane: float
    parking: tuple[float, float]
    verge: tuple[float, float]
    pavement: tuple[float, float]
    marking: int
    edge_lines: bool
    asphalt: float
    paving: float
    grass: tuple[float, float, float]

    @property
    def edges(self) -> tuple[float, float]:
        """Lateral positions of the left and right kerb."""
        return -self.lane - self.parking[0], self.lane + self.parking[1]

    def centre(self, z: np.ndarray | float) -> np.ndarray:
        """x of the centre line at depth z."""
        return self.offset + np.tan(self.heading) * z + 0.5 * self.bend * z**2

    def angle(self, z: np.ndarray | float) -> np.ndarray:
        """Direction of the road at depth z, radians from +z towards +x."""
        return np.arctan(np.tan(self.heading) + self.bend * z)

    def lateral(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Metres to the right of the centre line."""
        return (x - self.centre(z)) * np.cos(self.angle(z))

    def at(self, lateral: float, z: float) -> tuple[float, float, float]:
        """x, z and the yaw of something that drives away, at a lateral position abreast of depth z."""
        psi = float(self.angle(z))
        x = float(self.centre(z)) + lateral * np.cos(psi)
        return x, z - lateral * np.sin(psi), psi - np.pi / 2


@dataclass(frozen=True)
class RoadScene:
    """One street ready to be drawn.

    Attributes:
        camera: camera of the image.
        plane: (4,) ground plane, b < 0 and unit normal.
        road: course and cross-section.
        light: illumination, sun in the camera frame.
        objects: labelled objects.
        boxes: their boxes, one an object.
        static: everything else, in the camera frame.
        sensor: blur in pixels, noise in display units, white balance (3,).
    """

    camera: Camera
    plane: np.ndarray
    road: Road
    light: Light
    objects: tuple[CarMesh, ...]
    boxes: Boxes3D
    static: Mesh
    blur: float
    noise: float
    balance: np.ndarray


def draw_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """KITTI's field of view at any size, calibration varied by a few per cent."""
    sx, sy = width / KITTI_SIZE[0], height / KITTI_SIZE[1]
    focal = KITTI_FOCAL * rng.uniform(0.96, 1.04)
    intrinsics = np.array(
        [
            [focal * sx, 0, (KITTI_CENTRE[0] + rng.normal(0, 5)) * sx],
            [0, focal * sy, (KITTI_CENTRE[1] + rng.normal(0, 4)) * sy],
            [0, 0, 1],
        ]
    )
    offset = np.array(KITTI_OFFSET) * rng.uniform(0.9, 1.1, 3)
    return Camera(np.column_stack([intrinsics, intrinsics @ offset]), width, height)


def draw_plane(rng: np.random.Generator) -> np.ndarray:
    """Ground plane (4,) under a camera about 1.65 m up, with small pitch, slope and roll."""
    pitch, roll = rng.normal(0, 0.010), rng.normal(0, 0.006)
    normal = np.array([np.tan(roll), -1.0, np.tan(pitch)])
    normal /= np.linalg.norm(normal)
    return np.append(normal, 1.65 + rng.normal(0, 0.04))


def draw_light(rng: np.random.Generator) -> Light:
    """Sun and sky of one frame, the sun in the camera frame."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(22, 65))
    sun = np.array([np.cos(elevation) * np.sin(azimuth), -np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    ambient = rng.uniform(0.88, 1.0) if rng.random() < 0.3 else rng.uniform(0.38, 0.68)
    return Light(sun, float(ambient), float(rng.uniform(0.8, 1.2)))


def draw_road(rng: np.random.Generator) -> Road:
    """Course and cross-section."""
    lane = rng.uniform(2.9, 3.7)
    strip = [float(rng.uniform(2.0, 2.4)) if rng.random() < 0.6 else 0.0 for _ in range(2)]
    verge = [float(rng.uniform(0.6, 3.0)) if rng.random() < 0.4 else 0.0 for _ in range(2)]
    pavement = [float(rng.uniform(1.4, 3.2)) if rng.random() < 0.85 else 0.0 for _ in range(2)]
    green = rng.uniform(0.04, 0.12)
    return Road(
        offset=float(-lane / 2 + rng.normal(0, 0.35)),
        heading=float(rng.normal(0, 0.035)),
        bend=float(rng.normal(0, 0.0012)),
        lane=float(lane),
        parking=(strip[0], strip[1]),
        verge=(verge[0], verge[1]),
        pavement=(pavement[0], pavement[1]),
        marking=int(rng.choice([0, 1, 2], p=[0.25, 0.55, 0.2])),
        edge_lines=bool(rng.random() < 0.35),
        asphalt=float(rng.uniform(0.07, 0.20)),
        paving=float(rng.uniform(0.18, 0.40)),
        grass=(float(green * rng.uniform(0.6, 1.1)), float(green * 1.3), float(green * 0.4)),
    )


class Builder:
    """Places things on one road, keeping labelled objects apart."""

    def __init__(self, rng: np.random.Generator, road: Road, plane: np.ndarray) -> None:
        self.rng, self.road, self.plane = rng, road, plane
        self.objects: list[CarMesh] = []
        self.poses: list[tuple[float, float, float]] = []
        self.static: list[Mesh] = []

    def put(self, thing: CarMesh, x: float, z: float, yaw: float, gap: float = 0.25) -> bool:
        """Place a labelled object unless it would touch another."""
        here = footprint(x, z, yaw, thing.dims, gap)
        for other, (ox, oz, oyaw) in zip(self.objects, self.poses):
            if rectangle_intersection(*here, *footprint(ox, oz, oyaw, other.dims, gap)) > 0:
                return False
        self.objects.append(thing)
        self.poses.append((x, z, yaw))
        return True

    def stand(self, mesh: Mesh, x: float, z: float, yaw: float) -> None:
        """Place scenery that stands on y = 0 of its own frame."""
        y = float(plane_height(self.plane, x, z))
        self.static.append(mesh.transformed(rotation_y(np.asarray(yaw)), np.array([x, y, z])))

    @property
    def boxes(self) -> Boxes3D:
        if not self.poses:
            return Boxes3D.empty()
        pose = np.array(self.poses)
        y = plane_height(self.plane, pose[:, 0], pose[:, 1])
        yaw = (pose[:, 2] + np.pi) % (2 * np.pi) - np.pi
        return Boxes3D(np.column_stack([pose[:, 0], y, pose[:, 1]]), np.array([o.dims for o in self.objects]), yaw)


def footprint(x: float, z: float, yaw: float, dims: np.ndarray, gap: float) -> tuple[float, ...]:
    """Ground rectangle x, z, length, width, yaw of something, grown by ``gap`` metres on all sides."""
    return float(x), float(z), float(dims[0] + 2 * gap), float(dims[2] + 2 * gap), float(yaw)


def _vehicle(rng: np.random.Generator, population: str, seed: int) -> CarMesh:
    """A car of the population, or now and then a van."""
    index = int(rng.integers(POOL))
    return car(population, index, seed, "van" if rng.random() < 0.08 else None)


def _traffic(b: Builder, vehicle: Callable[[], CarMesh]) -> None:
    """Driving, oncoming, crossing and parked vehicles."""
    rng, road = b.rng, b.road

    def drive(lateral: float, near: float, far: float, away: bool, count: int) -> None:
        for _ in range(count):
            x, z, yaw = road.at(lateral + rng.normal(0, 0.2), float(rng.uniform(near, far)))
            b.put(vehicle(), x, z, yaw + (0 if away else np.pi) + rng.normal(0, 0.04), 0.6)

    drive(road.lane / 2, 8, 55, True, int(rng.random() < 0.40) + int(rng.random() < 0.12))
    drive(-road.lane / 2, 7, 55, False, int(rng.random() < 0.40) + int(rng.random() < 0.12))
    if rng.random() < 0.22:  # turning or crossing
        x, z, _ = road.at(float(rng.uniform(-1, 1) * road.lane), float(rng.uniform(9, 45)))
        b.put(vehicle(), x, z, float(rng.uniform(-np.pi, np.pi)), 0.6)
    for side, sign in ((0, -1.0), (1, 1.0)):
        edge, square = road.edges[side], rng.random() < 0.18
        if not road.parking[side] and not square:
            continue
        z = float(rng.uniform(3, 12))
        density = rng.uniform(0.0, 0.26)
        along_road = rng.random() < 0.85
        while z < 58:
            if rng.random() < density:
                lateral = edge + sign * 2.6 if square else edge - sign * road.parking[side] * 0.5
                x, zz, yaw = road.at(lateral + rng.normal(0, 0.12), z)
                turn = np.pi / 2 * rng.choice([-1, 1]) if square else (0.0 if (sign > 0) == along_road else np.pi)
                b.put(vehicle(), x, zz, yaw + turn + rng.normal(0, 0.04))
            z += float(rng.uniform(2.6, 3.4) if square else rng.uniform(5.2, 6.8))


def _people(b: Builder) -> None:
    rng, road = b.rng, b.road
    for _ in range(int(rng.poisson(0.7))):
        side = int(rng.integers(2))
        sign = -1.0 if side == 0 else 1.0
        lateral = road.edges[side] + sign * (road.verge[side] + rng.uniform(0.3, 1.8))
        if rng.random() < 0.1:
            lateral = rng.uniform(-road.lane, road.lane)
        x, z, yaw = road.at(float(lateral), float(rng.uniform(6, 40)))
        b.put(street.pedestrian(rng), x, z, yaw + rng.choice([0, np.pi]) + rng.normal(0, 0.4))
    for _ in range(int(rng.poisson(0.3))):
        away = rng.random() < 0.5
        x, z, yaw = road.at(float((1 if away else -1) * road.lane * rng.uniform(0.75, 0.98)), float(rng.uniform(7, 40)))
        b.put(street.cyclist(rng), x, z, yaw + (0 if away else np.pi))


def roadside(
    b: Builder,
    start: tuple[float, float] = (2.0, 12.0),
    far: float = 110.0,
    strip: tuple[float, float] = (7.0, 60.0),
    density: float = 1.0,
) -> None:
    """Buildings, trees, poles, signs, bins and bushes on both sides.

    Args:
        b: where they go.
        start: range of depths (m) at which the row of buildings and trees begins.
        far: depth (m) at which it ends.
        strip: range of depths (m) of the things beside the kerb.
        density: factor on how many of those there are.
    """
    rng, road = b.rng, b.road
    for side, sign in ((0, -1.0), (1, 1.0)):
        kerb = road.edges[side]
        back = kerb + sign * (road.verge[side] + road.pavement[side])
        urban = rng.random() < 0.6
        z = float(rng.uniform(*start))
        front = back + sign * rng.uniform(0.2, 5.0)
        while z < far:
            length = float(rng.uniform(7, 18))
            if urban and rng.random() < 0.85:
                x, zz, yaw = road.at(front, z + length / 2)
                # The front looks at the road: its +z side (away from the viewer of the wall) points outward.
                b.stand(street.building(rng, length), x, zz, yaw + (np.pi if sign > 0 else 0.0))
            elif rng.random() < 0.9:
                for _ in range(int(rng.integers(1, 4))):
                    x, zz, yaw = road.at(front + sign * float(rng.uniform(1, 9)), z + float(rng.uniform(0, length)))
                    b.stand(street.tree(rng) if rng.random() < 0.6 else street.bush(rng), x, zz, yaw)
            z += length + (float(rng.uniform(0, 6)) if rng.random() < 0.4 else 0.1)
        kerbside = kerb + sign * (0.45 if road.verge[side] == 0 else road.verge[side] / 2)
        for make, rate in ((street.lamp_post, 1.6), (street.sign, 1.0), (street.bin_, 1.4), (street.tree, 0.8)):
            for _ in range(int(rng.poisson(rate * density))):
                x, zz, yaw = road.at(kerbside + sign * float(rng.uniform(0, 0.4)), float(rng.uniform(*strip)))
                b.stand(make(rng), x, zz, yaw + (np.pi if sign > 0 and make is street.lamp_post else 0.0))


def draw_scene(rng: np.random.Generator, population: str, seed: int, width: int, height: int) -> RoadScene:
    """Draw one street.

    Args:
        rng: the frame's generator.
        population: whose cars are used, "train" or "val".
        seed: the world's seed, which with the index names each car.
        width, height: image size in pixels.
    """
    camera, plane, light, road = draw_camera(rng, width, height), draw_plane(rng), draw_light(rng), draw_road(rng)
    builder = Builder(rng, road, plane)
    _traffic(builder, lambda: _vehicle(rng, population, seed))
    _people(builder)
    roadside(builder)
    return RoadScene(
        camera,
        plane,
        road,
        light,
        tuple(builder.objects),
        builder.boxes,
        Mesh.concatenate(builder.static) if builder.static else street.bush(rng).moved(0, 50, -50),
        float(rng.uniform(0.25, 0.5)),
        float(rng.uniform(0.006, 0.016)),
        np.clip(1 + rng.normal(0, 0.025, 3), 0.9, 1.1),
    )

"""Who is on a surround scene's street: all ten detection classes, moving, stopped and parked."""

from __future__ import annotations

import numpy as np

from datamodules.shapes import street, vehicles
from datamodules.shapes.meshes import CarMesh, car
from datamodules.world.road_layout import POOL
from datamodules.world.surround.actors import Actor, Cast

BEHIND, AHEAD = 60.0, 65.0  # metres of street with things on it, before the first and after the last place of the car
PLACE_TRIES = 40  # places tried for an object that every scene must have
DRIVING = ("car", "truck", "bus", "motorcycle")
DRIVING_SHARES = (0.72, 0.12, 0.09, 0.07)
PARKING = ("car", "truck", "trailer", "bus", "motorcycle")
PARKING_SHARES = (0.78, 0.08, 0.06, 0.03, 0.05)


def fill_street(cast: Cast, population: str, seed: int) -> None:
    """Put everything on the street.

    The rare classes come first and near the car, so that every scene has each class several times.

    Args:
        cast: takes the actors.
        population: whose cars are used.
        seed: the world's seed.
    """
    _roadworks(cast)
    _rare(cast)
    _lane(cast, population, seed, 1.0)
    _lane(cast, population, seed, -1.0)
    _cycles(cast)
    _strips(cast, population, seed)
    _people(cast)


def _vehicle(cast: Cast, name: str, population: str, seed: int, moving: bool) -> tuple[CarMesh, str]:
    """A vehicle of a class, and the class, which for pickups is nuScenes' "truck"."""
    rng = cast.rng
    if name == "truck":
        return vehicles.truck(rng), name
    if name == "bus":
        return vehicles.bus(rng), name
    if name == "trailer":
        return vehicles.trailer(rng), name
    if name == "motorcycle":
        return vehicles.motorcycle(rng, moving), name
    body = "van" if rng.random() < 0.08 else None
    thing = car(population, int(rng.integers(POOL)), seed, body)
    return thing, "truck" if thing.body == "pickup" else "car"


def _attribute(name: str, still: str, speed: float) -> str:
    """What nuScenes calls the state of a vehicle or cycle."""
    if name in ("bicycle", "motorcycle"):
        return "cycle.with_rider" if speed else "cycle.without_rider"
    return "vehicle.moving" if speed else still


def _lane(cast: Cast, population: str, seed: int, direction: float) -> None:
    """Traffic of one lane; who is ahead is never slower, so that nobody runs into another."""
    rng, lane, ego = cast.rng, cast.course.road.lane, direction > 0
    reach = (-BEHIND, cast.travel + AHEAD) if ego else (-BEHIND, cast.travel + AHEAD + 25)
    way, places = float(rng.uniform(0, 12)), []
    while way < reach[1] - reach[0]:
        places.append(way)
        way += float(rng.uniform(11, 34))
    speeds = np.sort(rng.uniform(2.5, 11.0, len(places)))
    waiting = rng.random() < 0.4 and not ego
    own = cast.travel / max(float(cast.times[-1]), 1e-9) or 6.0
    for way, speed in zip(places, speeds):
        z = reach[0] + way if ego else reach[1] - way
        speed = 0.0 if waiting and speed < 5.0 else float(speed)
        if ego:  # behind the carrying car not faster than it, before it not slower
            speed = min(speed, own) if z < 0 else max(speed, own)
        name = str(rng.choice(DRIVING, p=DRIVING_SHARES))
        thing, name = _vehicle(cast, name, population, seed, speed > 0)
        lateral = direction * lane / 2 + float(rng.normal(0, 0.12))
        turn = float(rng.normal(0, 0.015)) + (0.0 if ego else np.pi)
        state = _attribute(name, "vehicle.stopped", speed)
        cast.put(Actor(thing, name, state, lateral, z, direction * speed, 0.0, turn), 0.4)


def _strip(cast: Cast, side: float, z: float, thing: CarMesh, name: str, still: str = "vehicle.parked") -> bool:
    """Park something in a parking strip, mostly in the direction of travel."""
    rng, road = cast.rng, cast.course.road
    lateral = side * (road.lane + road.parking[int(side > 0)] / 2)
    turn = (0.0 if side > 0 else np.pi) + (np.pi if rng.random() < 0.1 else 0.0) + float(rng.normal(0, 0.025))
    return cast.put(Actor(thing, name, _attribute(name, still, 0.0), lateral, z, 0.0, 0.0, turn))


def _near(cast: Cast) -> float:
    """A depth that the carrying car sees from nearby for the whole scene."""
    return float(cast.rng.uniform(-14, 22 + cast.travel))


def _side(cast: Cast) -> float:
    return float(cast.rng.choice([-1.0, 1.0]))


def _rare(cast: Cast) -> None:
    """At least one truck, bus, trailer and motorcycle beside the road."""
    rng = cast.rng
    for name, still in (("bus", "vehicle.stopped"), ("trailer", "vehicle.parked"), ("truck", "vehicle.parked")):
        for _ in range(1 + int(rng.random() < 0.4)):
            thing, _ = _vehicle(cast, name, "", 0, False)
            any(_strip(cast, _side(cast), _near(cast), thing, name, still) for _ in range(PLACE_TRIES))
    for _ in range(int(rng.integers(1, 4))):
        thing = vehicles.motorcycle(rng, False)
        any(_strip(cast, _side(cast), _near(cast), thing, "motorcycle") for _ in range(PLACE_TRIES))


def _strips(cast: Cast, population: str, seed: int) -> None:
    """Rows of parked vehicles."""
    rng = cast.rng
    for side in (-1.0, 1.0):
        density, z = float(rng.uniform(0.4, 0.8)), -BEHIND + float(rng.uniform(0, 6))
        while z < cast.travel + AHEAD:
            if rng.random() < density:
                name = str(rng.choice(PARKING, p=PARKING_SHARES))
                thing, name = _vehicle(cast, name, population, seed, False)
                _strip(cast, side, z, thing, name)
            z += float(rng.uniform(5.2, 7.5))


def _roadworks(cast: Cast) -> None:
    """A closed stretch of a parking strip: a machine, boards at its ends, a wall along it, cones before it."""
    rng, road = cast.rng, cast.course.road
    for _ in range(1 + int(rng.random() < 0.5)):
        side, start = _side(cast), float(rng.uniform(-8, 14 + cast.travel))
        strip = road.parking[int(side > 0)]
        middle, length = side * (road.lane + strip / 2), float(rng.uniform(11, 17))
        machine = vehicles.construction_vehicle(rng)
        turn = float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.1))
        spot = start + length / 2
        if not cast.put(Actor(machine, "construction_vehicle", "vehicle.parked", middle + side * 0.5, spot, turn=turn)):
            continue
        for end in (start, start + length):
            cast.put(Actor(vehicles.barrier(rng), "barrier", "", middle, end, turn=float(rng.normal(0, 0.05))))
        kind, z = rng.random() < 0.6, start + 2.5
        while z < start + length - 2.0:  # towards the lane: a wall of barriers or a row of cones
            edge = side * (road.lane + 0.05)
            if kind:
                wall = Actor(vehicles.barrier(rng), "barrier", "", edge, z, turn=np.pi / 2 + float(rng.normal(0, 0.02)))
                cast.put(wall, 0.02)
                z += 2.8
            else:
                cast.put(Actor(vehicles.traffic_cone(rng), "traffic_cone", "", edge, z, turn=rng.uniform(-1, 1)), 0.02)
                z += float(rng.uniform(1.8, 2.6))
        for i in range(int(rng.integers(3, 6))):  # a taper of cones towards the traffic
            z = start - 1.5 * (i + 1) if side > 0 else start + length + 1.5 * (i + 1)
            lateral = side * (road.lane + 0.1 + 0.4 * i)
            cast.put(Actor(vehicles.traffic_cone(rng), "traffic_cone", "", lateral, z, turn=rng.uniform(-1, 1)), 0.02)
    for _ in range(int(rng.integers(1, 4))):  # and cones that stand about on the kerb
        side = _side(cast)
        lateral = road.edges[int(side > 0)] + side * 0.35
        cast.put(Actor(vehicles.traffic_cone(rng), "traffic_cone", "", lateral, _near(cast)), 0.05)


def _cycles(cast: Cast) -> None:
    """Cyclists and motorcyclists at the edge of the lanes, bicycles at the kerb."""
    rng, road = cast.rng, cast.course.road
    for _ in range(int(rng.integers(2, 5))):
        direction = _side(cast)
        lateral = direction * (road.lane - float(rng.uniform(0.25, 0.5)))
        speed, turn = direction * float(rng.uniform(2.5, 6.0)), 0.0 if direction > 0 else np.pi
        thing = street.cyclist(rng)
        any(
            cast.put(Actor(thing, "bicycle", "cycle.with_rider", lateral, _near(cast), speed, 0.0, turn), 0.1)
            for _ in range(PLACE_TRIES)
        )
    for _ in range(int(rng.integers(1, 3))):
        side, z = _side(cast), _near(cast)
        lateral = road.edges[int(side > 0)] + side * 0.6
        for i in range(int(rng.integers(1, 4))):
            turn = float(rng.normal(0.6, 0.1))
            cast.put(Actor(street.bicycle(rng), "bicycle", "cycle.without_rider", lateral, z + 0.9 * i, turn=turn), 0.0)


def _people(cast: Cast) -> None:
    """Pedestrians on the pavements, some of them crossing."""
    rng, road = cast.rng, cast.course.road
    for _ in range(8 + int(rng.poisson(6))):
        side = _side(cast)
        inner = road.verge[int(side > 0)] + 0.7
        lateral = road.edges[int(side > 0)] + side * float(rng.uniform(inner, inner + 1.6))
        z = float(rng.uniform(-30, 40 + cast.travel))
        walking = rng.random() < 0.7
        direction = _side(cast)
        turn = (0.0 if direction > 0 else np.pi) if walking else float(rng.uniform(-np.pi, np.pi))
        speed = direction * float(rng.uniform(0.8, 1.6)) if walking else 0.0
        state = "pedestrian.moving" if walking else "pedestrian.standing"
        cast.put(Actor(street.pedestrian(rng), "pedestrian", state, lateral, z, speed, 0.0, turn), 0.1)
    for _ in range(int(rng.integers(0, 3))):
        towards = _side(cast)
        lateral, z = float(rng.uniform(-1, 1) * road.lane), float(rng.uniform(8, 30) + cast.travel)
        cross = towards * float(rng.uniform(0.9, 1.5))
        # Facing right of the road's direction is a quarter turn about y, which points down.
        walker = Actor(
            street.pedestrian(rng), "pedestrian", "pedestrian.moving", lateral, z, 0.0, cross, towards * np.pi / 2
        )
        cast.put(walker, 0.3)

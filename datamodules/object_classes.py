"""What is known of each class beforehand: its size, and where and how its objects stand; KITTI's and nuScenes' names.

Sizes: KITTI's means are Frustum PointNets' (Qi et al., CVPR 2018), the spreads of cars, pedestrians and cyclists
MonoFlex' (Zhang et al., CVPR 2021), both over the training labels; the other spreads come from some hundred frames.
nuScenes' are those that its devkit lists for trainval; for a class of several categories those of the commonest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Habit:
    """Where objects of a class stand and which way they look; :class:`datamodules.injection.placement.Placement`.

    Attributes:
        depth: nearest and farthest z, metres.
        corridor: leftmost and rightmost x where no road mask is known, metres; right-hand traffic.
        margin: free metres around each object.
        yaw_std: spread about the road's heading, radians.
        uniform_yaw_share: share of objects with any yaw.
    """

    depth: tuple[float, float]
    corridor: tuple[float, float]
    margin: float
    yaw_std: float
    uniform_yaw_share: float


TRAFFIC = Habit((5.0, 60.0), (-3.5, 2.5), 0.2, 0.06, 0.1)
CYCLES = Habit((5.0, 45.0), (-4.5, 3.5), 0.2, 0.2, 0.2)
PEOPLE = Habit((5.0, 40.0), (-6.0, 5.0), 0.1, 0.4, 0.7)
THINGS = Habit((5.0, 30.0), (-4.5, 3.5), 0.1, 0.3, 0.5)


@dataclass(frozen=True)
class ObjectClass:
    """One class.

    Attributes:
        dims: mean length, height, width in metres.
        spread: their standard deviations.
        habit: where its objects stand.
        still: nuScenes attribute of one that stands still; "" for none.
    """

    dims: tuple[float, float, float]
    spread: tuple[float, float, float]
    habit: Habit = TRAFFIC
    still: str = ""


CLASSES = {
    "Car": ObjectClass((3.88, 1.53, 1.63), (0.43, 0.14, 0.10)),
    "Van": ObjectClass((5.07, 2.21, 1.90), (0.83, 0.30, 0.16)),
    "Truck": ObjectClass((10.14, 3.25, 2.59), (3.44, 0.27, 0.18)),
    "Tram": ObjectClass((16.17, 3.53, 2.53), (4.90, 0.10, 0.12)),
    "Misc": ObjectClass((3.64, 1.92, 1.54), (3.14, 0.77, 0.56)),
    "Pedestrian": ObjectClass((0.84, 1.76, 0.66), (0.23, 0.11, 0.14), PEOPLE),
    "Person_sitting": ObjectClass((0.80, 1.27, 0.60), (0.06, 0.04, 0.06), PEOPLE),
    "Cyclist": ObjectClass((1.76, 1.74, 0.60), (0.18, 0.09, 0.12), CYCLES),
    "car": ObjectClass((4.62, 1.73, 1.95), (0.46, 0.24, 0.19), still="vehicle.parked"),
    "truck": ObjectClass((6.93, 2.84, 2.51), (2.17, 0.84, 0.45), still="vehicle.parked"),
    "bus": ObjectClass((11.23, 3.47, 2.93), (2.07, 0.52, 0.33), still="vehicle.parked"),
    "trailer": ObjectClass((12.29, 3.87, 2.90), (4.52, 0.75, 0.53), still="vehicle.parked"),
    "construction_vehicle": ObjectClass((6.37, 3.19, 2.85), (3.13, 1.02, 1.06), still="vehicle.parked"),
    "pedestrian": ObjectClass((0.73, 1.77, 0.67), (0.19, 0.18, 0.13), PEOPLE, "pedestrian.standing"),
    "motorcycle": ObjectClass((2.11, 1.47, 0.77), (0.32, 0.23, 0.17), CYCLES, "cycle.without_rider"),
    "bicycle": ObjectClass((1.70, 1.28, 0.60), (0.26, 0.34, 0.16), CYCLES, "cycle.without_rider"),
    "traffic_cone": ObjectClass((0.41, 1.07, 0.41), (0.14, 0.27, 0.13), THINGS),
    "barrier": ObjectClass((0.50, 0.98, 2.53), (0.17, 0.15, 0.64), THINGS),
}
VEHICLES = ("Car", "Van", "Truck", "car", "truck", "bus", "trailer")  # stand on the road's plane, in its directions


def object_class(name: str) -> ObjectClass:
    """What is known of a class; of one that neither data set has, what is known of KITTI's Misc."""
    return CLASSES.get(name, CLASSES["Misc"])

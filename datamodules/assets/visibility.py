"""The directions an object is seen from, and those an asset may be seen from.

A direction is named by the observation angle alpha (yaw less the azimuth of the ray; at -pi / 2 the camera sees the
back, at pi / 2 the front) and the elevation of the camera above the object's middle. What an asset shows is a union of
patches on the sphere of these directions: for posed pictures a patch around each view, for a baked object everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox, wrap_angle


def viewing_direction(projection: np.ndarray, dims: np.ndarray) -> np.ndarray:
    """(..., 3) unit vectors from the object's centre to the camera, in the object's axes at metric proportions.

    Args:
        projection: (..., 3, 4) canonical cube to pixels.
        dims: (3,) or (..., 3) length, height, width in metres; canonical order is length, height, width too.
    """
    centre = -np.linalg.solve(projection[..., :3], projection[..., 3:])[..., 0] * (dims / 2)
    return centre / np.linalg.norm(centre, axis=-1, keepdims=True)


def observation_angles(projection: np.ndarray, dims: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observation angle in (-pi / 2, 3 pi / 2] and elevation (...), radians; arguments as :func:`viewing_direction`.

    It differs from :attr:`datamodules.geometry.Boxes3D.alpha` by what the fourth column of P moves the optical centre.
    """
    direction = viewing_direction(projection, dims)
    # From the object the camera lies at azimuth a about the vertical; straight ahead of a camera that is yaw - pi / 2.
    alpha = np.arctan2(direction[..., 2], direction[..., 0]) + np.pi / 2
    return alpha, np.arcsin(np.clip(-direction[..., 1], -1.0, 1.0))


def in_image(camera: Camera, boxes: Boxes3D) -> np.ndarray:
    """(N,) bool, whether the rectangle of a box reaches into the image."""
    low, high = np.split(projected_bbox(camera, boxes, clip=False), 2, 1)  # NaN (behind the camera) compares false
    return np.asarray(((high >= 0) & (low <= [camera.width - 1, camera.height - 1])).all(1))


@dataclass(frozen=True, eq=False)
class Visibility:
    """K patches of directions; one within any of them is allowed.

    Attributes:
        alpha: (K,) middle of each patch's arc of observation angles, radians, any turn.
        reach: (K,) half the arc, radians; from pi on it is the whole circle.
        elevation: (K, 2) lowest and highest elevation, radians.
    """

    alpha: np.ndarray
    reach: np.ndarray
    elevation: np.ndarray

    @staticmethod
    def arc(first: float, last: float, elevation: tuple[float, float] = (-np.pi / 2, np.pi / 2)) -> Visibility:
        """One patch: the observation angles met on the way up from ``first`` to ``last``, radians.

        From 3 to -3 the way leads across pi and is 0.28 long; from -3 to 3 it leads across 0; from an angle back to
        itself it is the whole circle.
        """
        length = (last - first) % (2 * np.pi) or 2 * np.pi
        return Visibility(np.array([first + length / 2]), np.array([length / 2]), np.array([elevation]))

    @staticmethod
    def around(alpha: np.ndarray, elevation: np.ndarray, angle: float) -> Visibility:
        """A patch around each of (K,) directions: at most ``angle`` off in azimuth and in elevation, radians."""
        return Visibility(alpha, np.full(len(alpha), angle), np.stack([elevation - angle, elevation + angle], 1))

    @cached_property
    def everywhere(self) -> bool:
        """Whether one patch is the whole sphere."""
        low, high = self.elevation.T
        return bool(((self.reach >= np.pi) & (low <= -np.pi / 2) & (high >= np.pi / 2)).any())

    def within(self, alpha: np.ndarray, elevation: np.ndarray, slack: float = 0.0) -> np.ndarray:
        """(N, K) bool, which patches hold each of (N,) directions, give or take ``slack`` radians."""
        turned = np.abs(wrap_angle(np.asarray(alpha)[:, None] - self.alpha)) <= self.reach + slack
        raised = np.asarray(elevation)[:, None]
        low, high = self.elevation.T
        return np.asarray(turned & (raised >= low - slack) & (raised <= high + slack))

    def allows(self, cameras: Sequence[Camera], boxes: Boxes3D) -> np.ndarray:
        """(N,) bool, whether every camera that has a box in its image sees it from an allowed direction."""
        allowed = np.ones(len(boxes), dtype=np.bool_)
        for camera in () if self.everywhere else cameras:
            angles = observation_angles(canonical_projection(camera, boxes), boxes.dims)
            allowed &= self.within(*angles).any(1) | ~in_image(camera, boxes)
        return allowed

    def turned(self, camera: Camera, boxes: Boxes3D, rng: np.random.Generator) -> Boxes3D:
        """Boxes (N) as they are where the camera may see them so, else turned to show it a direction of a patch.

        It is drawn uniformly over the patches' arcs; elevation, which no turn changes, is left to :meth:`allows`.
        """
        if self.everywhere:
            return boxes
        allowed = self.allows([camera], boxes)
        if allowed.all():
            return boxes
        arc = np.minimum(self.reach, np.pi)
        patch = rng.choice(len(arc), len(boxes), p=arc / arc.sum())
        drawn = self.alpha[patch] + arc[patch] * rng.uniform(-1, 1, len(boxes))
        alpha, _ = observation_angles(canonical_projection(camera, boxes), boxes.dims)
        return replace(boxes, yaw=np.where(allowed, boxes.yaw, wrap_angle(boxes.yaw + drawn - alpha)))


EVERYWHERE = Visibility.arc(-np.pi, np.pi)

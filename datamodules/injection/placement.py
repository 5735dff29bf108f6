"""Placement: where an injected object stands, which way it looks and how large it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from datamodules.assets.contract import Asset
from datamodules.errors import InputError, PlacementError
from datamodules.geometry import Boxes3D, plane_height
from datamodules.injection.ground import CAMERA_HEIGHT, fit_plane, prior_plane
from datamodules.injection.site import VEHICLES, Site, survey
from datamodules.rotated_iou import rotated_intersection
from datamodules.scene import Frame

EVERYWHERE = (-1000.0, 1000.0)


class Placement:
    """Draws boxes on the drivable ground of a frame that touch no other box.

    With a road mask (the frame's own or a segmenter's) positions are uniform over the drivable area in the bird's eye
    view, as Lift3D places its cars. Without one only a corridor around the camera's own path is used. With ``map`` off,
    positions are uniform over all ground in view (Lift3D, Table 4, without "Map").
    """

    def __init__(
        self,
        map: bool = True,
        plane: Literal["prior", "boxes", "frame"] = "boxes",
        camera_height: float = CAMERA_HEIGHT,
        depth: tuple[float, float] = (5.0, 60.0),
        position: Literal["uniform_bev", "uniform_depth"] = "uniform_bev",
        corridor: tuple[float, float] = (-3.5, 2.5),
        corridor_depth: float = 20.0,
        yaw_std: float = 0.06,
        opposite_share: float = 0.5,
        uniform_yaw_share: float = 0.1,
        dims: Literal["asset", "class"] = "asset",
        dims_jitter: float = 0.04,
        dims_mean: tuple[float, float, float] = (3.88, 1.53, 1.63),
        dims_std: tuple[float, float, float] = (0.39, 0.11, 0.10),
        margin: float = 0.2,
        footprint_share: float = 1.0,
        trials: int = 40,
        segmenter: Callable[[np.ndarray], np.ndarray] | None = None,
        drawn_from: Literal["drivable", "view"] = "drivable",
    ) -> None:
        """Configure.

        Args:
            map: keep objects on drivable ground.
            plane: the level prior, its fit to the labelled vehicles, or the frame's own plane (worlds know it).
            camera_height: of the prior, metres.
            depth: nearest and farthest z, metres.
            position: uniform over ground area, or uniform in depth.
            corridor: leftmost and rightmost x where no road mask is known, metres; right-hand traffic.
            corridor_depth: farthest z where no road mask is known, metres.
            yaw_std: spread about the road's heading, radians.
            opposite_share: share of road-aligned objects that look the other way.
            uniform_yaw_share: share of objects with any yaw.
            dims: the asset's own size, or the class mean.
            dims_jitter: relative spread of an asset's size, all three together.
            dims_mean: class mean length, height, width in metres; KITTI's cars.
            dims_std: their standard deviations.
            margin: free metres around each object.
            footprint_share: share of the footprint's corners that must be on drivable ground.
            trials: positions tried before giving up.
            segmenter: (3, H, W) uint8 image to (H, W) bool drivable pixels, asked when the frame has no road mask.
            drawn_from: the ground positions are drawn from: the drivable ground, or all ground in view, of which
                ``map`` then keeps the first on drivable ground. Under "view" the candidates of a seed are the same
                with ``map`` on and off, the road's heading included: Table 4's "same sampled poses".

        Raises:
            InputError: the depth range is empty.
        """
        if not 0 < depth[0] < depth[1]:
            raise InputError(
                f"placement depth {depth}: expected 0 < nearest < farthest metres; correct placement.depth"
            )
        self.map, self.plane, self.camera_height, self.depth, self.position = map, plane, camera_height, depth, position
        self.corridor, self.corridor_depth = corridor, corridor_depth
        self.yaw_std, self.opposite_share, self.uniform_yaw_share = yaw_std, opposite_share, uniform_yaw_share
        self.dims, self.dims_jitter, self.dims_mean, self.dims_std = dims, dims_jitter, dims_mean, dims_std
        self.margin, self.footprint_share, self.trials, self.segmenter = margin, footprint_share, trials, segmenter
        self.drawn_from = drawn_from

    def survey(self, frame: Frame) -> Site:
        """Find the ground that may be built on.

        Raises:
            PlacementError: there is none.
        """
        plane, mask = self.ground_plane(frame), self._drivable(frame)
        view = self.drawn_from == "view"
        if not (self.map or view):
            site = survey(frame, plane, None, self.depth, EVERYWHERE)
        elif mask is not None:
            site = survey(frame, plane, mask, self.depth, EVERYWHERE)
        else:
            near, far = self.depth
            site = survey(frame, plane, None, (near, max(min(far, self.corridor_depth), near)), self.corridor)
        if not len(site.cells):
            raise PlacementError(
                f"sample {frame.sample_id}: no road between {self.depth[0]:g} and {self.depth[1]:g} m, expected some;"
                " check its road mask, widen placement.depth, or set injection.on_impossible to skip"
            )
        return replace(site, pool=survey(frame, plane, None, self.depth, EVERYWHERE).cells) if view else site

    def ground_plane(self, frame: Frame) -> np.ndarray:
        """(4,) the plane objects stand on.

        Raises:
            PlacementError: the frame's own plane is wanted, and it has none.
        """
        if self.plane == "prior":
            return prior_plane(self.camera_height)
        if self.plane == "boxes":
            return fit_plane(frame.objects.boxes[np.isin(frame.objects.names, VEHICLES)], self.camera_height)
        if frame.plane is None:
            raise PlacementError(
                f"sample {frame.sample_id}: has no ground plane, expected planes/{frame.sample_id}.txt;"
                " add it or set placement.plane to boxes"
            )
        return frame.plane

    def _drivable(self, frame: Frame) -> np.ndarray | None:
        wanted = self.map or self.drawn_from == "view"  # without the map the mask still tells the road's heading
        if not wanted or frame.road is not None or self.segmenter is None:
            return frame.road
        return self.segmenter(frame.image)

    def place(self, site: Site, asset: Asset, occupied: Boxes3D, rng: np.random.Generator) -> Boxes3D | None:
        """Draw a box for an asset that stands on the site and keeps clear of the occupied boxes.

        An asset that carries its pose (copy-paste) is only checked at it.

        Returns:
            One box, or None when all trials fail.
        """
        candidates = asset.pose if asset.pose is not None else self._candidates(site, asset, rng)
        room = candidates.bev + np.array([0, 0, 2 * self.margin, 2 * self.margin, 0])
        free = ~(rotated_intersection(room, occupied.bev) > 0).any(1) & site.in_view(candidates)
        free[free] = site.holds(candidates[free]) >= self.footprint_share if self.map else True
        first = np.flatnonzero(free)[:1]
        return candidates[first] if len(first) else None

    def _candidates(self, site: Site, asset: Asset, rng: np.random.Generator) -> Boxes3D:
        """``trials`` boxes of one size and yaw offset at independent positions."""
        center = site.sample(rng, self.trials, self.position == "uniform_depth")
        center[:, 1] = plane_height(site.plane, center[:, 0], center[:, 2])
        dims = np.tile(self._draw_dims(asset, rng), (self.trials, 1))
        turn = rng.normal(0.0, self.yaw_std) + (np.pi if rng.random() < self.opposite_share else 0.0)
        if rng.random() < self.uniform_yaw_share:
            yaw = np.full(self.trials, rng.uniform(-np.pi, np.pi))
        else:
            yaw = site.heading(center) + turn
        return Boxes3D(center, dims, (yaw + np.pi) % (2 * np.pi) - np.pi)

    def _draw_dims(self, asset: Asset, rng: np.random.Generator) -> np.ndarray:
        spread = np.clip(rng.normal(size=3), -2, 2)
        if self.dims == "asset":
            return asset.dims * (1.0 + self.dims_jitter * spread[0])
        return np.asarray(self.dims_mean) + np.asarray(self.dims_std) * spread

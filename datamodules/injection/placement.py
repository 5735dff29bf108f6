"""Placement: where an injected object stands, which way it looks and how large it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, NoReturn

import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Proposal, Wanted
from datamodules.assets.visibility import in_image, observation_angles
from datamodules.errors import InputError, PlacementError
from datamodules.geometry import Boxes3D, Camera, canonical_projection, plane_height, wrap_angle
from datamodules.injection.ground import CAMERA_HEIGHT, fit_plane, prior_plane
from datamodules.injection.learnt.density import LabelDensity
from datamodules.injection.learnt.free_space import EVERYWHERE_OPEN, FreeSpace
from datamodules.injection.learnt.knowledge import TrainingKnowledge
from datamodules.injection.site import Site, standing, survey, vehicles_of
from datamodules.object_classes import Habit, object_class
from datamodules.rotated_iou import rotated_intersection
from datamodules.scene import Frame

NO_CORRIDOR = (-1000.0, 1000.0)
SHOWN_SHARE = 0.5  # of the footprint's corners not behind labelled objects, for what stands as labelled objects do
LEAST_SHARE = 0.25  # of a class's mean size: the least drawn, for Misc's length spreads by nearly its mean


class Sites(dict[str, Any]):
    """The ground for each class that a source declares, None where there is none; other classes are an InputError."""

    def __init__(self, source: AssetSource, survey: Callable[[str], Any]) -> None:
        super().__init__({name: survey(name) for name in source.classes})
        self.source = type(source).__name__

    def __missing__(self, name: str) -> NoReturn:
        raise InputError(
            f"source {self.source}: an object of class {name}, expected one of its classes {', '.join(self) or 'none'};"
            " declare it in the source's classes"
        )


class Placement:
    """Draws boxes on the drivable ground of a frame that touch no other box.

    With a road mask (the frame's own or a segmenter's) positions are uniform over the drivable area in the bird's eye
    view, as Lift3D places its cars. Without one they are uniform over the ground that the training set's labelled
    vehicles say is open (:mod:`datamodules.injection.learnt.free_space`), on a plane through all boxes of the frame (or
    its own). With ``map`` off, positions are uniform over all ground in view (Lift3D, Table 4, without "Map"). Under
    ``position: labels`` position and yaw are drawn together as the training set's labelled boxes of the class stand
    (:mod:`datamodules.injection.learnt.density`), and a road mask, where there is one, keeps those on it. What is left
    open (None) is taken from :mod:`datamodules.object_classes`, class by class.
    """

    def __init__(
        self,
        map: bool = True,
        plane: Literal["prior", "boxes", "frame"] = "boxes",
        camera_height: float = CAMERA_HEIGHT,
        depth: tuple[float, float] | None = None,
        position: Literal["uniform_bev", "uniform_depth", "labels"] = "uniform_bev",
        corridor: tuple[float, float] | None = None,
        corridor_depth: float = 20.0,
        yaw_std: float | None = None,
        opposite_share: float = 0.5,
        uniform_yaw_share: float | None = None,
        dims: Literal["asset", "class"] = "asset",
        dims_jitter: float = 0.04,
        margin: float | None = None,
        footprint_share: float = 1.0,
        trials: int = 40,
        segmenter: Callable[[np.ndarray], np.ndarray] | None = None,
        drawn_from: Literal["drivable", "view"] = "drivable",
        unmapped: Literal["free_space", "corridor"] = "free_space",
        bandwidth: tuple[float, float, float] = (0.5, 1.0, 0.05),
    ) -> None:
        """Configure.

        Args:
            map: keep objects on drivable ground.
            plane: the level prior, its fit to the labelled vehicles, or the frame's own plane (worlds know it).
            camera_height: of the prior, metres.
            depth: nearest and farthest z, metres; by default the class's.
            position: uniform over ground area, uniform in depth, or as labelled boxes of the class stand.
            corridor: leftmost and rightmost x of the own path, metres, which is open where no road mask is known; by
                default the class's.
            corridor_depth: farthest z of the own path, metres.
            yaw_std: spread about the road's heading, radians; by default the class's.
            opposite_share: share of road-aligned objects that look the other way.
            uniform_yaw_share: share of objects with any yaw; by default the class's.
            dims: the asset's own size, or one drawn about the class's mean.
            dims_jitter: relative spread of an asset's size, all three together.
            margin: free metres around each object; by default the class's.
            footprint_share: share of the footprint's corners that must be on drivable ground.
            trials: positions tried before giving up.
            segmenter: (3, H, W) uint8 image to (H, W) bool drivable pixels, asked when the frame has no road mask.
            drawn_from: the ground positions are drawn from: the drivable ground, or all ground in view, of which
                ``map`` then keeps the first on drivable ground. Under "view" the candidates of a seed are the same
                with ``map`` on and off, the road's heading included: Table 4's "same sampled poses".
            unmapped: where a frame without a road mask may be built on: the own path and where labelled vehicles of the
                training set stand, or the own path alone (as earlier versions).
            bandwidth: standard deviations of the noise on labelled boxes under ``position: labels``: x and z in metres,
                yaw in radians.

        Raises:
            InputError: the depth range is empty, or a bandwidth negative.
        """
        if min(bandwidth) < 0:
            raise InputError(f"placement bandwidth {bandwidth}: expected none below 0; correct placement.bandwidth")
        if depth is not None and not 0 < depth[0] < depth[1]:
            raise InputError(
                f"placement depth {depth}: expected 0 < nearest < farthest metres; correct placement.depth"
            )
        chosen = {"depth": depth, "corridor": corridor, "margin": margin, "yaw_std": yaw_std}
        chosen["uniform_yaw_share"] = uniform_yaw_share
        self._chosen: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        self._habits: dict[str, Habit] = {}
        self.map, self.plane, self.camera_height, self.position = map, plane, camera_height, position
        self.corridor_depth, self.opposite_share = corridor_depth, opposite_share
        self.dims, self.dims_jitter = dims, dims_jitter
        self.footprint_share, self.trials, self.segmenter = footprint_share, trials, segmenter
        self.drawn_from, self.unmapped, self.bandwidth = drawn_from, unmapped, bandwidth
        self._knowledge: TrainingKnowledge | None = None

    def bind(self, frames: LabelledFrames, spelling: Mapping[str, str], around: bool = False) -> None:
        """Show the frames that a detector trains on; they are read when a frame without a road mask needs them.

        Args:
            frames: of the training.
            spelling: classes of the objects to be placed, to their names in the labels.
            around: places are around a car, not before one camera.

        Raises:
            InputError: under ``position: labels``, no box of a class is labelled.
        """
        self._knowledge = TrainingKnowledge(frames, spelling, around)
        if self.position == "labels":
            for name in spelling:
                self._density(name)

    def habit(self, name: str) -> Habit:
        """Where objects of a class stand and which way they look, as configured or else as is usual for them."""
        if name not in self._habits:
            self._habits[name] = replace(object_class(name).habit, **self._chosen)
        return self._habits[name]

    def survey(self, frame: Frame, name: str = "Car") -> Site:
        """Find the ground that may be built on with objects of a class.

        Raises:
            PlacementError: there is none.
        """
        return self.surveyor(frame)(name)

    def surveyor(self, frame: Frame) -> Callable[[str], Site]:
        """:meth:`survey` for class after class: plane and mask are found once, classes of one habit share a site."""
        mask = cache(lambda: self._drivable(frame))
        ground = cache(lambda: (self.ground_plane(frame, mask() is None), mask()))
        within = cache(lambda depth, corridor: self._survey(frame, *ground(), depth, corridor))

        def surveyed(name: str) -> Site:
            habit = self.habit(name)
            return within(tuple(habit.depth), tuple(habit.corridor))

        return surveyed

    def _survey(
        self,
        frame: Frame,
        plane: np.ndarray,
        mask: np.ndarray | None,
        depth: tuple[float, float],
        corridor: tuple[float, float],
    ) -> Site:
        view = self.drawn_from == "view"
        if not (self.map or view):
            site = survey(frame, plane, None, depth, NO_CORRIDOR)
        elif mask is not None:
            site = survey(frame, plane, mask, depth, NO_CORRIDOR)
        elif (space := self.open_ground(corridor)) is not None:
            site = survey(frame, plane, None, depth, NO_CORRIDOR)
            site = replace(site, cells=site.cells[space.open(site.cells[:, 2:4])], space=space)
        else:
            near, far = depth
            site = survey(frame, plane, None, (near, max(min(far, self.corridor_depth), near)), corridor)
        if not len(site.cells):
            raise PlacementError(
                f"sample {frame.sample_id}: no road between {depth[0]:g} and {depth[1]:g} m, expected some;"
                " check its road mask, widen placement.depth, or set injection.on_impossible to skip"
            )
        return replace(site, pool=survey(frame, plane, None, depth, NO_CORRIDOR).cells) if view else site

    def open_ground(self, corridor: tuple[float, float]) -> FreeSpace | None:
        """The ground that may be built on without a road mask; None for a corridor alone."""
        if self.position == "labels":
            return EVERYWHERE_OPEN
        space = self._knowledge.space if self._knowledge is not None and self.unmapped == "free_space" else None
        if self._knowledge is None or space is None:
            return None
        return space.joined(corridor, (-self.corridor_depth if self._knowledge.around else 0.0, self.corridor_depth))

    def ground_plane(self, frame: Frame, unmapped: bool = False) -> np.ndarray:
        """(4,) the plane objects stand on.

        Args:
            frame: the frame.
            unmapped: no road mask is known: under ``plane: boxes`` the frame's own plane is taken where it has one,
                else all its labelled boxes count, each by its true distance.

        Raises:
            PlacementError: the frame's own plane is wanted, and it has none.
        """
        if self.plane == "boxes" and unmapped and self._knowledge is not None and self.unmapped == "free_space":
            return fit_plane(standing(frame), self.camera_height, radial=True) if frame.plane is None else frame.plane
        if self.plane == "prior":
            return prior_plane(self.camera_height)
        if self.plane == "boxes":
            return fit_plane(vehicles_of(frame), self.camera_height)
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

    def place(
        self,
        site: Site | None,
        asset: Asset,
        occupied: Boxes3D,
        rng: np.random.Generator,
        cameras: Sequence[Camera] | None = None,
    ) -> Boxes3D | None:
        """Draw a box for an asset that stands on the site, keeps clear of the occupied boxes, and shows a side it has.

        An asset that carries its pose (copy-paste) is only checked at it. Who shows only some of its sides is turned
        to show one of them where the yaw drawn for a place would not.

        Args:
            site: ground for the asset's class, or None.
            asset: what is placed.
            occupied: boxes in its way.
            rng: of the draw.
            cameras: all that will draw it, in the site's frame; by default that of the site's frame.

        Returns:
            One box, or None when all trials fail.
        """
        if site is None:
            return None
        cameras, candidates = cameras or [site.frame.camera], asset.pose
        if candidates is None:
            candidates = self._candidates(site, asset.name, asset.dims, rng)
            for camera in cameras:
                candidates = asset.visibility.turned(camera, candidates, rng)
        free = self._free(site, asset.name, candidates, occupied)
        first = np.flatnonzero(asset.visibility.allows(cameras, free))[:1]
        return free[first] if len(first) else None

    def wanted(
        self,
        sites: Mapping[str, Site | None],
        occupied: Boxes3D,
        rng: np.random.Generator,
        cameras: Sequence[Camera] | None = None,
    ) -> Wanted:
        """What a source is told that asks for a place first; ``sites`` by class, other arguments as :meth:`place`."""

        def propose(name: str) -> Proposal | None:
            if (site := sites[name]) is None:
                return None
            free = self._free(site, name, self._candidates(site, name, None, rng), occupied)
            if not len(free):
                return None
            box, seers = free[[0]], cameras or [site.frame.camera]
            seer = next((camera for camera in seers if in_image(camera, box)[0]), seers[0])
            alpha, elevation = observation_angles(canonical_projection(seer, box), box.dims)
            return Proposal(box, float(wrap_angle(alpha)[0]), float(elevation[0]))

        def misfit(name: str, boxes: Boxes3D) -> np.ndarray:
            if (site := sites[name]) is None:
                return np.full(len(boxes), np.inf)
            x, y, z = boxes.center.T
            off = np.abs(y - plane_height(site.plane, x, z))
            return np.where(self._is_free(site, name, boxes, occupied), off, np.inf)

        return Wanted(propose, misfit)

    def free_boxes(self, sites: Mapping[str, Site | None], occupied: Boxes3D, rng: np.random.Generator) -> Boxes3D:
        """Boxes of every class at free places, as many as ``trials`` find; arguments as :meth:`wanted`."""
        found = [(site, name) for name, site in sites.items() if site is not None]
        return Boxes3D.concatenate(
            [self._free(site, name, self._candidates(site, name, None, rng), occupied) for site, name in found]
        )

    def _free(self, site: Site, name: str, candidates: Boxes3D, occupied: Boxes3D) -> Boxes3D:
        """Those candidates that touch nothing, are in view and stand on the site."""
        return candidates[np.flatnonzero(self._is_free(site, name, candidates, occupied))]

    def _is_free(self, site: Site, name: str, candidates: Boxes3D, occupied: Boxes3D) -> np.ndarray:
        gap = 2 * self.habit(name).margin
        room = candidates.bev + np.array([0, 0, gap, gap, 0])
        free = ~(rotated_intersection(room, occupied.bev) > 0).any(1) & site.in_view(candidates)
        if self.map:
            loose = self.position == "labels" and site.space is not None
            least = min(self.footprint_share, SHOWN_SHARE) if loose else self.footprint_share
            free[free] = site.holds(candidates[free]) >= least
        return np.asarray(free)

    def _candidates(self, site: Site, name: str, dims: np.ndarray | None, rng: np.random.Generator) -> Boxes3D:
        """``trials`` boxes of one size and yaw offset at independent positions; without ``dims`` the class's size."""
        habit = self.habit(name)
        if self.position == "labels":
            place, yaw = self._density(name).draw(rng, self.trials, site.vehicles)
            center = np.column_stack([place[:, 0], plane_height(site.plane, *place.T), place[:, 1]])
            return Boxes3D(center, np.tile(self._draw_dims(name, dims, rng), (self.trials, 1)), yaw)
        center = site.sample(rng, self.trials, self.position == "uniform_depth")
        center[:, 1] = plane_height(site.plane, center[:, 0], center[:, 2])
        size = np.tile(self._draw_dims(name, dims, rng), (self.trials, 1))
        turn = rng.normal(0.0, habit.yaw_std) + (np.pi if rng.random() < self.opposite_share else 0.0)
        if rng.random() < habit.uniform_yaw_share:
            yaw = np.full(self.trials, rng.uniform(-np.pi, np.pi))
        else:
            yaw = site.heading(center) + turn
        return Boxes3D(center, size, wrap_angle(yaw))

    def _density(self, name: str) -> LabelDensity:
        if self._knowledge is None:
            raise InputError(
                "placement.position labels: expected to be bound to training frames first; call bind(frames, ...)"
            )
        near, far = self.habit(name).depth
        return self._knowledge.density(name, (near, far), self.bandwidth)

    def _draw_dims(self, name: str, own: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        spread = np.clip(rng.normal(size=3), -2, 2)
        if self.dims == "asset" and own is not None:
            return own * (1.0 + self.dims_jitter * spread[0])
        mean = np.array(object_class(name).dims)
        return np.maximum(mean + np.array(object_class(name).spread) * spread, LEAST_SHARE * mean)

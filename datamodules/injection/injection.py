"""Injection: synthetic objects enter a labelled frame. Place, render, check, paint, relabel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames
from datamodules.errors import InputError, PlacementError
from datamodules.geometry import Boxes3D, Camera, clip_bbox, truncation
from datamodules.injection.compositing import Arrangement, Compositor, Placed
from datamodules.injection.foresight import hopeless, too_hidden
from datamodules.injection.occlusion import Backdrop, total_hidden
from datamodules.injection.placement import Placement, Sites
from datamodules.injection.site import Site, standing
from datamodules.object_classes import object_class
from datamodules.occlusion_levels import LEVELS, occlusion_level
from datamodules.scene import Frame, Objects


class Injection:
    """Adds up to a few objects to a frame; the frame itself comes back where the coin says no."""

    around = False  # whether objects are placed around a car, not before one camera

    def __init__(
        self,
        source: AssetSource,
        placement: Placement | None = None,
        compositor: Compositor | None = None,
        probability: float = 0.5,
        count: tuple[int, int] = (1, 3),
        shadow: bool = True,
        attempts: int = 40,
        min_pixels: int = 24,
        max_hidden: float | list[float] = LEVELS[2],
        on_impossible: Literal["skip", "raise"] = "skip",
    ) -> None:
        """Configure.

        Args:
            source: where the objects come from.
            placement: where they go; by default the drivable area of :class:`Placement`.
            compositor: how they are painted; by default :class:`Compositor`.
            probability: share of frames that get objects.
            count: least and most objects to add, drawn uniformly.
            shadow: darken the ground under them.
            attempts: assets tried for each object to add.
            min_pixels: an object that shows fewer is not added.
            max_hidden: nor one of whose mask a larger share is hidden; lower it where real outlines are only boxes. Of
                several limits each frame draws one.
            on_impossible: a frame without drivable ground for any class passes with a warning, or raises.

        Raises:
            InputError: the probability, the count or a limit is out of range.
        """
        limits = max_hidden if isinstance(max_hidden, list) else [max_hidden]
        if not limits or not all(0 < limit <= 1 for limit in limits):
            raise InputError(f"max_hidden {max_hidden}: expected above 0 to 1; correct injection.max_hidden")
        if not 0 <= probability <= 1:
            raise InputError(f"injection probability {probability}: expected 0 to 1; correct injection.probability")
        if not 0 <= count[0] <= count[1]:
            raise InputError(f"injection count {count}: expected 0 <= least <= most; correct injection.count")
        self.source, self.placement, self.compositor = source, placement or Placement(), compositor or Compositor()
        self.probability, self.count, self.shadow = probability, count, shadow
        self.attempts, self.min_pixels, self.max_hidden = attempts, min_pixels, max_hidden
        self.on_impossible = on_impossible

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names that its objects get in labels; of a source that is bound first, known from then on."""
        return tuple(self.source.classes)

    def bind(self, frames: LabelledFrames) -> None:
        """Show source and placement the frames that a detector trains on, for those that live on labelled frames."""
        self.source.bind(frames)
        self.placement.bind(frames, dict(zip(self.source.classes, self.label_names)), self.around)

    def key(self, frame: Frame) -> str:
        """What its random choices depend on beside seed and pass: the frame's own id."""
        return frame.sample_id

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Inject into one frame; every choice is drawn from ``rng``.

        Raises:
            PlacementError: the frame has no drivable ground for any class, and ``on_impossible`` is "raise".
        """
        found = self.arranged(frame, rng)
        return frame if found is None else self.insert(*found, rng)

    def arranged(self, frame: Frame, rng: np.random.Generator) -> tuple[Backdrop, Arrangement] | None:
        """What a call with the same ``rng`` paints and labels; None where it leaves the frame as it is.

        Raises:
            PlacementError: as a call.
        """
        if rng.random() >= self.probability:
            return None
        sites, errors = self._survey(frame)
        if errors and not any(sites.values()):
            if self.on_impossible == "raise":
                raise errors[0]
            warnings.warn(f"nothing injected: {errors[0]}", stacklevel=3)
            return None
        backdrop = self.compositor.backdrop(frame)
        arrangement = self._populate(backdrop, sites, rng, self._hidden_limit(rng))
        return (backdrop, arrangement) if arrangement.objects else None

    def ground(self, frame: Frame) -> tuple[Sites, Boxes3D]:
        """Where objects of each class may stand in a frame, and the boxes in their way."""
        return self._survey(frame)[0], standing(frame)

    def _survey(self, frame: Frame) -> tuple[Sites, list[PlacementError]]:
        errors: list[PlacementError] = []
        surveyed = self.placement.surveyor(frame)

        def survey(name: str) -> Site | None:
            try:
                return surveyed(name)
            except PlacementError as error:
                errors.append(error)
                return None

        return Sites(self.source, survey), errors

    def insert(self, backdrop: Backdrop, arrangement: Arrangement, rng: np.random.Generator | None = None) -> Frame:
        """Paint and label arranged objects (see :meth:`Compositor.arrange`)."""
        painted = self.compositor.paint(backdrop, arrangement.objects, self.shadow, rng)
        return painted.with_(objects=relabelled(backdrop.frame, arrangement))

    def _hidden_limit(self, rng: np.random.Generator) -> float:
        """The frame's ``max_hidden``; nothing is drawn where there is but one."""
        limits = self.max_hidden
        return limits[int(rng.integers(len(limits)))] if isinstance(limits, list) else limits

    def _populate(self, backdrop: Backdrop, sites: Sites, rng: np.random.Generator, max_hidden: float) -> Arrangement:
        """Add objects one by one, each only if all, old and new, stay visible enough to deserve their labels."""
        best = self.compositor.arrange(backdrop, [])
        for _ in range(rng.integers(self.count[0], self.count[1] + 1)):
            occupied = Boxes3D.concatenate([backdrop.boxes, *(other.box for other in best.objects)])
            wanted = self.placement.wanted(sites, occupied, rng)
            for _ in range(self.attempts):
                asset = self.source.sample(rng, backdrop.frame, wanted)
                box = self.placement.place(sites[asset.name], asset, occupied, rng)
                added = None if box is None else self._draw(backdrop, best, asset, box, max_hidden)
                if added is None:
                    continue
                trial = self.compositor.arrange(backdrop, [*best.objects, added])
                if self._all_visible(backdrop.frame, trial, max_hidden):
                    best = trial
                    break
        return best

    def _draw(
        self, backdrop: Backdrop, present: Arrangement, asset: Asset, box: Boxes3D, max_hidden: float
    ) -> Placed | None:
        """A placed asset, rendered; None when it would be turned down anyway or shows nothing."""
        if self._is_hopeless(backdrop, present, asset, box, max_hidden):
            return None
        layer = asset.render(backdrop.frame.camera, box, backdrop.frame)
        return None if layer is None else Placed(asset.id, asset.name, box, layer)

    def _is_hopeless(
        self, backdrop: Backdrop, present: Arrangement, asset: Asset, box: Boxes3D, max_hidden: float
    ) -> bool:
        """Whether a look at its sketch tells that an object will be turned down."""
        sketch = getattr(asset, "sketch", None)  # of a Sketched, which takes isinstance as long as drawing a small one
        found = None if sketch is None else sketch(backdrop.frame.camera, box, backdrop.frame)
        if found is None:
            return False
        layer, step = found
        rough = Placed(asset.id, asset.name, box, layer)
        return hopeless(self.compositor, backdrop, present.objects, rough, step, self.min_pixels, max_hidden)

    def _all_visible(self, frame: Frame, arrangement: Arrangement, max_hidden: float) -> bool:
        for placed in arrangement.objects:
            if placed.pixels < self.min_pixels or placed.hidden_share >= max_hidden:
                return False
        return not too_hidden(frame, arrangement)


def relabelled(frame: Frame, arrangement: Arrangement) -> Objects:
    """The frame's labels with occlusion brought up to date, then one row for each new object."""
    real, newly = frame.objects, arrangement.newly_hidden
    if newly.any():
        hidden = occlusion_level(total_hidden(real, newly))
        updated = np.where((newly > 0) & (real.occlusion >= 0), np.maximum(real.occlusion, hidden), real.occlusion)
        real = replace(real, occlusion=updated)
    return Objects.concatenate([real, standing_still(labels_of(frame.camera, arrangement.objects), real)])


def standing_still(injected: Objects, real: Objects) -> Objects:
    """Injected objects with the columns that the frame's own labels have: velocity zero, a parked car's attribute."""
    if real.velocity is None and real.attribute is None:
        return injected
    velocity = None if real.velocity is None else np.zeros((len(injected), 2))
    still = None if real.attribute is None else np.array([object_class(name).still for name in injected.names], str)
    return replace(injected, velocity=velocity, attribute=still)


def labels_of(camera: Camera, placed: Sequence[Placed]) -> Objects:
    """Label rows as KITTI has them: the 2D box encloses the whole mask in the image, hidden parts included."""
    boxes = Boxes3D.concatenate([p.box for p in placed])
    full = np.stack([p.layer.full_bbox for p in placed])
    return Objects(
        boxes=boxes,
        names=np.array([p.name for p in placed]),
        bbox=np.stack([p.bbox for p in placed]),
        truncation=truncation(full, clip_bbox(full, camera.width, camera.height)),
        occlusion=occlusion_level(np.array([p.hidden_share for p in placed])),
        alpha=boxes.alpha,
        provenance=np.array([p.id for p in placed]),
    )

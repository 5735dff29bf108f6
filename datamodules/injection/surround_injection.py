"""Injection in surround view: an object stands in the world once and appears in every camera that sees it.

What stands where is decided from labels and road masks alone, with randomness that all pictures of a sample (or of a
scene) share. Each picture, wherever and in whatever order it is loaded, therefore draws the same objects:

    picture of camera k ── key: sample, or scene ──► rng ──► plan: assets and boxes in the ego frame of a moment
                                                              │  clear of every box of the scene's moments
                                                              ▼
              ego frame now ──► camera k's frame ──► render ──► leave out what k hardly sees ──► paint, relabel
    The plan comes out the same for each picture, so that the last ones are kept and serve whichever come from the same
    process; only what follows it knows which camera asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from datamodules.assets.contract import Asset, LabelledFrames
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.injection.compositing import Arrangement, Placed
from datamodules.injection.injection import Injection
from datamodules.injection.occlusion import Backdrop, total_hidden
from datamodules.injection.placement import Sites
from datamodules.injection.surround_site import OWN_CAR, SurroundSite
from datamodules.occlusion_levels import LEVELS
from datamodules.scene import Capture, Frame, Objects
from datamodules.surround import Moment, Surround, moved

Planned = tuple[Asset, Boxes3D]
PLANS = 256  # kept plans: six pictures of a sample rarely follow each other, but all samples of small splits fit


class SurroundInjection(Injection):
    """Adds objects around the car of a nuScenes frame (``frame.surround``).

    The arguments are those of :class:`Injection`, and ``persistent``: whether objects keep their place in the world
    through all samples of a scene; they are then placed clear of every annotated box at any time of the scene.
    ``classes`` names the assets' classes in the data set's spelling ({"Car": "car"}); without an entry a name is put in
    lower case.
    """

    around = True

    def __init__(
        self, *arguments: Any, persistent: bool = False, classes: dict[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.persistent, self.classes = persistent, classes or {}
        self._plans: dict[tuple[str, str], tuple[list[Planned], Any]] = {}

    def bind(self, frames: LabelledFrames) -> None:
        super().bind(frames)
        self._plans.clear()

    def key(self, frame: Frame) -> str:
        """What shares its random choices: the sample, or the scene."""
        capture = self._known(frame)[0]
        return capture.scene if self.persistent else capture.sample

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Inject into one camera's picture; ``rng`` must be that of :meth:`key`.

        Raises:
            InputError: the frame knows nothing of its surroundings.
        """
        capture, surround = self._known(frame)
        if rng.random() >= self.probability:
            return frame
        limit = self._hidden_limit(rng)
        planned = self._kept_plan(surround, frame, rng)
        pose = np.linalg.inv(capture.world) @ surround.moment.ego
        placed = [drawn for asset, box in planned if (drawn := self._render(asset, moved(box, pose), frame))]
        if not placed:
            return frame
        if surround.instances is not None:
            frame = frame.with_(instances=_sized(surround.instances.read(), frame.camera))
        backdrop = self.compositor.backdrop(frame)
        arrangement = self._shown(backdrop, placed, limit)
        if not arrangement.objects:
            return frame
        injected = self.insert(backdrop, arrangement, rng)
        return injected.with_(objects=_without_covered(injected.objects, frame.objects, arrangement.newly_hidden))

    def _kept_plan(self, surround: Surround, frame: Frame, rng: np.random.Generator) -> list[Planned]:
        """The plan, kept from another picture of the moment; ``rng`` goes on behind it either way."""
        asked = surround.moment.token, repr(rng.bit_generator.state)
        if asked not in self._plans:
            while len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))  # the oldest: passes gone by are not asked for again
            self._plans[asked] = self.plan(surround, frame, rng), rng.bit_generator.state
        planned, rng.bit_generator.state = self._plans[asked]
        return planned

    def plan(self, surround: Surround, frame: Frame, rng: np.random.Generator) -> list[Planned]:
        """Assets and their boxes in the ego frame of the present moment; the same for all pictures that share ``rng``.

        Args:
            surround: the scene and the present moment.
            frame: handed to the source of assets.
            rng: of :meth:`key`.
        """
        scene = surround.scene if self.persistent else (surround.moment,)
        planned: list[tuple[Asset, Boxes3D, np.ndarray]] = []  # box in the ego frame of its own moment, that frame
        for _ in range(rng.integers(self.count[0], self.count[1] + 1)):
            moment = scene[int(rng.integers(len(scene)))]
            sites = Sites(self.source, partial(self._site, moment))
            inverse = np.linalg.inv(moment.ego)
            occupied = [moved(m.boxes, inverse @ m.ego) for m in scene]
            occupied += [moved(OWN_CAR, inverse @ m.ego) for m in scene]
            occupied += [moved(box, inverse @ ego) for _, box, ego in planned]
            others, cameras = Boxes3D.concatenate(occupied), _cameras(scene, moment)
            wanted = self.placement.wanted(sites, others, rng, cameras)
            for _ in range(self.attempts):
                asset = self.source.sample(rng, frame, wanted)
                if asset.pose is not None and len(asset.pose) and asset.pose is not wanted.box:
                    raise InputError(
                        f"source {type(self.source).__name__}: its objects keep their ray in one camera, expected "
                        "objects that can be drawn anywhere; choose a bank or meshes"
                    )
                box = self.placement.place(sites[asset.name], asset, others, rng, cameras)
                if box is not None:
                    planned.append((asset, box, moment.ego))
                    break
        present = np.linalg.inv(surround.moment.ego)
        return [(asset, moved(box, present @ ego)) for asset, box, ego in planned]

    def ground(self, frame: Frame) -> tuple[Sites, Boxes3D]:
        moment = self._known(frame)[1].moment
        return Sites(self.source, partial(self._site, moment)), Boxes3D.concatenate([moment.boxes, OWN_CAR])

    def _site(self, moment: Any, name: str) -> SurroundSite:
        habit = self.placement.habit(name)
        placement = self.placement
        mapped = any(camera.road is not None for camera in moment.cameras)
        space = None if mapped else placement.open_ground(habit.corridor)
        return SurroundSite(moment, habit.depth, habit.corridor, placement.corridor_depth, placement.map, space)

    def _render(self, asset: Asset, box: Boxes3D, frame: Frame) -> Placed | None:
        if box.center[0, 2] <= 0:
            return None
        layer = asset.render(frame.camera, box, frame)
        return None if layer is None else Placed(asset.id, self._label_name(asset.name), box, layer)

    def _label_name(self, name: str) -> str:
        return self.classes.get(name, name.lower())

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self._label_name(name) for name in self.source.classes)

    def _shown(self, backdrop: Backdrop, placed: list[Placed], max_hidden: float) -> Arrangement:
        """The objects arranged, without those that this camera hardly sees, which then hide nothing either."""
        while True:
            arrangement = self.compositor.arrange(backdrop, placed)
            unseen = [o for o in arrangement.objects if o.pixels < self.min_pixels or o.hidden_share >= max_hidden]
            if not unseen:
                return arrangement
            placed = [o for o in arrangement.objects if o is not unseen[-1]]  # the nearest hides others

    def _known(self, frame: Frame) -> tuple[Capture, Surround]:
        if frame.capture is None or frame.surround is None:
            raise InputError(
                f"frame {frame.sample_id} knows no surroundings: expected a nuScenes frame; use "
                "datamodules.injection.Injection for single cameras"
            )
        return frame.capture, frame.surround


def _sized(instances: np.ndarray, camera: Camera) -> np.ndarray:
    """Instances (h, w) at the size of a camera's picture, for they are stored at that of the stored picture."""
    if instances.shape == (camera.height, camera.width):
        return instances
    return cv2.resize(instances, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)


def _cameras(scene: Sequence[Moment], moment: Moment) -> list[Camera]:
    """All cameras of some moments, from the ego frame of one of them to their pixels."""
    poses = [(np.linalg.inv(m.ego) @ moment.ego, view.camera) for m in scene for view in m.cameras]
    return [Camera(camera.projection @ pose, camera.width, camera.height) for pose, camera in poses]


def _without_covered(objects: Objects, real: Objects, newly: np.ndarray) -> Objects:
    """Labels without the real objects that an injected one has hidden from this camera."""
    covered = np.zeros(len(objects), dtype=np.bool_)
    covered[: len(real)] = (newly > 0) & (total_hidden(real, newly) >= LEVELS[2])
    return objects[~covered] if covered.any() else objects

"""Objects placed into a frame, cut out of it to be drawn over, and taken back as what replaces them there.

    frame ──► injection draws place and object ──► painted, unhidden ──► square crop, S x S ──► image-to-image
                                       │                                                             │
                                    layer: colour, opacity, depth    ◄── change of colour within ◄───┘

Only the colour changes. Opacity, depth and outline stay the object's own, so its label does too. The change is taken
from inside the outline and carried to its rim: where the model moved the outline by a pixel, background would else be
taken for the object and stand as a halo about it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Wanted
from datamodules.assets.cube_render import mask_bbox
from datamodules.assets.in_place.placed_asset import PlacedAsset
from datamodules.injection.compositing import Compositor, Placed
from datamodules.injection.injection import Injection
from datamodules.randomness import derive
from datamodules.renders.crops.square_window import SquareWindow, edges_on_white, sized
from datamodules.scene import Frame

EdgeSource = Literal["render", "picture"]
DOUBTED_RIM = 1  # pixels of the drawn picture inside the outline whose change is not believed
CARRIED = 2.0  # pixels: standard deviation of the mean that carries the change to the rim


class RememberingSource(AssetSource):
    """Another source, which keeps what it has given, by id."""

    def __init__(self, source: AssetSource) -> None:
        self.source, self.needs_labels = source, source.needs_labels
        self.given: dict[str, Asset] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.source.classes)

    def bind(self, frames: LabelledFrames) -> None:
        self.source.bind(frames)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """As the other source."""
        asset = self.source.sample(rng, frame, wanted)
        self.given[asset.id] = asset
        return asset


@dataclass(frozen=True)
class PlacedCrop:
    """One object in its frame.

    Attributes:
        asset: as it was drawn.
        window: of the frame that shows it.
        picture: (S, S, 3) uint8 RGB, the window with the object painted in, whatever hides it left out.
        inside: (S, S) float32 opacity in [0, 1].
        edges: (S, S) uint8, what the model is to follow.
    """

    asset: PlacedAsset
    window: SquareWindow
    picture: np.ndarray
    inside: np.ndarray
    edges: np.ndarray

    def change_of(self, replaced: PlacedAsset) -> np.ndarray:
        """(S, S, 3) float32: what the window's picture changes by when another picture of the object replaces it."""
        layer = replaced.layer
        change = layer.rgba[..., :3].astype(np.float32) - self.asset.layer.rgba[..., :3]
        return sized(self.window.holding(change, layer.left, layer.top), len(self.picture))


@dataclass(frozen=True)
class OneObject:
    """An injection that puts one object into every frame.

    Attributes:
        injection: whose source, placement and rules it takes; bound to the training frames.
        size: of the square crops.
        edges: "render" draws the object at the crop's size and takes the edges of that, as 3D-DST does; "picture" takes
            those that the frame's own pixels show, as a model has seen them that learnt from crops.
    """

    injection: Injection
    size: int
    edges: EdgeSource
    _source: RememberingSource = field(init=False, repr=False)

    def __post_init__(self) -> None:
        single, source = copy.copy(self.injection), RememberingSource(self.injection.source)
        single.source, single.probability, single.count = source, 1.0, (1, 1)
        object.__setattr__(self, "injection", single)
        object.__setattr__(self, "_source", source)

    def draw(self, frame: Frame, injected: Frame, seed: int, number: int) -> PlacedCrop | None:
        """The object that a seed's draw of a number puts into a frame; None where it finds no place.

        Args:
            frame: as it is stored.
            injected: as training injects into it: the same, or brought to the training's size.
            seed: of all draws.
            number: among those of this frame.
        """
        self._source.given.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a frame without ground says so at every number
            found = self.injection.arranged(injected, place_draw(seed, number, frame.sample_id))
        if found is None:
            return None
        (placed,) = found[1].objects
        asset = self._source.given[placed.id]
        layer = asset.render(frame.camera, placed.box, frame)
        if layer is None:
            return None
        name = f"{asset.id}-in-{frame.sample_id}-{number:02d}"
        stored = PlacedAsset(name, asset.name, np.asarray(asset.dims), placed.box, layer, frame.camera)
        return self._cut(frame, stored, asset)

    def _cut(self, frame: Frame, stored: PlacedAsset, asset: Asset) -> PlacedCrop | None:
        layer, size = stored.layer, self.size
        bounds = mask_bbox(layer.rgba, layer.left, layer.top)
        if bounds is None:
            return None
        window = SquareWindow.around(bounds)
        picture = sized(window.cut(painted(self.injection, frame, stored)), size)
        own = sized(window.holding(layer.rgba, layer.left, layer.top), size)
        shown = own
        if self.edges == "render":
            camera = frame.camera.cropped(window.left, window.top, window.side, window.side).resized(size, size)
            large = asset.render(camera, stored.pose, frame)
            if large is not None:
                shown = SquareWindow(0, 0, size).holding(large.rgba, large.left, large.top)
        return PlacedCrop(stored, window, picture, own[..., 3].astype(np.float32) / 255, edges_on_white(shown))


def place_draw(seed: int, number: int, sample_id: str) -> np.random.Generator:
    """What draws one object's place in a frame."""
    return derive(seed, number, sample_id, "in place")


def painted(injection: Injection, frame: Frame, stored: PlacedAsset) -> np.ndarray:
    """(H, W, 3) uint8 of a frame with an object in it that nothing hides, with its shadow; without light and noise,
    which it gets when it is replayed.
    """
    given = injection.compositor
    plain = Compositor(given.feather, given.occluders, given.shadow_strength, given.sun_strength)
    everywhere = np.ones(stored.layer.depth.shape, np.bool_)
    placed = Placed(stored.id, stored.name, stored.pose, stored.layer, clear=everywhere, visible=everywhere)
    done = plain.paint(plain.backdrop(frame), [placed], injection.shadow)
    return np.ascontiguousarray(done.image.transpose(1, 2, 0))


def redrawn(crop: PlacedCrop, picture: np.ndarray) -> PlacedAsset:
    """The object with the colour that a picture drawn over its crop gives it.

    Args:
        crop: the object in its frame.
        picture: (S, S, 3) uint8 RGB.
    """
    change = carried(picture.astype(np.float32) - crop.picture.astype(np.float32), crop.inside)
    layer, window = crop.asset.layer, crop.window
    near = window.part(sized(change, window.side), layer.depth.shape, layer.left, layer.top)
    opacity = layer.rgba[..., 3:].astype(np.float32)
    colour = np.clip(np.rint(layer.rgba[..., :3] + near * (opacity / 255)), 0, opacity).astype(np.uint8)
    rgba = np.concatenate([colour, layer.rgba[..., 3:]], -1)
    return replace(crop.asset, layer=replace(layer, rgba=rgba))


def carried(change: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A change (S, S, 3) float32 as it is well inside an outline, and beyond that the mean of what is near there.

    Args:
        change: of each pixel.
        inside: (S, S) float32 opacity.
    """
    solid = (inside > 0.5).astype(np.uint8)
    kernel = np.ones((2 * DOUBTED_RIM + 1, 2 * DOUBTED_RIM + 1), np.uint8)
    core = cv2.erode(solid, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    if not core.any():
        core = solid if solid.any() else np.ones_like(solid)
    weight = core.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), CARRIED)[..., None]
    mean = cv2.GaussianBlur(change * weight[..., None], (0, 0), CARRIED) / np.maximum(total, 1e-4)
    far = total < 1e-4  # nothing is drawn there, but the layer's soft edge may be averaged over it
    mean = np.where(far, (change * weight[..., None]).sum((0, 1)) / weight.sum(), mean)
    return np.where(core[..., None] > 0, change, mean).astype(np.float32)


def edge_table(strengths: Sequence[np.ndarray], edges: np.ndarray, inside: np.ndarray, reach: int) -> np.ndarray:
    """(K, 256, 2) int64: of K pictures' edge strengths how many pixels on the prompt's edges have it, and how many off.

    Counted are pixels within the outline and ``reach`` about it: the background has edges that no prompt asked for.

    Args:
        strengths: (S, S) uint8 each.
        edges: (S, S) uint8, above 0 on the prompt's edges.
        inside: (S, S) float32 opacity.
        reach: pixels.
    """
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near = cv2.dilate((inside > 0.5).astype(np.uint8), kernel) > 0
    on, off = near & (edges > 0), near & (edges == 0)
    return np.stack([np.stack([np.bincount(s[part], minlength=256) for part in (on, off)], -1) for s in strengths])

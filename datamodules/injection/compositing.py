"""Compositing: injected objects among the real ones, in depth order, with soft edges and a shadow on the ground.

Only the pixels around an object are touched, in uint8. Colour is un-premultiplied before it meets the blurred mask, so
that no dark fringe appears: out = foreground · M̃ + background · (1 - M̃), Lift3D's equation read as a foreground mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numba import njit

from datamodules.assets.contract import Layer
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.injection.harmonise import airlight, harmonise, noise_level
from datamodules.injection.occlusion import Backdrop, Knowledge, Window
from datamodules.injection.scene_light import SceneLight, dark_level, light_gain, scene_light
from datamodules.injection.shadow import Shadow
from datamodules.injection.sharpness import at_blur, frame_blur
from datamodules.scene import Frame

PAD = 2  # pixels that the 5x5 kernel reaches beyond a layer
FULL_SIGMA_HEIGHT = 40.0  # pixels; lower objects get a proportionally narrower kernel
LEAST_SIGMA = 0.35  # pixels; a narrower kernel is the identity


def _nowhere() -> np.ndarray:
    """What :meth:`Compositor.arrange` has not looked at yet."""
    return np.zeros((0, 0), dtype=np.bool_)


@dataclass(frozen=True)
class Placed:
    """An object on its way into a frame.

    Attributes:
        id: the asset's.
        name: class name.
        box: its box.
        layer: its picture.
        clear: (h, w) bool pixels of the layer where nothing real is nearer.
        visible: (h, w) bool pixels of its mask where nothing at all is nearer.
        bbox: (4,) tight rectangle of the mask, pixels.
        pixels: how many are visible.
        hidden_share: share of the mask that something hides.
        limit: (h, w) float32 depth of the real things in the layer's window, once looked at.
        edge: pixels that its outline is blurred by when it is blended; None: as the compositor has it for its size.
    """

    id: str
    name: str
    box: Boxes3D
    layer: Layer
    clear: np.ndarray = field(default_factory=_nowhere)
    visible: np.ndarray = field(default_factory=_nowhere)
    bbox: np.ndarray = field(default_factory=_nowhere)
    pixels: int = 0
    hidden_share: float = 0.0
    limit: np.ndarray | None = None
    edge: float | None = None

    @property
    def window(self) -> Window:
        """The layer's pixels."""
        height, width = self.layer.depth.shape
        return Window(self.layer.left, self.layer.top, width, height)


@dataclass(frozen=True)
class Arrangement:
    """Objects in the order they are painted, and what they do to the real ones.

    Attributes:
        objects: from far to near.
        newly_hidden: (N,) share of each labelled object's visible part that they hide.
    """

    objects: tuple[Placed, ...]
    newly_hidden: np.ndarray


@njit(nogil=True, cache=True)
def _blend(
    image: np.ndarray, left: int, top: int, sharp: np.ndarray, soft: np.ndarray, clear: np.ndarray, gain: float
) -> None:
    """Blend a layer into ``image`` (H, W, 3) at (left, top).

    Args:
        sharp: (h, w, 4) uint8 premultiplied.
        soft: (h, w, 4) uint8, the same blurred.
        clear: (h, w) bool.
        gain: factor on the layer's colour.
    """
    for row in range(soft.shape[0]):
        for column in range(soft.shape[1]):
            alpha = soft[row, column, 3]
            if alpha == 0 or not clear[row, column]:
                continue
            pixel = image[top + row, left + column]
            # The object's own colour inside its mask; outside, that of its nearest pixels.
            own = sharp[row, column] if sharp[row, column, 3] >= 128 else soft[row, column]
            scale = np.float32(255.0 * gain) / np.float32(own[3])
            share = np.float32(alpha) * np.float32(1.0 / 255.0)
            for channel in range(3):
                colour = min(np.float32(own[channel]) * scale, np.float32(255.0))
                below = np.float32(pixel[channel])
                pixel[channel] = np.uint8(below + (colour - below) * share + np.float32(0.5))


@njit(nogil=True, cache=True)
def _uncover(
    rgba: np.ndarray, depth: np.ndarray, box_depth: float, limit: np.ndarray, cover: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What of a layer can be seen; its mask is added to ``cover``.

    Args:
        rgba: (h, w, 4) uint8.
        depth: (h, w) float32 metres, 0 where the layer is empty.
        box_depth: metres, taken where the layer is empty.
        limit: (h, w) float32 depth of the real things.
        cover: (h, w) bool masks of nearer layers.

    Returns:
        (h, w) bool pixels where nothing real is nearer; (h, w) bool pixels of the mask where nothing at all is; and
        left, top, right, bottom of the mask in the layer, visible pixels, pixels of the mask.
    """
    facts = np.array([depth.shape[1], depth.shape[0], -1.0, -1.0, 0.0, 0.0])
    clear, visible = np.empty(depth.shape, dtype=np.bool_), np.empty(depth.shape, dtype=np.bool_)
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            own = depth[row, column] if depth[row, column] > 0 else box_depth
            clear[row, column] = own <= limit[row, column]
            solid = rgba[row, column, 3] > 127
            visible[row, column] = solid and clear[row, column] and not cover[row, column]
            if solid:
                cover[row, column] |= clear[row, column]
                facts[0], facts[1] = min(facts[0], column), min(facts[1], row)
                facts[2], facts[3] = max(facts[2], column), max(facts[3], row)
                facts[4] += visible[row, column]
                facts[5] += 1
    return clear, visible, facts


class Compositor:
    """Paints objects into frames."""

    def __init__(
        self,
        feather: float = 1.0,
        occluders: Knowledge = "depth",
        shadow_strength: float | Literal["scene"] = 0.75,
        sun_strength: float = 0.0,
        colour_match: float = 0.0,
        haze: float = 0.0,
        noise: bool = False,
        exposure: float = 0.0,
        white_balance: float = 0.0,
        resolution: bool = False,
        black_level: bool = False,
    ) -> None:
        """Configure.

        Args:
            feather: standard deviation of the 5x5 Gaussian over the mask, pixels; 0 keeps the renderer's own edges.
            occluders: what tells which real pixels are nearer: the depth image, instance masks, or labelled boxes only;
                what a frame lacks is replaced by the next.
            shadow_strength: darkness of the ground under an object, in [0, 1]; "scene" takes that under the frame's
                labelled vehicles.
            sun_strength: darkness of the shadow cast by the sun, where ``frame.light`` tells its direction.
            colour_match: in [0, 1], how far an object's mean luminance is drawn to that of the picture around it.
            haze: metres at which 63 % of an object's colour has turned into that of the air; 0 for clear air.
            noise: give objects the noise measured in the picture.
            exposure: in [0, 1], how far an object's brightness follows that of the ground it stands on.
            white_balance: in [0, 1], how far its tint does.
            black_level: bring an object's darkest parts (glass, tyres) down to those of the frame's labelled vehicles.
            resolution: bring objects to the blur measured in the picture, which then sets the feather too.

        Raises:
            InputError: a share outside [0, 1].
        """
        shares = {"shadow_strength": shadow_strength, "exposure": exposure, "white_balance": white_balance}
        for name, share in shares.items():
            if share != "scene" and not 0 <= float(share) <= 1:
                raise InputError(f"{name} {share}: expected 0 to 1; correct injection.compositor.{name}")
        self.exposure, self.white_balance, self.black_level = exposure, white_balance, black_level
        self.feather, self.occluders, self.colour_match = feather, occluders, colour_match
        self.haze, self.noise, self.resolution = haze, noise, resolution
        self.shadow_strength, self.sun_strength = shadow_strength, sun_strength

    def backdrop(self, frame: Frame) -> Backdrop:
        """A frame, ready to be painted into."""
        return Backdrop(frame, self.occluders)

    def arrange(self, backdrop: Backdrop, objects: list[Placed]) -> Arrangement:
        """Sort objects from far to near and find what stays visible of each, and of the real ones."""
        camera = backdrop.frame.camera
        cover = np.zeros((camera.height, camera.width), dtype=np.bool_)
        arranged = []
        for placed in sorted(objects, key=lambda placed: float(placed.box.center[0, 2])):
            window, depth = placed.window, float(placed.box.center[0, 2])
            limit = placed.limit
            if limit is None:
                limit = backdrop.depth(window, depth + float(placed.box.dims[0, 0]))
            clear, visible, facts = _uncover(placed.layer.rgba, placed.layer.depth, depth, limit, cover[window.slices])
            bbox = facts[:4] + np.array([window.left, window.top, window.left, window.top])
            hidden = 1.0 - facts[4] / max(facts[5], 1.0)
            shown = int(facts[4])
            arranged.append(
                replace(placed, clear=clear, visible=visible, bbox=bbox, pixels=shown, hidden_share=hidden, limit=limit)
            )
        return Arrangement(tuple(arranged[::-1]), backdrop.hidden(cover, [placed.window for placed in arranged]))

    def paint(
        self,
        backdrop: Backdrop,
        objects: Sequence[Placed],
        shadow: bool = True,
        rng: np.random.Generator | None = None,
    ) -> Frame:
        """Paint arranged objects, far ones first; depth and instances follow the picture, the road stays as it is.

        Args:
            backdrop: the frame before injection; it is left as it is.
            objects: of :meth:`arrange`; object i becomes row ``len(frame.objects) + i`` of the labels.
            shadow: darken the ground under the objects first.
            rng: draws sensor noise; without it there is none.

        Returns:
            The frame with new pixels and the old labels.
        """
        frame = backdrop.frame
        image = frame.image.transpose(1, 2, 0).copy()
        lit = self.shadow_strength == "scene" or self.exposure > 0 or self.white_balance > 0
        light = scene_light(frame) if lit else SceneLight(None, 0.0)
        if shadow:
            strength = light.contact if self.shadow_strength == "scene" else float(self.shadow_strength)
            for placed in objects:
                self._shade(image, backdrop, placed, strength)
        for placed in self._harmonised(frame, objects, light, rng):
            self._paste(image, placed)
        buffers = _updated_buffers(frame, objects)
        return frame.with_(image=image.transpose(2, 0, 1), **buffers)

    def _harmonised(
        self, frame: Frame, objects: Sequence[Placed], light: SceneLight, rng: np.random.Generator | None
    ) -> Sequence[Placed]:
        relit = self.exposure > 0 or self.white_balance > 0
        blur = frame_blur(frame.image) if self.resolution else None
        if blur is not None:
            objects = [_at_blur(placed, blur) for placed in objects]
        if self.haze <= 0 and not self.noise and not relit and not self.black_level:
            return objects
        black = dark_level(frame) if self.black_level else None
        air = airlight(frame.image, frame.camera) if self.haze > 0 else None
        noise = noise_level(frame.image) if self.noise else 0.0
        changed = []
        for placed in objects:
            gain = light_gain(frame, placed.box, light, self.exposure, self.white_balance) if relit else None
            depth = float(placed.box.center[0, 2])
            changed.append(
                replace(placed, layer=harmonise(placed.layer, depth, air, self.haze, noise, rng, gain, black))
            )
        return changed

    def _shade(self, image: np.ndarray, backdrop: Backdrop, placed: Placed, strength: float) -> None:
        frame = backdrop.frame
        light = frame.light if self.sun_strength > 0 else None
        shadow = Shadow(frame.camera, placed.box, None if light is None else light.sun)
        limit = backdrop.depth(shadow.window, shadow.reach)
        shadow.darken(image, limit, strength, self.sun_strength)

    def _paste(self, image: np.ndarray, placed: Placed) -> None:
        layer = placed.layer
        sigma = (
            self.feather * min(1.0, layer.depth.shape[0] / FULL_SIGMA_HEIGHT) if placed.edge is None else placed.edge
        )
        gain = self._gain(image, placed)
        if sigma < LEAST_SIGMA:
            _blend(image, layer.left, layer.top, layer.rgba, layer.rgba, placed.clear, gain)
            return
        # What of the kernel's reach lies in the image; at its border the layer goes on as it is.
        above, below = min(PAD, layer.top), min(PAD, image.shape[0] - layer.top - layer.depth.shape[0])
        left, right = min(PAD, layer.left), min(PAD, image.shape[1] - layer.left - layer.depth.shape[1])
        sharp = cv2.copyMakeBorder(layer.rgba, above, below, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        reach = cv2.copyMakeBorder(placed.clear.view(np.uint8), above, below, left, right, cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(sharp, (2 * PAD + 1, 2 * PAD + 1), sigma, borderType=cv2.BORDER_REPLICATE)
        _blend(image, layer.left - left, layer.top - above, sharp, soft, reach.view(np.bool_), gain)

    def _gain(self, image: np.ndarray, placed: Placed) -> float:
        if self.colour_match <= 0:
            return 1.0
        own = placed.layer.rgba[placed.layer.mask][:, :3].mean()
        scene = image[placed.window.slices].mean()
        return float(np.clip((scene / max(own, 1.0)) ** self.colour_match, 0.7, 1.4))


def _at_blur(placed: Placed, blur: float) -> Placed:
    """An object at the photograph's blur, pixels."""
    layer, edge = at_blur(placed.layer, blur)
    return replace(placed, layer=layer, edge=edge)


def _updated_buffers(frame: Frame, objects: Sequence[Placed]) -> dict[str, np.ndarray]:
    """Copies of the depth and instance images that exist, with the objects' visible pixels written."""
    buffers = {
        name: image.copy()
        for name, image in (("depth", frame.depth), ("instances", frame.instances))
        if image is not None
    }
    for row, placed in enumerate(objects, start=len(frame.objects)):
        values = {"depth": placed.layer.depth[placed.visible], "instances": row + 1}
        for name, image in buffers.items():
            image[placed.window.slices][placed.visible] = values[name]
    return buffers

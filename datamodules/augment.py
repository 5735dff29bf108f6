"""Augmentation of real and injected frames alike: image, camera and boxes move as one value.

Geometry is a crop of whole source pixels followed by one resize, so the camera of the result is exact and the image is
resampled once, whatever is combined. Where the camera turns, the crop is a warp by the turn's exact homography.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.geometry import (
    NEAR,
    Boxes3D,
    Camera,
    clip_bbox,
    projected_bbox,
    resizing,
    rotation_y,
    truncation,
    wrap_angle,
)
from datamodules.scene import Frame, Objects

# Grey of ImageNet's mean colour: what lies outside the source image normalises to about zero.
FILL = (124, 116, 104)
AREA_BELOW = 0.7  # scale under which area averaging is worth its time (six times that of bilinear interpolation)
NOT_GIVEN = -10.0  # KITTI's alpha and yaw of objects that have none
MOST_TURN = 45.0  # degrees of a turn that could still show a part of the picture
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


class Augment:
    """Random flip, a turn of the camera, one random scale-and-shift window, and colour changes.

    Turn, zoom and shift change the picture and its projection alike, so boxes stay exact: what a camera of another
    pose or focal length had seen. With every range closed it returns the frame it was given.
    """

    def __init__(
        self,
        flip: float = 0.5,
        scale: tuple[float, float] = (1.0, 1.0),
        shift: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        yaw: float = 0.0,
    ) -> None:
        """Configure.

        Args:
            flip: probability of a horizontal flip.
            scale: least and greatest zoom; the image size stays, so a zoom of 1.1 shows the middle of the frame.
            shift: greatest move of the window as a share of the image's width and height.
            brightness: greatest relative gain, 0.2 means 0.8 to 1.2.
            contrast: likewise, about mid-grey.
            saturation: likewise, about each pixel's luma.
            hue: greatest rotation of the colours about grey, in turns.
            pitch: greatest turn of the camera up or down, in degrees; 2 is what a car's body and mounts do.
            roll: likewise about the line of sight.
            yaw: likewise to the left or right.

        Raises:
            InputError: a range is empty, a share leaves [0, 1], or an angle is none of a jitter.
        """
        if not 0 <= flip <= 1:
            raise InputError(f"augment flip {flip}: expected a probability from 0 to 1; correct augment.flip")
        if not 0 < scale[0] <= scale[1]:
            raise InputError(f"augment scale {scale}: expected 0 < least <= greatest; correct augment.scale")
        shares = {"shift": shift, "brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise InputError(f"augment {name} {value}: expected a share from 0 to below 1; correct augment.{name}")
        for name, value in {"pitch": pitch, "roll": roll, "yaw": yaw}.items():
            if not 0 <= value < MOST_TURN:
                raise InputError(
                    f"augment {name} {value}: expected degrees from 0 to below {MOST_TURN:g}; correct augment.{name}"
                )
        self.flip, self.scale, self.shift, self.turn = flip, scale, shift, (pitch, roll, yaw)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, frame: Frame, rng: np.random.Generator, size: tuple[int, int] | None = None) -> Frame:
        """Augment one frame; every choice is drawn from ``rng``, and always the same number of choices.

        Args:
            frame: the frame, never written to.
            rng: the frame's own generator.
            size: (height, width) of the result, so that zoom and resize cost one resampling; None keeps the frame's.
        """
        coin, zoom, shift = rng.random(), rng.uniform(*self.scale), rng.uniform(-1, 1, 2) * self.shift
        gains = rng.uniform(-1, 1, 4) * [self.brightness, self.contrast, self.saturation, self.hue]
        angles = np.radians(rng.uniform(-1, 1, 3) * self.turn)
        height, width = size or (frame.camera.height, frame.camera.width)
        turn = CameraTurn(*map(float, angles)) if angles.any() else None
        frame = cut_window(frame, *zoom_window(frame.camera, zoom, shift), width, height, turn)
        if coin < self.flip:
            frame = flip(frame)
        return recolour(frame, *gains) if gains.any() else frame


@dataclass(frozen=True)
class CameraTurn:
    """A turn of the camera about its own centre, radians; see :meth:`Camera.turned`."""

    pitch: float
    roll: float
    yaw: float

    def __str__(self) -> str:
        named = zip(("pitch", "roll", "yaw"), np.degrees([self.pitch, self.roll, self.yaw]))
        return ", ".join(f"{name} {angle:.2f}" for name, angle in named) + " degrees"


def zoom_window(camera: Camera, zoom: float, shift: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width, height of the window ``1 / zoom`` as large, moved off the middle by shares (2,) of the size."""
    width, height = max(round(camera.width / zoom), 1), max(round(camera.height / zoom), 1)
    left = round((camera.width - width) / 2 + shift[0] * camera.width)
    top = round((camera.height - height) / 2 + shift[1] * camera.height)
    return left, top, width, height


def recolour(frame: Frame, brightness: float, contrast: float, saturation: float, hue: float) -> Frame:
    """Change the colours: relative gains (0 changes nothing) and a hue rotation in turns.

    They compose to one affine map of RGB, which OpenCV applies to uint8 in fixed point.
    """
    c, s = np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)
    chroma = (1 + saturation) * np.array([[c, -s], [s, c]])
    turn = np.eye(3)
    turn[1:, 1:] = chroma
    gain = (1 + brightness) * (1 + contrast)
    offset = -128 * contrast * (1 + brightness)
    matrix = np.concatenate([gain * FROM_YIQ @ turn @ TO_YIQ, np.full((3, 1), offset)], 1).astype(np.float32)
    return frame.with_(image=cv2.transform(_pixels(frame.image), matrix).transpose(2, 0, 1))


def _pixels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) memory of a (3, H, W) image; a copy only when it is stored otherwise."""
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _map_planes(frame: Frame, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Road, depth and instances after ``change``, which gets no bool arrays (OpenCV takes none)."""
    road, depth, instances = frame.road, frame.depth, frame.instances
    return {
        "road": None if road is None else change(road.view(np.uint8)).view(bool),
        "depth": None if depth is None else change(depth),
        "instances": None if instances is None else change(instances),
    }


def flip(frame: Frame) -> Frame:
    """The mirrored scene seen by the mirrored camera."""
    objects = frame.objects
    mirrored = objects.boxes.flipped()
    # DontCare rows have no box: their -1000 and -10 stay as they are.
    solid = np.all(objects.boxes.dims > 0, axis=1)
    boxes = Boxes3D(
        np.where(solid[:, None], mirrored.center, objects.boxes.center),
        mirrored.dims,
        np.where(solid, mirrored.yaw, objects.boxes.yaw),
    )
    last = frame.camera.width - 1
    bbox = objects.bbox[:, [2, 1, 0, 3]] * np.array([-1.0, 1, -1, 1]) + np.array([last, 0.0, last, 0])
    # alpha = yaw - atan2(x, z) becomes pi - yaw + atan2(x, z): the annotated value is mirrored, not computed anew.
    alpha = np.where(np.equal(objects.alpha, NOT_GIVEN), NOT_GIVEN, wrap_angle(np.pi - objects.alpha))
    velocity = None if objects.velocity is None else objects.velocity * np.array([-1.0, 1.0])
    light = frame.light
    return frame.with_(
        image=cv2.flip(_pixels(frame.image), 1).transpose(2, 0, 1),
        camera=frame.camera.flipped(),
        objects=replace(objects, boxes=boxes, bbox=bbox, alpha=alpha, velocity=velocity),
        plane=None if frame.plane is None else frame.plane * np.array([-1.0, 1, 1, 1]),
        light=None if light is None else replace(light, sun=light.sun * np.array([-1.0, 1, 1])),
        **_map_planes(frame, lambda plane: cv2.flip(plane, 1)),
    )


def resize(frame: Frame, width: int, height: int) -> Frame:
    """The frame at another size; pixel centres move as ``cv2.resize`` moves them."""
    return cut_window(frame, 0, 0, frame.camera.width, frame.camera.height, width, height)


def pad(frame: Frame, width: int, height: int) -> Frame:
    """The frame on a larger canvas, its pixels where they were: labels and results stay in the stored image's pixels.

    Raises:
        InputError: the frame is larger than the canvas.
    """
    camera = frame.camera
    if camera.width > width or camera.height > height:
        raise InputError(
            f"{frame.sample_id}: {camera.height} x {camera.width} pixels do not fit into size {height} x {width}; "
            "enlarge data.size or set data.fit to resize"
        )
    return cut_window(frame, 0, 0, width, height, width, height)


def cut_window(
    frame: Frame, left: int, top: int, columns: int, rows: int, width: int, height: int, turn: CameraTurn | None = None
) -> Frame:
    """The window of ``columns`` x ``rows`` source pixels from (left, top), shown at (width, height).

    The window may leave the image. Objects outside it are dropped, 2D boxes are clipped to it, truncation grows by what
    it cuts off. The frame itself comes back when nothing changes. With a turn the window is one of the turned camera's
    picture.

    Raises:
        InputError: the turn leaves nothing of the picture in the window.
    """
    camera = frame.camera
    homography: np.ndarray | None = None
    if turn is not None:
        frame, homography = _turned(frame, turn)
        if _left_over(homography, camera, (left, top, columns, rows)) < 1:
            raise InputError(
                f"{frame.sample_id}: a turn by {turn} leaves no image of {camera.width} x {camera.height} pixels, "
                "expected a part of it; lower augment.pitch, roll, yaw or shift"
            )
    elif (left, top, columns, rows) == (0, 0, width, height) == (0, 0, camera.width, camera.height):
        return frame
    objects, kept = _windowed(frame.objects, left, top, columns, rows, width, height)
    size, scale = (width, height), max(width / columns, height / rows)

    def shown(plane: np.ndarray, smooth: bool = False) -> np.ndarray:
        if homography is None:
            return _resize(_crop(plane, left, top, columns, rows, FILL if smooth else 0), size, scale, smooth)
        window = resizing(columns, rows, *size) @ np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
        return _warp(plane, window @ homography, size, scale, smooth)

    planes = _map_planes(frame, shown)
    if planes["instances"] is not None and not kept.all():
        renumber = np.zeros(256, np.uint8)
        renumber[1 + np.flatnonzero(kept)] = 1 + np.arange(kept.sum())
        planes["instances"] = renumber[planes["instances"]]
    return frame.with_(
        image=shown(_pixels(frame.image), smooth=True).transpose(2, 0, 1),
        camera=frame.camera.cropped(left, top, columns, rows).resized(width, height),
        objects=objects,
        **planes,
    )


def _resize(plane: np.ndarray, size: tuple[int, int], scale: float, smooth: bool) -> np.ndarray:
    """An (H, W) or (H, W, 3) array at (width, height), ``scale`` times as large; numbers that are names stay as are."""
    shrinking = cv2.INTER_AREA if scale < AREA_BELOW else cv2.INTER_LINEAR
    return cv2.resize(plane, size, interpolation=shrinking if smooth else cv2.INTER_NEAREST_EXACT)


def _warp(plane: np.ndarray, matrix: np.ndarray, size: tuple[int, int], scale: float, smooth: bool) -> np.ndarray:
    """An array moved by a homography (3, 3) onto (width, height), where it is some ``scale`` times as large.

    A strongly shrunk picture is averaged to nearly its new size first: bilinear sampling would skip pixels.
    """
    if smooth and scale < AREA_BELOW:
        height, width = plane.shape[:2]
        small = max(round(width * scale / AREA_BELOW), 1), max(round(height * scale / AREA_BELOW), 1)
        plane = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.linalg.inv(resizing(width, height, *small))
    flags, fill = (cv2.INTER_LINEAR, FILL) if smooth else (cv2.INTER_NEAREST, 0)
    return cv2.warpPerspective(plane, matrix, size, flags=flags, borderValue=fill)


def _turned(frame: Frame, turn: CameraTurn) -> tuple[Frame, np.ndarray]:
    """A frame after a turn but for its maps, which lie where they were, and the homography that moves them."""
    camera, homography = frame.camera.turned(turn.pitch, turn.roll, turn.yaw)
    objects, spin = frame.objects, rotation_y(turn.yaw)
    solid = np.all(objects.boxes.dims > 0, axis=1)
    boxes = objects.boxes.turned(turn.yaw)
    boxes = Boxes3D(
        np.where(solid[:, None], boxes.center, objects.boxes.center),
        boxes.dims,
        np.where(solid, boxes.yaw, objects.boxes.yaw),
    )
    bbox = _turned_bbox(objects, solid, boxes, frame.camera, camera, homography)
    flat = spin[np.ix_([0, 2], [0, 2])]
    light, capture = frame.light, frame.capture
    back = np.eye(4)
    back[:3, :3] = spin.T
    moved = frame.with_(
        camera=camera,
        objects=replace(
            objects,
            boxes=boxes,
            bbox=bbox,
            velocity=None if objects.velocity is None else objects.velocity @ flat.T,
        ),
        plane=None if frame.plane is None else np.append(spin @ frame.plane[:3], frame.plane[3]),
        light=None if light is None else replace(light, sun=spin @ light.sun),
        capture=None if capture is None else replace(capture, world=capture.world @ back),
        depth=None if frame.depth is None else frame.depth * _along(homography, camera),
    )
    return moved, homography


def _along(homography: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) float32 depth after a turn over the one before, at each pixel before it."""
    u, v = np.arange(camera.width), np.arange(camera.height)[:, None]
    return (homography[2, 0] * u + homography[2, 1] * v + homography[2, 2]).astype(np.float32)


def _turned_bbox(
    objects: Objects, solid: np.ndarray, boxes: Boxes3D, before: Camera, after: Camera, homography: np.ndarray
) -> np.ndarray:
    """(N, 4) image boxes after a turn, not clipped.

    A labelled rectangle is the visible outline's. Under a roll its corners' hull would grow beyond the object; so it
    keeps its place relative to the rectangle of the projected 3D box. Areas without a 3D box, and boxes that reach
    behind the camera, take the hull.
    """
    old, new = projected_bbox(before, objects.boxes, clip=False), projected_bbox(after, boxes, clip=False)
    front = [
        (view.project(given.corners)[1] > NEAR).all(1) for view, given in ((before, objects.boxes), (after, boxes))
    ]
    size = np.maximum(old[:, 2:] - old[:, :2], 1e-6)
    scale = np.tile((new[:, 2:] - new[:, :2]) / size, 2)
    own = np.tile(new[:, :2], 2) + (objects.bbox - np.tile(old[:, :2], 2)) * scale
    corners = objects.bbox[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    warped = np.concatenate([corners, np.ones((len(corners), 4, 1))], 2) @ homography.T
    warped = warped[..., :2] / warped[..., 2:]
    hull = np.concatenate([warped.min(1), warped.max(1)], 1)
    return np.where((solid & front[0] & front[1])[:, None], own, hull)


def _left_over(homography: np.ndarray, camera: Camera, window: tuple[int, int, int, int]) -> float:
    """Pixels of a window that a picture covers after a homography; 0 where a part of it would come from behind."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]]) @ homography.T
    if (corners[:, 2] <= 1e-6).any():
        return 0.0
    left, top, columns, rows = window
    frame = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]]) - 0.5 + np.array([left, top])
    quad = corners[:, :2] / corners[:, 2:]
    return float(cv2.intersectConvexConvex(quad.astype(np.float32), frame.astype(np.float32))[0])


def _crop(
    plane: np.ndarray, left: int, top: int, columns: int, rows: int, fill: int | tuple[int, int, int]
) -> np.ndarray:
    """A window of an (H, W) or (H, W, 3) array; a view when it lies inside."""
    height, width = plane.shape[:2]
    if left >= 0 and top >= 0 and left + columns <= width and top + rows <= height:
        return plane[top : top + rows, left : left + columns]
    inside = plane[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
    if not inside.size:
        return np.full((rows, columns, *plane.shape[2:]), fill, plane.dtype)
    above, before = max(-top, 0), max(-left, 0)
    below, after = rows - above - inside.shape[0], columns - before - inside.shape[1]
    return cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_CONSTANT, value=fill)


def _windowed(
    objects: Objects, left: int, top: int, columns: int, rows: int, width: int, height: int
) -> tuple[Objects, np.ndarray]:
    """The objects that a window shows, and (N,) bool which of the given ones they are."""
    corner = np.array([left, top, left, top], dtype=np.float64)
    scale = np.array([width / columns, height / rows] * 2)
    source = objects.bbox - corner
    clipped = clip_bbox(source, columns, rows)
    own, seen = source[:, 2:] - source[:, :2], clipped[:, 2:] - clipped[:, :2]
    kept = (seen >= np.minimum(own, 1.0)).all(1) & (source[:, 2:] >= 0).all(1)
    kept &= (source[:, :2] <= np.array([columns - 1, rows - 1])).all(1)
    # What the source image had already cut off stays cut off: visible shares multiply.
    cut = np.where(own.min(1, initial=np.inf) > 0, truncation(source, clipped), 0.0)
    share = np.where(objects.truncation < 0, objects.truncation, 1 - (1 - objects.truncation) * (1 - cut))
    bbox = clip_bbox((clipped + 0.5) * scale - 0.5, width, height)
    return replace(objects, bbox=bbox, truncation=share)[kept], kept

"""Pictures for people: frames with their boxes, contact sheets of assets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from datamodules.assets.contract import Asset
from datamodules.geometry import EDGES, NEAR, Boxes3D, Camera
from datamodules.scene import REAL, Frame

BLUE, ORANGE, WHITE = (66, 153, 255), (255, 140, 26), (255, 255, 255)  # RGB
YAWS = np.arange(8) * np.pi / 4
TILE = 128  # pixels, side of one view on a contact sheet
GREY = 96  # background of contact sheets, dark and bright paint both stand out


def box_lines(camera: Camera, boxes: Boxes3D) -> list[np.ndarray]:
    """Per box its visible edges as pixel pairs (K, 2, 2); edges are cut at the near plane."""
    homogeneous = boxes.corners @ camera.projection[:, :3].T + camera.projection[:, 3]
    lines = []
    for corners in homogeneous:
        a, b = corners[EDGES[:, 0]], corners[EDGES[:, 1]]
        near_a, near_b = a[:, 2] < NEAR, b[:, 2] < NEAR
        kept = ~(near_a & near_b)
        step = np.where(near_a != near_b, (NEAR - a[:, 2]) / np.where(near_a != near_b, b[:, 2] - a[:, 2], 1.0), 0.0)
        cut = a + step[:, None] * (b - a)
        a, b = np.where(near_a[:, None], cut, a)[kept], np.where(near_b[:, None], cut, b)[kept]
        lines.append(np.stack([a[:, :2] / a[:, 2:], b[:, :2] / b[:, 2:]], 1))
    return lines


def draw_boxes(image: np.ndarray, camera: Camera, boxes: Boxes3D, colour: tuple[int, int, int]) -> None:
    """Draw 3D boxes into an (H, W, 3) uint8 RGB image whose camera is ``camera``; the front face gets its diagonals."""
    thickness = max(1, round(image.shape[1] / 900))
    for edges in box_lines(camera, boxes):
        for line in np.clip(edges, -4 * image.shape[1], 5 * image.shape[1]):
            (x0, y0), (x1, y1) = np.round(line * 8).astype(int)
            cv2.line(image, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA, shift=3)
    front = boxes.corners[:, [0, 5, 1, 4]]  # diagonals of the face at the object's front
    pixels, depth = camera.project(front)
    for (p0, p1, p2, p3), z in zip(pixels, depth):
        if z.min() > NEAR:
            for start, end in ((p0, p1), (p2, p3)):
                ends = [tuple(np.round(np.clip(p, -4e3, 9e3) * 8).astype(int)) for p in (start, end)]
                cv2.line(image, ends[0], ends[1], colour, thickness, cv2.LINE_AA, shift=3)


def resized(frame: Frame, width: int) -> tuple[np.ndarray, Camera]:
    """A frame's image (H, W, 3) uint8 at ``width`` pixels, and its camera."""
    camera = frame.camera.resized(width, round(width * frame.camera.height / frame.camera.width))
    method = cv2.INTER_AREA if width < frame.camera.width else cv2.INTER_CUBIC
    image = np.ascontiguousarray(frame.image.transpose(1, 2, 0))
    return cv2.resize(image, (width, camera.height), interpolation=method), camera


def annotated(frame: Frame, width: int = 960, boxes: bool = True) -> np.ndarray:
    """An (H, W, 3) uint8 picture of a frame at ``width`` pixels: labelled boxes blue, injected boxes orange."""
    image, camera = resized(frame, width)
    if boxes:
        objects = frame.objects
        injected = objects.provenance != REAL
        known = objects.names != "DontCare"
        draw_boxes(image, camera, objects.boxes[~injected & known], BLUE)
        draw_boxes(image, camera, objects.boxes[injected & known], ORANGE)
    return image


def stacked(images: Sequence[np.ndarray], columns: int = 1, gap: int = 6) -> np.ndarray:
    """Images (H, W, 3) on a white sheet, ``columns`` a row; rows are as high as their highest image."""
    rows = []
    width = max(image.shape[1] for image in images)
    for start in range(0, len(images), columns):
        line = images[start : start + columns]
        height = max(image.shape[0] for image in line)
        sheet = np.full((height + gap, columns * (width + gap) - gap, 3), 255, np.uint8)
        for index, image in enumerate(line):
            left = index * (width + gap)
            sheet[: image.shape[0], left : left + image.shape[1]] = image
        rows.append(sheet)
    return np.concatenate(rows)[: -gap or None]


def png(image: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 RGB image as PNG bytes."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1])


def injected_sheet(frames: Sequence[Frame], columns: int = 1, width: int = 960) -> bytes:
    """PNG of frames with their boxes: labelled blue, injected orange."""
    return png(stacked([annotated(frame, width // columns) for frame in frames], columns))


def asset_view(asset: Asset, yaw: float, size: int = TILE, pitch: float = 0.2) -> np.ndarray:
    """One asset alone at a yaw, (size, size, 3) uint8 on grey, seen from ``pitch`` radians above; grey if it may not.

    The camera looks at the middle of the box from far enough that any yaw fits, and the height.
    """
    dims = np.asarray(asset.dims, np.float64)
    distance = 3.0 * float(dims.max())
    c, s = np.cos(pitch), np.sin(pitch)
    diagonal = np.hypot(dims[0], dims[2])
    focal = 0.5 * size / max(0.56 * diagonal, 0.6 * (dims[1] + s * diagonal)) * distance
    tilt = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])  # camera axes from axes parallel to the ground
    middle = (size - 1) / 2
    intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    target = np.array([0.0, 0.0, distance])
    offset = target - tilt @ target
    projection = intrinsics @ np.column_stack([tilt, offset])
    center = target + np.array([0.0, dims[1] / 2, 0.0])
    box = asset.pose if asset.pose is not None else Boxes3D.single(center, dims, yaw)
    camera = Camera(projection, size, size)
    layer = asset.render(camera, box) if asset.visibility.allows([camera], box)[0] else None
    image = np.full((size, size, 3), GREY, np.float32)
    if layer is not None:
        h, w = layer.rgba.shape[:2]
        window = image[layer.top : layer.top + h, layer.left : layer.left + w]
        window *= 1.0 - layer.rgba[..., 3:] / 255.0
        window += layer.rgba[..., :3]
    return np.clip(image, 0, 255).astype(np.uint8)


def asset_sheet(assets: Sequence[Asset], size: int = TILE) -> np.ndarray:
    """Contact sheet: one row an asset, eight yaws from left to right, (rows, 8 size, 3) uint8."""
    return stacked([stacked([asset_view(asset, yaw, size) for yaw in YAWS], len(YAWS), 2) for asset in assets], 1, 2)

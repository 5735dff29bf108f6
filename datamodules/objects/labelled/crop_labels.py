"""Labelled views of real objects: crops of labelled frames on white, their edge maps, and cameras of their boxes.

A virtual camera stands where the real one stood, looks at the middle of the box, and zooms until the object has the
size that the studio's have in its pictures: turning and zooming are exact for every depth. So a generator that learned
from the studio is shown what it knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.errors import InputError
from datamodules.files.atomic_files import begun, disk_refusals, write_atomically
from datamodules.geometry import Camera
from datamodules.images import write_image
from datamodules.objects.labelled.cameras import camera_label
from datamodules.objects.labelled.files import DATASET_INDEX
from datamodules.objects.labelled.studio_labels import FOCAL, RADIUS, world_scale
from datamodules.processes import track

FINE = 4  # times the wanted side: what the picture is turned at, then averaged, so that large crops do not alias
CANNY = (60.0, 140.0)  # grey levels a pixel at which an edge ends and begins
LEAST_RANGE = 64.0  # grey levels
RECORD = "crops.json"  # written last


@dataclass(frozen=True)
class LabelledCrop:
    """One object.

    Attributes:
        name: of its files.
        image: (S, S, 3) uint8 RGB on white.
        edge: (S, S) uint8 dark lines on white.
        camera: (25,) float64 label, see :mod:`datamodules.objects.labelled.cameras`.
        dims: (3,) its own length, height and width, metres.
    """

    name: str
    image: np.ndarray
    edge: np.ndarray
    camera: np.ndarray
    dims: np.ndarray


def object_camera(crop: CropAsset, size: int) -> Camera:
    """The camera that looks at a crop's box from where the crop was taken, in the labels' frame."""
    middle = crop.box.center[0] - np.array([0.0, 0.5, 0.0]) * crop.dims[1]
    origin = crop.camera.center
    distance = float(np.linalg.norm(middle - origin))
    forward = (middle - origin) / distance
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = FOCAL * distance * world_scale(crop.dims) / RADIUS * size
    intrinsics = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    return Camera(intrinsics @ np.column_stack([rotation, -rotation @ origin]), size, size)


def labelled_crop(crop: CropAsset, size: int) -> LabelledCrop:
    """A crop as the studio's pictures are.

    Args:
        crop: opaque where the object is; its box and camera are those it was taken with.
        size: pixels of the square picture.
    """
    fine = object_camera(crop, FINE * size)
    window = np.array([[1.0, 0, -crop.left], [0, 1, -crop.top], [0, 0, 1]]) @ crop.camera.intrinsics
    homography = fine.intrinsics @ np.linalg.inv(window)
    opacity = crop.rgba[..., 3:].astype(np.float32) / 255
    premultiplied = np.concatenate([crop.rgba[..., :3] * opacity, 255 * opacity], -1)
    warped = cv2.warpPerspective(premultiplied, homography, (FINE * size, FINE * size), flags=cv2.INTER_LINEAR)
    small = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
    image = np.rint(small[..., :3] + 255 - small[..., 3:]).clip(0, 255).astype(np.uint8)
    coarse = object_camera(crop, size)
    pose = np.concatenate([crop.box.object_to_camera[0], [[0.0, 0, 0, 1]]])
    label = camera_label(coarse.projection @ pose, crop.dims, world_scale(crop.dims), size)
    return LabelledCrop(crop.id, image, drawn_edges(image, small[..., 3] > 127), label, crop.dims)


def drawn_edges(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(S, S) uint8 dark lines on white: the mask's outline, and Canny's edges of the picture inside of it.

    Lines lie on both sides of a step, two pixels wide, as the studio's do.

    Args:
        image: (S, S, 3) uint8 RGB on white.
        mask: (S, S) bool.
    """
    lines = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        here, ahead = (
            tuple(part if a == axis else slice(None) for a in (0, 1)) for part in (slice(-1), slice(1, None))
        )
        step = mask[here] != mask[ahead]
        lines[here] |= step
        lines[ahead] |= step
    smooth = stretched(cv2.GaussianBlur(image, (0, 0), 1.0), mask)
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    for channel in range(3):
        found = cv2.Canny(np.ascontiguousarray(smooth[..., channel]), *CANNY) > 0
        lines |= cv2.dilate((found & inside).astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    return np.where(lines, 0, 255).astype(np.uint8)


def stretched(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An (S, S, 3) uint8 picture whose object takes the whole range of grey, so that dark cars have windows, too.

    The darkest and lightest fiftieth of the object are cut off; a range of a quarter is the least that is stretched.
    """
    if not mask.any():
        return image
    low, high = np.percentile(image[mask], (2, 98))
    wide = max(high - low, LEAST_RANGE)
    return ((image - low) * (255 / wide)).clip(0, 255).astype(np.uint8)


def write_labelled_crops(folder: str | Path, crops: Sequence[CropAsset], size: int, source: str) -> Path:
    """Write ``images/`` with ``dataset.json``, and ``edge/``; ``crops.json`` last.

    Args:
        folder: to create; what an earlier call wrote there is replaced.
        crops: the objects.
        size: pixels of the square pictures.
        source: what they were cut from.

    Raises:
        InputError: no crops, too small a picture, or the folder holds something else.
    """
    folder = Path(folder)
    if not crops or size < 8:
        raise InputError(f"{len(crops)} crops of {size} pixels: expected at least one, of at least 8 pixels")
    labels: list[object] = []
    objects: dict[str, object] = {}
    with begun(folder / RECORD, ["images", "edge"]), disk_refusals(folder):
        (folder / RECORD).unlink(missing_ok=True)
        for kind in ("images", "edge"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for old in (folder / kind).glob("*.png"):
                old.unlink()
        for crop in track(crops, "crops"):
            made = labelled_crop(crop, size)
            name = f"{made.name}.png"
            write_image(folder / "images" / name, made.image.transpose(2, 0, 1))
            write_image(folder / "edge" / name, made.edge)
            labels.append([name, np.round(made.camera, 9).tolist()])
            objects[made.name] = {"dims": made.dims.tolist(), "scale": world_scale(made.dims)}
        index = {"labels": labels, "objects": objects, "source": source}
        write_atomically(folder / "images" / DATASET_INDEX, json.dumps(index))
        write_atomically(folder / RECORD, json.dumps({"source": source, "objects": len(crops), "size": size}))
    return folder

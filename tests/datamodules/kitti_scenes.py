"""Small random frames and KITTI folders made of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from datamodules.files.atomic_files import write_atomically
from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.images import write_image
from datamodules.kitti.datamodule import DEPTH_SCALE
from datamodules.kitti.format import write_calibration, write_label, write_plane
from datamodules.light import Light
from datamodules.scene import Frame, Objects

WIDTH, HEIGHT = 160, 48


def random_objects(rng: np.random.Generator, camera: Camera, count: int = 4, dont_care: bool = True) -> Objects:
    """Boxes in front of the camera, the last row a DontCare when asked for."""
    depth = rng.uniform(6, 40, count)
    center = np.column_stack([rng.uniform(-0.6, 0.6, count) * depth, rng.uniform(1.4, 1.9, count), depth])
    dims = rng.uniform([3.2, 1.3, 1.5], [5, 1.9, 2.0], (count, 3))
    boxes = Boxes3D(center, dims, rng.uniform(-np.pi, np.pi, count))
    objects = Objects(
        boxes,
        rng.choice(["Car", "Van", "Pedestrian"], count),
        projected_bbox(camera, boxes),
        rng.uniform(0, 1, count).round(2),
        rng.integers(0, 4, count),
        boxes.alpha,
    )
    if not dont_care:
        return objects
    nothing = Boxes3D(np.full((1, 3), -1000.0), np.full((1, 3), -1.0), np.array([-10.0]))
    unknown = -np.ones(1)
    area = np.array([[20.0, 10, 40, 30]])
    row = Objects(nothing, np.array(["DontCare"]), area, unknown, unknown.astype(np.int64), np.array([-10.0]))
    return Objects.concatenate([objects, row])


def random_frame(seed: int = 0, width: int = WIDTH, height: int = HEIGHT, maps: bool = True) -> Frame:
    """A smooth random image with objects and, when asked for, all maps."""
    rng = np.random.default_rng(seed)
    projection = np.array([[0.6 * width, 0, width / 2, 45.0], [0, 0.6 * width, height / 2, -0.3], [0, 0, 1, 0.005]])
    camera = Camera(projection, width, height)
    noise = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    objects = random_objects(rng, camera)
    frame = Frame(image, camera, objects, f"{seed:06d}")
    if not maps:
        return frame
    depth = rng.integers(256, 20000, (height, width)).astype(np.float32) / 256
    return frame.with_(
        road=rng.random((height, width)) > 0.5,
        plane=np.array([0.02, -1.0, 0.01, 1.65]) / np.linalg.norm([0.02, -1.0, 0.01]),
        depth=depth,
        instances=rng.integers(0, len(objects) + 1, (height, width), dtype=np.uint8),
        light=Light(np.array([0.3, -0.9, 0.1])),
    )


def write_frames(root: Path, split: str, frames: Iterable[Frame]) -> list[str]:
    """Write frames as a KITTI folder; the ids written."""
    folder, ids = root / "training", []
    for frame in frames:
        name = frame.sample_id
        write_image(folder / "image_2" / f"{name}.png", frame.image)
        write_label(folder / "label_2" / f"{name}.txt", frame.objects)
        write_calibration(folder / "calib" / f"{name}.txt", frame.camera.projection)
        if frame.plane is not None:
            write_plane(folder / "planes" / f"{name}.txt", frame.plane)
        if frame.road is not None:
            write_image(folder / "road_2" / f"{name}.png", frame.road.astype(np.uint8) * 255)
        if frame.instances is not None:
            write_image(folder / "instance_2" / f"{name}.png", frame.instances)
        if frame.depth is not None:
            depth = np.clip(np.round(frame.depth * DEPTH_SCALE), 0, 65535).astype(np.uint16)
            write_image(folder / "depth_2" / f"{name}.png", depth)
        ids.append(name)
    write_atomically(root / "ImageSets" / f"{split}.txt", "".join(f"{name}\n" for name in ids))
    return ids


def small_kitti(root: Path, train: int = 7, val: int = 3, maps: bool = False) -> Path:
    """A KITTI folder of random frames."""
    write_frames(root, "train", (random_frame(i, maps=maps) for i in range(train)))
    write_frames(root, "val", (random_frame(100 + i, maps=maps) for i in range(val)))
    return root

"""The procedural road world, written as a true KITTI folder with masks, depth and planes beside it.

Labels follow KITTI and are derived from what the ray caster saw:

* 2D box: the tight rectangle of the object's whole silhouette inside the image, hidden parts included.
* Truncation: share of the projected 3D box's rectangle that lies outside the image.
* Occlusion: :mod:`datamodules.occlusion_levels` of the silhouette's hidden share; beyond its levels lies DontCare.
* DontCare: cars and vans too small, too far or too hidden to be asked for; other classes are left out then.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import disk_refusals, is_finished, write_atomically, write_index
from datamodules.files.folder_lock import folder_lock
from datamodules.geometry import Boxes3D, projected_bbox, truncation
from datamodules.images import write_image
from datamodules.kitti.format import write_calibration, write_label, write_plane
from datamodules.occlusion_levels import LEVELS, occlusion_level
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.scene import Objects
from datamodules.world.road_layout import RoadScene, draw_scene
from datamodules.world.road_render import DrawnStreet, render

SCHEMA = 2  # of world.json; 2 has checksums beside it
FOLDERS = ("image_2", "label_2", "calib", "planes", "road_2", "depth_2", "instance_2", "semantic_2")
PERSONS = ("Pedestrian", "Cyclist")  # riders with their bicycle
LEAST_HEIGHT = 14.0  # pixels at KITTI's 375 rows; scaled with the image
MAX_DEPTH, MAX_TRUNCATION = 60.0, 0.85
VAL_START = 100_000  # validation ids begin here, so that growing the training split renames nothing


def make_labels(scene: RoadScene, drawn: DrawnStreet) -> tuple[Objects, np.ndarray]:
    """Label rows of a scene, nearest first and DontCare last, and (N,) the object index of each row (-1 DontCare)."""
    camera, boxes = scene.camera, scene.boxes
    if not len(boxes):
        return Objects.empty(), np.zeros(0, np.int64)
    full, clipped = projected_bbox(camera, boxes, clip=False), projected_bbox(camera, boxes)
    names = np.array([o.name for o in scene.objects])
    cut = truncation(full, clipped)
    height = drawn.silhouettes[:, 3] - drawn.silhouettes[:, 1]
    inside = drawn.pixels > 0
    enough = (height >= LEAST_HEIGHT * camera.height / 375) & (boxes.center[:, 2] < MAX_DEPTH) & (cut < MAX_TRUNCATION)
    hidden = 1.0 - drawn.visible
    labelled = inside & enough & (hidden <= LEVELS[2])
    ignored = np.nonzero(inside & ~labelled & np.isin(names, ("Car", "Van")))[0]
    rows = np.nonzero(labelled)[0]
    rows = rows[np.argsort(boxes.center[rows, 2], kind="stable")]
    known = Objects(
        boxes[rows], names[rows], drawn.silhouettes[rows], cut[rows], occlusion_level(hidden[rows]), boxes[rows].alpha
    )
    if not len(ignored):
        return known, rows
    n = len(ignored)
    nothing = Boxes3D(np.full((n, 3), -1000.0), np.full((n, 3), -1.0), np.full(n, -10.0))
    unknown = Objects(
        nothing,
        np.full(n, "DontCare"),
        drawn.silhouettes[ignored],
        np.full(n, -1.0),
        np.full(n, -1, np.int64),
        np.full(n, -10.0),
    )
    return Objects.concatenate([known, unknown]), np.concatenate([rows, np.full(n, -1)])


def make_frame(
    seed: int, sample_id: str, population: str, width: int, height: int
) -> tuple[RoadScene, DrawnStreet, Objects, np.ndarray]:
    """Draw one frame: scene, rendering, labels, and (H, W) uint8 instances numbered by 1 + label row."""
    scene = draw_scene(derive(seed, "scene", sample_id), population, seed, width, height)
    drawn = render(scene, derive(seed, "sensor", sample_id))
    objects, rows = make_labels(scene, drawn)
    lookup = np.zeros(len(scene.objects) + 1, np.uint8)
    known = rows >= 0
    lookup[1 + rows[known]] = 1 + np.nonzero(known)[0]
    return scene, drawn, objects, lookup[drawn.instances]


def semantic_map(scene: RoadScene, drawn: DrawnStreet) -> np.ndarray:
    """(H, W) uint8: 0 background, 1 road, 2 vehicle, 3 person; unlabelled objects included."""
    persons = np.isin([thing.name for thing in scene.objects], PERSONS)
    classes = np.concatenate([[0], np.where(persons, 3, 2)]).astype(np.uint8)
    found = classes[drawn.instances]
    return np.where((found == 0) & drawn.road, np.uint8(1), found)


def _write_frame(job: tuple[str, int, str, str, int, int]) -> tuple[str, dict[str, object], dict[str, str]]:
    """Draw and write one frame: its id, what the index says of it, and its files' digests.

    The job is (root, seed, id, population, width, height).
    """
    cv2.setNumThreads(1)
    root, seed, sample_id, population, width, height = job
    folder = Path(root) / "training"
    scene, drawn, objects, instances = make_frame(seed, sample_id, population, width, height)
    metres = np.clip(np.rint(drawn.depth * 256), 0, 65535).astype(np.uint16)
    images = {
        "image_2": drawn.image.transpose(2, 0, 1),
        "road_2": drawn.road.astype(np.uint8) * 255,
        "depth_2": np.where(drawn.depth >= 255.5, np.uint16(0), metres),
        "instance_2": instances,
        "semantic_2": semantic_map(scene, drawn),
    }
    paths = {name: f"{name}/{sample_id}.{'png' if name in images else 'txt'}" for name in FOLDERS}
    digests = {name: write_image(folder / paths[name], image) for name, image in images.items()}
    digests["label_2"] = write_label(folder / paths["label_2"], objects)
    digests["calib"] = write_calibration(folder / paths["calib"], scene.camera.projection)
    digests["planes"] = write_plane(folder / paths["planes"], scene.plane)
    light = scene.light
    facts = {
        "sun": [round(float(v), 6) for v in light.sun],
        "ambient": round(light.ambient, 6),
        "exposure": round(light.exposure, 6),
        "population": population,
        "objects": [thing.id for thing in scene.objects],
    }
    return sample_id, facts, {f"training/{paths[name]}": digest for name, digest in digests.items()}


def _write_semantic(job: tuple[str, int, str, str, int, int]) -> None:
    """Draw one frame again and write its semantic map alone."""
    cv2.setNumThreads(1)
    root, seed, sample_id, population, width, height = job
    scene, drawn, _, _ = make_frame(seed, sample_id, population, width, height)
    write_image(Path(root) / "training" / "semantic_2" / f"{sample_id}.png", semantic_map(scene, drawn))


def frame_ids(train: int, val: int) -> tuple[list[str], list[str]]:
    """Ids of both splits; the first n of 'train' are the n-frame subset."""
    return [f"{i:06d}" for i in range(train)], [f"{VAL_START + i:06d}" for i in range(val)]


def write_world(
    root: str | Path,
    seed: int = 0,
    train: int = 400,
    val: int = 300,
    width: int = 320,
    height: int = 96,
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Write a world; the same arguments give the same bytes whatever the number of workers.

    ``world.json`` is written last, ``checksums.json`` just before it: a folder that has both is complete; asking for
    it again returns at once (semantic maps that are missing are added). One process writes a world at a time.
    Without it everything is drawn (again), so an interrupted run is simply repeated.

    Args:
        root: folder to create.
        seed: seed of everything, >= 0.
        train, val: frames a split.
        width, height: image size in pixels, from 320 × 96 up to KITTI's 1242 × 375.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.

    Returns:
        The root.

    Raises:
        InputError: impossible sizes or counts, or the folder holds another world or something else.
    """
    for name, value, low in (("train", train, 1), ("val", val, 0), ("workers", workers, 1), ("seed", seed, 0)):
        if value < low:
            raise InputError(f"{name}={value}: expected at least {low}; give a larger number")
    if train > VAL_START or not (32 <= width <= 4096 and 24 <= height <= 4096):
        raise InputError(
            f"train={train}, size {width}x{height}: expected at most {VAL_START} frames of 32x24 to 4096x4096"
        )
    root = Path(root)
    settings = {"schema": SCHEMA, "seed": seed, "train": train, "val": val, "width": width, "height": height}
    splits = frame_ids(train, val)
    jobs = [
        (str(root), seed, sample_id, population, width, height)
        for population, ids in zip(("train", "val"), splits)
        for sample_id in ids
    ]
    finished = _is_finished(root, settings)
    semantic = root / "training" / "semantic_2"
    lost = [job for job in jobs if not (semantic / f"{job[2]}.png").is_file()] if finished else []
    if finished and not lost:
        return root
    with folder_lock(root, "a road world"):
        if finished or _is_finished(root, settings):  # maps that somebody removed
            run_jobs(_write_semantic, lost, workers, progress and bool(lost), "semantic maps")
        else:
            _write_frames(root, jobs, splits, settings, workers, progress)
    return root


def _is_finished(root: Path, settings: dict[str, int]) -> bool:
    begun = {path.name for path in (root / "training").glob("*")}
    # True KITTI folders have no instance maps; a world's folder of them is made before any file.
    own = ("training", "ImageSets") if begun <= {"image_2"} or "instance_2" in begun else ()
    return is_finished(root / "world.json", settings, own)


def _write_frames(
    root: Path,
    jobs: list[tuple[str, int, str, str, int, int]],
    splits: tuple[list[str], list[str]],
    settings: dict[str, int],
    workers: int,
    progress: bool,
) -> None:
    with disk_refusals(root):
        for name in FOLDERS:
            (root / "training" / name).mkdir(parents=True, exist_ok=True)
    written = run_jobs(_write_frame, jobs, workers, progress, f"world {settings['width']}x{settings['height']}")
    files = {path: digest for _, _, digests in written for path, digest in digests.items()}
    for name, ids in (("train", splits[0]), ("val", splits[1]), ("trainval", splits[0] + splits[1])):
        path = f"ImageSets/{name}.txt"
        files[path] = write_atomically(root / path, "".join(f"{i}\n" for i in ids))
    frames = {sample_id: facts for sample_id, facts, _ in sorted(written, key=lambda frame: frame[0])}
    write_index(root / "world.json", json.dumps({**settings, "frames": frames}, indent=1), files)

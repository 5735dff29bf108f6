"""The surround world: procedural streets seen by six cameras, written as an official nuScenes folder.

The folder is read by the devkit as any version of nuScenes. What differs from the real data:

* Annotations cover every actor within :data:`ANNOTATED` metres of the car, visible or not; their order within a sample
  is the numbering of its instance masks.
* Visibility is measured: the share of the silhouette over all six images that nothing hides, in nuScenes' bins.
* There is no lidar: the LIDAR_TOP files are empty and only carry the car's pose at the sample's time, and
  ``num_lidar_pts`` is a stand-in (:func:`datamodules.world.surround.render.lidar_points`).
* Each scene is a location of its own, whose map (``maps/expansion``) holds its drivable ground and no other layer.
* Actors stand still while the six cameras are read one after another; the car does not.

``world.json`` holds the settings and each scene's light: direction towards the sun in the global frame, share of sky
light, exposure.

Beside the official folders: ``road``, ``depth`` (uint16, 256 a metre, 0 unknown) and ``instances`` (uint8, 1 + row
among the sample's annotations) per camera, ``ImageSets`` with scene names, ``frames`` with a record of every sample.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import disk_refusals, is_finished, write_atomically, write_index
from datamodules.files.checksums import digest_of
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.images import write_image
from datamodules.nuscenes.quaternions import angles_quaternion
from datamodules.nuscenes.tables import Row
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.world.surround.actors import PERIOD
from datamodules.world.surround.layout import MAX_SAMPLES, SurroundScene, draw_surround
from datamodules.world.surround.render import DrawnCamera, draw_sample, lidar_points, visible_share
from datamodules.world.surround.rig import LIDAR, MOUNTS
from datamodules.world.surround.tables import MAP_FILE, make_tables, map_expansion

SCHEMA = 3  # of world.json; 2 has checksums beside it, 3 a map of each scene
FOLDERS = ("samples", "frames", "road", "depth", "instances", "ImageSets", "maps")
ANNOTATED = 70.0  # metres round the car within which actors are annotated
START = 1_532_402_927_000_000  # microseconds; the first scene's first sample
QUALITY = 95  # JPEG
MAX_SCENES = 5000  # a split's, so that the times of the splits' scenes never meet

SampleJob = tuple[str, str, int, str, str, int, int, int, int]


def scene_names(train: int, val: int) -> tuple[list[str], list[str]]:
    """Names of both splits' scenes, none of them an official one's."""
    return [f"world-train-{i:04d}" for i in range(train)], [f"world-val-{i:04d}" for i in range(val)]


def _microseconds(name: str, sample: int) -> int:
    """Timestamp of a sample; scenes lie 30 s apart."""
    _, split, number = name.split("-")
    return START + 30_000_000 * (int(number) + (MAX_SCENES if split == "val" else 0)) + int(sample * PERIOD * 1e6)


def sample_record(scene: SurroundScene, sample: int, population: str, views: list[DrawnCamera], seed: int) -> Row:
    """What the tables need to know of a drawn sample, JSON-ready: times, car poses, file names, annotations.

    Args:
        scene: the scene.
        sample: index of the sample.
        population: whose cars it uses.
        views: its drawing.
        seed: the world's seed.
    """
    time, stamp = sample * PERIOD, _microseconds(scene.name, sample)
    sensors = []
    for mount, suffix in ((LIDAR, "pcd.bin"), *((view.mount, "jpg") for view in views)):
        translation, rotation = scene.ego_pose(time + mount.delay * 1e-6)
        when = stamp + mount.delay
        sensors.append(
            {
                "channel": mount.channel,
                "timestamp": when,
                "ego_translation": _rounded(translation),
                "ego_rotation": _rounded(rotation, 9),
                "filename": f"samples/{mount.channel}/{scene.name}__{mount.channel}__{when}.{suffix}",
            }
        )
    boxes, share = scene.boxes(time), visible_share(views)
    points = lidar_points(views, derive(seed, "lidar", scene.name, sample))
    x, z, _ = scene.course.pose(scene.ego, time)
    near = np.hypot(boxes.center[:, 0] - x, boxes.center[:, 2] - z) < ANNOTATED
    objects = []
    for i in np.nonzero(near)[0]:
        actor, (length, height, width) = scene.actors[i], boxes.dims[i]
        middle = scene.place.matrix @ np.append(boxes.center[i] - [0, height / 2, 0], 1.0)
        velocity = scene.course.velocity(actor, time)
        objects.append(
            {
                "actor": int(i),
                "id": actor.thing.id,
                "class": actor.name,
                "attribute": actor.attribute,
                "translation": _rounded(middle[:3]),
                "size": _rounded(np.array([width, length, height])),
                "rotation": _rounded(angles_quaternion(scene.place.yaw(boxes.yaw[i])), 9),
                "velocity": _rounded(scene.place.matrix[:2, [0, 2]] @ velocity),
                "visible": round(float(share[i]), 6),
                "points": int(points[i]),
            }
        )
    light = scene.light
    return {
        "scene": scene.name,
        "sample": sample,
        "population": population,
        "timestamp": stamp,
        "sun": _rounded(scene.place.matrix[:3, :3] @ light.sun),
        "ambient": round(light.ambient, 6),
        "exposure": round(light.exposure, 6),
        "sensors": sensors,
        "objects": objects,
        "drivable": [_rounded(point, 3) for point in scene.drivable] if sample == 0 else [],
    }


def _rounded(values: np.ndarray, digits: int = 6) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]


def _write_sample(job: SampleJob) -> Row:
    """Draw and write one sample unless its record says that it is there.

    The job is (root, digest of the settings, seed, scene, population, sample, samples, width, height).
    """
    cv2.setNumThreads(1)
    root, digest, seed, name, population, sample, samples, width, height = job
    folder = Path(root)
    index = folder / "frames" / f"{name}_{sample:02d}.json"
    done = _finished(folder, index, digest)
    if done is not None:
        return done
    scene = draw_surround(seed, name, population, samples)
    views = draw_sample(scene, sample, seed, width, height)
    record = sample_record(scene, sample, population, views, seed)
    rows = np.zeros(len(scene.actors) + 1, np.uint8)
    rows[[1 + thing["actor"] for thing in record["objects"]]] = 1 + np.arange(len(record["objects"]))
    lidar, *cameras = record["sensors"]
    digests = {lidar["filename"]: write_atomically(folder / lidar["filename"], b"")}
    for view, sensor in zip(views, cameras):
        drawn, path = view.drawn, Path(sensor["filename"])
        picture = cv2.imencode(".jpg", drawn.image[..., ::-1].copy(), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        metres = np.clip(np.rint(drawn.depth * 256), 0, 65535).astype(np.uint16)
        images = {
            "road": drawn.road.astype(np.uint8) * 255,
            "depth": np.where(drawn.depth >= 255.5, np.uint16(0), metres),
            "instances": rows[drawn.instances],
        }
        for kind, image in images.items():
            name = f"{kind}/{view.mount.channel}/{path.stem}.png"
            digests[name] = write_image(folder / name, image)
        digests[sensor["filename"]] = write_atomically(folder / path, picture.tobytes())
    record["files"] = digests
    write_atomically(index, json.dumps({"settings": digest, **record}))
    return record


def _finished(folder: Path, index: Path, digest: str) -> Row | None:
    """The record of a sample that an earlier run completed with the same settings."""
    try:
        record: Row = read_json(index, dict[str, Any], "a sample's record")
        whole = all(digest_of((folder / name).read_bytes()) == stated for name, stated in record["files"].items())
        if record.pop("settings") != digest or not whole:
            return None
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record


def write_surround_world(
    root: str | Path,
    version: str = "v1.0-world",
    seed: int = 0,
    train_scenes: int = 6,
    val_scenes: int = 2,
    samples_per_scene: int = 6,
    width: int = 224,
    height: int = 128,
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Write a world; the same arguments give the same bytes whatever the number of workers.

    ``world.json`` is written last: a folder that has it is complete, and asking for it again returns at once. Without
    it an interrupted run goes on: samples that are complete are kept, the others are drawn.

    Args:
        root: folder to create, the devkit's ``dataroot``.
        version: folder of the tables, the devkit's ``version``; the devkit's splits are ``world_train`` and
            ``world_val`` (its own names are taken by the official scenes).
        seed: seed of everything, >= 0.
        train_scenes, val_scenes: scenes a split; their cars come from disjoint populations.
        samples_per_scene: samples a scene, half a second apart, 1 to 40.
        width, height: image size in pixels.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.

    Returns:
        The root.

    Raises:
        InputError: impossible sizes or counts, or the folder holds another world or something else.
    """
    limits = (
        ("train_scenes", train_scenes, 1, MAX_SCENES), ("val_scenes", val_scenes, 0, MAX_SCENES),
        ("samples_per_scene", samples_per_scene, 1, MAX_SAMPLES), ("width", width, 32, 4096),
        ("height", height, 24, 4096), ("workers", workers, 1, 4096), ("seed", seed, 0, 2**63 - 1),
    )  # fmt: skip
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise InputError(f"{name}={value}: expected {low} to {high}; give a number in that range")
    if not version or Path(version).name != version:
        raise InputError(f"version={version!r}: expected the name of a folder, such as 'v1.0-world'")
    root = Path(root)
    settings = {
        "schema": SCHEMA, "version": version, "seed": seed, "train_scenes": train_scenes, "val_scenes": val_scenes,
        "samples_per_scene": samples_per_scene, "width": width, "height": height,
    }  # fmt: skip
    index = root / "world.json"
    if is_finished(index, settings, (*FOLDERS, version)):
        return root
    with folder_lock(root, "a surround world"):
        if not is_finished(index, settings, (*FOLDERS, version)):
            _write_scenes(root, settings, workers, progress)
    return root


def _write_scenes(root: Path, settings: dict[str, Any], workers: int, progress: bool) -> None:
    """Draw what is missing of a world, and write its tables, splits and index."""
    seed, samples, version = settings["seed"], settings["samples_per_scene"], settings["version"]
    width, height = settings["width"], settings["height"]
    train, val = scene_names(settings["train_scenes"], settings["val_scenes"])
    drawn_with = json.dumps([SCHEMA, seed, samples, width, height])  # more scenes keep those that are there
    digest = blake2b(drawn_with.encode(), digest_size=8).hexdigest()
    with disk_refusals(root):
        for mount in (LIDAR, *MOUNTS):
            (root / "samples" / mount.channel).mkdir(parents=True, exist_ok=True)
    jobs: list[SampleJob] = [
        (str(root), digest, seed, name, population, sample, samples, width, height)
        for population, names in (("train", train), ("val", val))
        for name in names
        for sample in range(samples)
    ]
    records = run_jobs(_write_sample, jobs, workers, progress, f"surround world {width}x{height}")
    files = {name: stated for record in records for name, stated in record["files"].items()}
    scenes = [records[i : i + samples] for i in range(0, len(records), samples)]
    splits = {"world_train": train, "world_val": val, "world_trainval": train + val}
    texts = {
        f"{version}/{table}.json": json.dumps(rows, indent=0)
        for table, rows in make_tables(scenes, seed, width, height).items()
    }
    texts |= {
        f"maps/expansion/{records[0]['scene']}.json": json.dumps(
            map_expansion(records[0]["scene"], records[0]["drivable"], seed), indent=0
        )
        for records in scenes
    }
    texts[f"{version}/splits.json"] = json.dumps(splits, indent=1)
    for split, names in splits.items():
        texts[f"ImageSets/{split.removeprefix('world_')}.txt"] = "".join(f"{name}\n" for name in names)
    files |= {name: write_atomically(root / name, text) for name, text in texts.items()}
    files[MAP_FILE] = write_image(root / MAP_FILE, np.zeros((1, 1), np.uint8))  # the devkit wants one for every map
    light = {r["scene"]: {key: r[key] for key in ("sun", "ambient", "exposure")} for r in records}
    write_index(root / "world.json", json.dumps({**settings, "scenes": light}, indent=1), files)

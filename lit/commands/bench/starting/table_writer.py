"""Writes nuScenes' tables in the shape and the share of trainval's size that a bench asks for; pictures are empty."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES
from datamodules.nuscenes.splits import scenes_of
from datamodules.nuscenes.table_boxes import CATEGORIES, RACK
from datamodules.nuscenes.table_columns import CAMERAS
from datamodules.randomness import derive

VERSION = "v1.0-trainval"
TRAIN, VAL = 700, 150  # scenes
SAMPLES, OBJECTS, SEEN = 40, 76, 34  # a scene; of its objects so many are seen in each sample
RADARS = ("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT")
SWEEPS = {**dict.fromkeys(CAMERAS, 6), "LIDAR_TOP": 10, **dict.fromkeys(RADARS, 6)}  # files a sample and sensor
INTRINSICS = "[[1266.4, 0.0, 816.2], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]"


def write_large_tables(root: Path, share: float, seed: int = 0) -> int:
    """Write the tables of some scenes of both splits, and an empty file for each picture.

    At the whole size: 850 scenes, 34,000 samples, 2.58 million files of sensors, 1.16 million annotations.

    Args:
        root: the data root.
        share: of the scenes of each split; one of each at least.
        seed: of places and sizes.

    Returns:
        The number of samples.
    """
    folder = root / VERSION
    folder.mkdir(parents=True)
    names = sorted(scenes_of("train"))[: max(round(TRAIN * share), 1)]
    names += sorted(scenes_of("val"))[: max(round(VAL * share), 1)]
    _write_small(folder)
    big = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sample_annotation", "instance")
    files = {name: (folder / f"{name}.json").open("w") for name in big}
    try:
        for number, name in enumerate(names):
            rng = derive(seed, name, "bench_tables")
            for table, rows in _scene(root, name, number, rng).items():
                _append(files[table], rows, first=number == 0)
        for file in files.values():
            file.write("\n]\n")
    finally:
        for file in files.values():
            file.close()
    return SAMPLES * len(names)


def _append(file: TextIO, rows: list[str], first: bool) -> None:
    file.write("[\n" if first else ",\n")
    file.write(",\n".join(rows))


def _write_small(folder: Path) -> None:
    named = {
        "category": [*CATEGORIES, RACK],
        "attribute": list(ATTRIBUTE_NAMES),
        "visibility": [f"v{level}" for level in range(1, 5)],
    }
    tables: dict[str, list[dict[str, Any]]] = {
        table: [
            {"token": f"{table}{row}", "name": name, "level": name, "description": ""} for row, name in enumerate(n)
        ]
        for table, n in named.items()
    }
    tables["sensor"] = [{"token": name, "channel": name, "modality": name.split("_")[0].lower()} for name in SWEEPS]
    tables["log"] = [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": ""}]
    tables["map"] = [{"token": "map", "log_tokens": ["log"], "category": "", "filename": ""}]
    for table, rows in tables.items():
        (folder / f"{table}.json").write_text(json.dumps(rows))


def _tokens(rng: np.random.Generator) -> Callable[[], str]:
    """Draws tokens of 32 hexadecimal digits."""

    def endless() -> Iterator[str]:
        while True:
            digits = rng.bytes(1 << 16).hex()
            yield from (digits[start : start + 32] for start in range(0, len(digits), 32))

    return endless().__next__


def _turns(rng: np.random.Generator, count: int) -> list[str]:
    """Quaternions about the vertical, as JSON."""
    angles = rng.uniform(-np.pi, np.pi, count) / 2
    return [f"[{c}, 0.0, 0.0, {s}]" for c, s in zip(np.cos(angles).tolist(), np.sin(angles).tolist())]


def _scene(root: Path, name: str, number: int, rng: np.random.Generator) -> dict[str, list[str]]:
    """Rows of one scene by table, as JSON."""
    token, scene = _tokens(rng), f"scene{number:028d}"
    samples = [token() for _ in range(SAMPLES)]
    start = 1_532_402_927_647_951 + number * 40_000_000
    times = [start + 500_000 * k for k in range(SAMPLES)]
    linked = zip(samples, times, ["", *samples], [*samples[1:], ""])
    ends = f'"first_annotation_token": "", "last_annotation_token": "", "nbr_annotations": {SEEN}'
    rows: dict[str, list[str]] = {
        "scene": [
            f'{{"token": "{scene}", "log_token": "log", "nbr_samples": {SAMPLES}, '
            f'"first_sample_token": "{samples[0]}", "last_sample_token": "{samples[-1]}", "name": "{name}"}}'
        ],
        "sample": [
            f'{{"token": "{one}", "timestamp": {time}, "prev": "{prev}", "next": "{after}", "scene_token": "{scene}"}}'
            for one, time, prev, after in linked
        ],
        "sample_data": [],
        "ego_pose": [],
        "calibrated_sensor": [],
    }
    origin, heading = rng.uniform(300, 1700, 2), rng.uniform(-np.pi, np.pi)
    speed = rng.uniform(0, 10) * np.array([np.cos(heading), np.sin(heading)])
    for channel, sweeps in SWEEPS.items():
        _write_sensor(root, rows, (channel, sweeps, name), samples, times, (origin, speed, token, rng))
    instances = [token() for _ in range(OBJECTS)]
    kinds = rng.integers(0, len(CATEGORIES) + 1, OBJECTS)
    rows["instance"] = [
        f'{{"token": "{one}", "category_token": "category{kind}", {ends}}}' for one, kind in zip(instances, kinds)
    ]
    rows["sample_annotation"] = _annotations(samples, instances, origin, token, rng)
    return rows


def _write_sensor(
    root: Path, rows: dict[str, list[str]], which: tuple[str, int, str], samples: list[str], times: list[int], way: Any
) -> None:
    """Key frames and sweeps of one sensor through a scene; of cameras, empty pictures."""
    channel, sweeps, name = which
    origin, speed, token, rng = way
    rig, camera = token(), channel in CAMERAS
    yaw = -np.pi / 3 * CAMERAS.index(channel) if camera else 0.0
    look = np.array([1, -1, 1, -1]) / 2 if camera else np.array([1, 0, 0, 0])  # z forward, y down
    c, s = np.cos(yaw / 2), np.sin(yaw / 2)
    turn = [c * look[0] - s * look[3], c * look[1] - s * look[2], c * look[2] + s * look[1], c * look[3] + s * look[0]]
    rows["calibrated_sensor"].append(
        f'{{"token": "{rig}", "sensor_token": "{channel}", "translation": [1.5, 0.0, 1.5], '
        f'"rotation": {[float(one) for one in turn]}, "camera_intrinsic": {INTRINSICS if camera else "[]"}}}'
    )
    height, width, form = (900, 1600, "jpg") if camera else (0, 0, "pcd")
    count = len(samples) * sweeps
    turns = _turns(rng, count)
    (root / "samples" / channel).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        sample, sweep = divmod(number, sweeps)
        time, one, pose = times[sample] - 80_000 * sweep, token(), token()
        x, y = (origin + speed * (time - times[0]) * 1e-6).tolist()
        file = f"{'sweeps' if sweep else 'samples'}/{channel}/n015-{name}+0800__{channel}__{time}.{form}"
        rows["ego_pose"].append(
            f'{{"token": "{pose}", "timestamp": {time}, "rotation": {turns[number]}, "translation": [{x}, {y}, 0.0]}}'
        )
        rows["sample_data"].append(
            f'{{"token": "{one}", "sample_token": "{samples[sample]}", "ego_pose_token": "{pose}", '
            f'"calibrated_sensor_token": "{rig}", "timestamp": {time}, "fileformat": "{form}", "is_key_frame": '
            f'{"false" if sweep else "true"}, "height": {height}, "width": {width}, "filename": "{file}", '
            '"prev": "", "next": ""}'
        )
        if camera and not sweep:
            (root / file).touch()


def _annotations(
    samples: list[str], instances: list[str], origin: np.ndarray, token: Callable[[], str], rng: np.random.Generator
) -> list[str]:
    """Annotations of a scene's objects, each in some of its samples."""
    seen = np.argsort(rng.random((len(samples), len(instances))), axis=1) < SEEN
    rows = []
    for number, instance in enumerate(instances):
        mine = np.flatnonzero(seen[:, number]).tolist()
        tokens = [token() for _ in mine]
        start, speed = np.append(origin + rng.uniform(-50, 50, 2), 0.8), np.append(rng.uniform(-5, 5, 2), 0.0)
        size, turns = rng.uniform(0.5, 5.0, 3).round(3).tolist(), _turns(rng, len(mine))
        points = rng.integers(0, 50, len(mine)).tolist()
        for place, (sample, one, prev, after) in enumerate(zip(mine, tokens, ["", *tokens], [*tokens[1:], ""])):
            attributes = f'["attribute{number % len(ATTRIBUTE_NAMES)}"]' if number % 10 < 7 else "[]"
            rows.append(
                f'{{"token": "{one}", "sample_token": "{samples[sample]}", "instance_token": "{instance}", '
                f'"visibility_token": "visibility0", "attribute_tokens": {attributes}, '
                f'"translation": {(start + 0.5 * sample * speed).tolist()}, "size": {size}, '
                f'"rotation": {turns[place]}, "prev": "{prev}", "next": "{after}", '
                f'"num_lidar_pts": {points[place]}, "num_radar_pts": 0}}'
            )
    return rows

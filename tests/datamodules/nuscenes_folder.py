"""A small nuScenes folder: the official tables with two scenes of four samples, every kind of annotation in them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
CATEGORIES = ("vehicle.car", "human.pedestrian.adult", "vehicle.bicycle", "static_object.bicycle_rack", "animal")
ATTRIBUTES = ("vehicle.parked", "pedestrian.moving", "cycle.without_rider")
SAMPLES = 4  # of each scene


def write_folder(
    root: Path, version: str = "v1.0-mini", scenes: tuple[str, ...] = ("scene-0061", "scene-0103")
) -> Path:
    """Write ``root/version/*.json``.

    Each category has two instances a scene; one is annotated in every sample, the other misses the second, whose gap of
    time is too long for a velocity. One more is annotated once.

    Returns:
        ``root``.
    """
    rng = np.random.default_rng(0)
    tables: dict[str, Rows] = {name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "instance")}
    tables["sample_annotation"], tables["log"] = [], [{"token": "log", "logfile": "", "location": ""}]
    tables["map"] = [{"token": "map", "log_tokens": ["log"], "filename": "", "category": ""}]
    tables["visibility"] = [{"token": "4", "level": "v80-100", "description": ""}]
    tables["category"] = [{"token": f"category{k}", "name": name} for k, name in enumerate(CATEGORIES)]
    tables["attribute"] = [{"token": f"attribute{k}", "name": name} for k, name in enumerate(ATTRIBUTES)]
    channels = ("CAM_FRONT", "LIDAR_TOP")
    tables["sensor"] = [{"token": channel, "channel": channel, "modality": ""} for channel in channels]
    tables["calibrated_sensor"] = [{"token": f"{channel} rig", "sensor_token": channel} for channel in channels]
    for name in scenes:
        tables["scene"].append({"token": f"{name} token", "name": name, "log_token": "log"})
        tokens = [f"{name} {k}" for k in range(SAMPLES)]
        seconds = (0.0, 0.5, 1.0, 3.2)
        for token, second in zip(tokens, seconds):
            stamp = {"token": token, "timestamp": int(1e6 * (1.5e9 + second)), "scene_token": f"{name} token"}
            tables["sample"].append({**stamp, "prev": "", "next": ""})
            for channel in channels:
                for key_frame in (True, False):
                    place = {"translation": rng.normal(0, 5, 3).tolist(), "rotation": [1, 0, 0, 0]}
                    pose = f"{token} {channel} {key_frame}"
                    tables["ego_pose"].append({"token": pose, **place})
                    links = {"sample_token": token, "ego_pose_token": pose, "calibrated_sensor_token": f"{channel} rig"}
                    tables["sample_data"].append({"token": pose, "is_key_frame": key_frame, **links})
        for category in range(len(CATEGORIES)):
            for number, seen in enumerate(([0, 1, 2, 3], [0, 2, 3], [1])):
                instance = f"{name} {category} {number}"
                tables["instance"].append({"token": instance, "category_token": f"category{category}"})
                found = [_annotation(rng, instance, tokens[k], category, k) for k in seen]
                for before, after in pairwise(found):
                    before["next"], after["prev"] = after["token"], before["token"]
                tables["sample_annotation"] += found
    folder = root / version
    folder.mkdir(parents=True)
    for table, rows in tables.items():
        (folder / f"{table}.json").write_text(json.dumps(rows))
    return root


def _annotation(rng: np.random.Generator, instance: str, sample: str, category: int, number: int) -> dict[str, Any]:
    attributes = [f"attribute{category}"] if category < len(ATTRIBUTES) and number % 2 == 0 else []
    return {
        "token": f"{instance} in {sample}",
        "sample_token": sample,
        "instance_token": instance,
        "attribute_tokens": attributes,
        "visibility_token": "4",
        "translation": rng.normal(0, 15, 3).tolist(),
        "size": rng.uniform(1, 8, 3).tolist(),
        "rotation": rng.normal(0, 1, 4).tolist(),
        "prev": "",
        "next": "",
        "num_lidar_pts": number,
        "num_radar_pts": int(category == 0),
    }

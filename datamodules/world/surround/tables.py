"""nuScenes' thirteen tables, and its map expansion, from the records of drawn samples.

A record is what one sample's drawing leaves behind (:func:`datamodules.world.surround.world.sample_record`). Tokens are
digests of the seed and of what they name, so that the same world has the same tokens wherever it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES
from datamodules.nuscenes.tables import Row
from datamodules.world.surround.rig import LIDAR, MOUNTS, intrinsics

CATEGORY_OF = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "construction_vehicle": "vehicle.construction",
    "pedestrian": "human.pedestrian.adult",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "traffic_cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}
VISIBILITY = (("1", 0, 40), ("2", 40, 60), ("3", 60, 80), ("4", 80, 100))
MAP_FILE = "maps/placeholder.png"
OTHER_LAYERS = (
    "line", "road_segment", "road_block", "lane", "lane_connector", "ped_crossing", "walkway", "stop_line",
    "carpark_area", "road_divider", "lane_divider", "traffic_light",
)  # fmt: skip


def token(seed: int, *names: str | int) -> str:
    """32 hexadecimal digits."""
    return blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=16).hexdigest()


def visibility_token(share: float) -> str:
    """nuScenes' bin of a visible share in [0, 1]; upper limits belong to the lower bin, as in its tables' names."""
    return next((name for name, _, high in VISIBILITY if share * 100 <= high), "4")


def make_tables(records: Sequence[Sequence[Row]], seed: int, width: int, height: int) -> dict[str, list[Row]]:
    """All tables by name.

    Args:
        records: per scene the records of its samples in order of time.
        seed: the world's seed.
        width, height: image size, pixels.
    """
    sensors = [(LIDAR, "lidar"), *((mount, "camera") for mount in MOUNTS)]
    logs = {scene[0]["scene"]: token(seed, "log", scene[0]["scene"]) for scene in records}
    tables: dict[str, list[Row]] = {
        "attribute": [
            {"token": token(seed, "attribute", name), "name": name, "description": name} for name in ATTRIBUTE_NAMES
        ],
        "category": [
            {"token": token(seed, "category", name), "name": name, "description": name, "index": index}
            for index, name in enumerate(CATEGORY_OF.values(), 1)
        ],
        "visibility": [
            {
                "token": name,
                "level": f"v{low}-{high}",
                "description": f"visibility of whole object is {low} to {high} %",
            }
            for name, low, high in VISIBILITY
        ],
        "sensor": [
            {"token": token(seed, "sensor", mount.channel), "channel": mount.channel, "modality": kind}
            for mount, kind in sensors
        ],
        "calibrated_sensor": [
            {
                "token": token(seed, "calibrated_sensor", mount.channel),
                "sensor_token": token(seed, "sensor", mount.channel),
                "translation": list(mount.translation),
                "rotation": list(mount.rotation),
                "camera_intrinsic": intrinsics(mount, width, height).tolist() if kind == "camera" else [],
            }
            for mount, kind in sensors
        ],
        "log": [  # each scene has a place, and a map, of its own: streets of two scenes may cross
            {"token": log, "logfile": "", "vehicle": "world", "date_captured": "2018-07-24", "location": scene}
            for scene, log in logs.items()
        ],
        "map": [
            {
                "token": token(seed, "map"),
                "category": "semantic_prior",
                "filename": MAP_FILE,
                "log_tokens": list(logs.values()),
            }
        ],
    }
    for name in ("scene", "sample", "sample_data", "ego_pose", "sample_annotation", "instance"):
        tables[name] = []
    for scene in records:
        _add_scene(tables, scene, seed, width, height)
    return tables


def _add_scene(tables: dict[str, list[Row]], records: Sequence[Row], seed: int, width: int, height: int) -> None:
    """Rows of one scene's records."""
    name = records[0]["scene"]
    samples = [token(seed, "sample", name, record["sample"]) for record in records]
    tables["scene"].append(
        {
            "token": token(seed, "scene", name),
            "log_token": token(seed, "log", name),
            "nbr_samples": len(records),
            "first_sample_token": samples[0],
            "last_sample_token": samples[-1],
            "name": name,
            "description": f"procedural street, {records[0]['population']} population",
        }
    )
    for i, record in enumerate(records):
        row = {"token": samples[i], "timestamp": record["timestamp"], "scene_token": token(seed, "scene", name)}
        tables["sample"].append({**row, **_neighbours(samples, i)})
    for channel in [sensor["channel"] for sensor in records[0]["sensors"]]:
        keys = [token(seed, "sample_data", name, record["sample"], channel) for record in records]
        for i, record in enumerate(records):
            sensor = next(s for s in record["sensors"] if s["channel"] == channel)
            camera = channel != LIDAR.channel
            tables["ego_pose"].append(
                {
                    "token": keys[i],
                    "timestamp": sensor["timestamp"],
                    "rotation": sensor["ego_rotation"],
                    "translation": sensor["ego_translation"],
                }
            )
            tables["sample_data"].append(
                {
                    "token": keys[i],
                    "sample_token": samples[i],
                    "ego_pose_token": keys[i],
                    "calibrated_sensor_token": token(seed, "calibrated_sensor", channel),
                    "filename": sensor["filename"],
                    "fileformat": "jpg" if camera else "pcd",
                    "width": width if camera else 0,
                    "height": height if camera else 0,
                    "timestamp": sensor["timestamp"],
                    "is_key_frame": True,
                    **_neighbours(keys, i),
                }
            )
    _add_annotations(tables, records, samples, seed)


def _add_annotations(tables: dict[str, list[Row]], records: Sequence[Row], samples: Sequence[str], seed: int) -> None:
    """Annotations sample by sample, in the order that instance masks number them, and the instances they form."""
    name = records[0]["scene"]
    tracks: dict[int, list[str]] = {}
    for record in records:
        for thing in record["objects"]:
            key = token(seed, "annotation", name, record["sample"], thing["actor"])
            tracks.setdefault(thing["actor"], []).append(key)
    for record, sample in zip(records, samples):
        for thing in record["objects"]:
            key = token(seed, "annotation", name, record["sample"], thing["actor"])
            track = tracks[thing["actor"]]
            attribute = thing["attribute"]
            tables["sample_annotation"].append(
                {
                    "token": key,
                    "sample_token": sample,
                    "instance_token": token(seed, "instance", name, thing["actor"]),
                    "visibility_token": visibility_token(thing["visible"]),
                    "attribute_tokens": [token(seed, "attribute", attribute)] if attribute else [],
                    "translation": thing["translation"],
                    "size": thing["size"],
                    "rotation": thing["rotation"],
                    **_neighbours(track, track.index(key)),
                    "num_lidar_pts": thing["points"],
                    "num_radar_pts": 0,
                }
            )
    classes = {thing["actor"]: thing["class"] for record in records for thing in record["objects"]}
    for actor, track in sorted(tracks.items()):
        tables["instance"].append(
            {
                "token": token(seed, "instance", name, actor),
                "category_token": token(seed, "category", CATEGORY_OF[classes[actor]]),
                "nbr_annotations": len(track),
                "first_annotation_token": track[0],
                "last_annotation_token": track[-1],
            }
        )


def map_expansion(name: str, outline: Sequence[Sequence[float]], seed: int) -> dict[str, Any]:
    """The map of a scene's street in nuScenes' map expansion: one drivable area, and every other layer empty.

    Args:
        name: of the scene.
        outline: of the drivable ground, global x and y of each corner, metres.
        seed: the world's seed.
    """
    nodes = [{"token": token(seed, "node", name, i), "x": x, "y": y} for i, (x, y) in enumerate(outline)]
    polygon, (width, height) = token(seed, "polygon", name), np.max(outline, axis=0).tolist()
    return {
        "version": "1.3",
        "canvas_edge": [width, height],
        "node": nodes,
        "polygon": [{"token": polygon, "exterior_node_tokens": [node["token"] for node in nodes], "holes": []}],
        "drivable_area": [{"token": token(seed, "drivable_area", name), "polygon_tokens": [polygon]}],
        **{layer: [] for layer in OTHER_LAYERS},
        "connectivity": {},
        "arcline_path_3": {},
    }


def _neighbours(keys: Sequence[str], index: int) -> dict[str, str]:
    """The links of a chain's element, empty at its ends."""
    return {"prev": keys[index - 1] if index else "", "next": keys[index + 1] if index + 1 < len(keys) else ""}

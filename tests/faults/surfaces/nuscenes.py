"""nuScenes: the official tables, maps, ground truth and submissions in one file, and lists of scenes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES
from datamodules.nuscenes.maps.expansion import DrivableMap
from datamodules.nuscenes.tables import read_dataset
from lit.commands.bench.nuscenes import write_files
from tests.datamodules.nuscenes_folder import write_folder
from tests.faults import plausible
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused

Place = Annotated[float, Meta(ge=-1e6, le=1e6)]
Side = Annotated[float, Meta(gt=0, le=1000)]
Count = Annotated[int, Meta(ge=0, le=1 << 31)]
Speed = float | None


class Box(msgspec.Struct):
    """A box as submissions and ground truth hold it."""

    translation: tuple[Place, Place, Place]
    size: tuple[Side, Side, Side]
    rotation: tuple[Place, Place, Place, Place]
    velocity: tuple[Speed, Speed]
    detection_name: str
    sample_token: str = ""
    attribute_name: str = ""
    detection_score: Annotated[float, Meta(ge=-1e15, le=1e15)] | None = None
    num_pts: Annotated[int, Meta(ge=-1, le=1 << 31)] = 0

    def __post_init__(self) -> None:
        speeds = [value for value in self.velocity if value is not None]
        if not any(self.rotation) or any(math.isinf(value) or abs(value) > 1e6 for value in speeds):
            raise ValueError("no rotation, or an endless speed")
        if self.detection_name not in DETECTION_NAMES or self.attribute_name not in ("", *ATTRIBUTE_NAMES):
            raise ValueError("unknown name")


class Rack(msgspec.Struct):
    """A bicycle rack."""

    translation: tuple[Place, Place, Place]
    size: tuple[Side, Side, Side]
    rotation: tuple[Place, Place, Place, Place]

    def __post_init__(self) -> None:
        if not any(self.rotation):
            raise ValueError("no rotation")


class Sample(msgspec.Struct):
    """A sample of a ground truth file."""

    ego_translation: tuple[Place, Place, Place]
    boxes: list[Box]
    bikeracks: list[Rack]


class Submission(msgspec.Struct):
    """A submission."""

    meta: dict[str, bool]
    results: dict[str, list[Box]]


def make_tables(folder: Path) -> None:
    """The official tables of two scenes, and a list of them."""
    write_folder(folder)
    (folder / "scenes.txt").write_text("scene-0061\nscene-0103\n")


def read_tables(folder: Path) -> Any:
    """The ground truth of both scenes."""
    return read_dataset(folder, "v1.0-mini", str(folder / "scenes.txt"))


def make_files(folder: Path) -> None:
    """Ground truth and predictions of four samples."""
    write_files(folder, samples=4, objects=6, detections=8, seed=2)


def evaluate(folder: Path) -> Any:
    """The figures of ``evaluate nuscenes``."""
    gt, pred = folder / "gt.json", folder / "submission.json"
    out = folder.parent / "figures.json"
    main_or_refused(["evaluate", "nuscenes", "--gt", str(gt), "--pred", str(pred), "--out", str(out)])
    return json.loads(out.read_text())


def tables(original: bytes, damaged: bytes) -> bool:
    """Rows with the original's fields, each of the original's type, in the ranges of the data set; tokens once each."""
    before = json.loads(original)
    kinds = {key: _kind(key, [row[key] for row in before if key in row]) for key in before[0]}
    row = msgspec.defstruct("Row", list(kinds.items()))

    def once(rows: list[Any]) -> bool:
        return len({one.token for one in rows}) == len(rows) and _known_names(before, rows)

    return plausible.document(list[row], once)(original, damaged)  # type: ignore[valid-type]


def _kind(key: str, values: list[Any]) -> Any:
    vectors: dict[str, Any] = {"translation": tuple[Place, Place, Place], "size": tuple[Side, Side, Side]}
    vectors["rotation"] = tuple[Place, Place, Place, Place]
    if key in vectors:
        return vectors[key]
    if isinstance(values[0], bool):
        return bool
    if isinstance(values[0], int):
        return Count if key.startswith("num_") else Annotated[int, Meta(ge=0, le=1 << 53)]
    return list[str] if isinstance(values[0], list) else str


def _known_names(before: list[Any], rows: list[Any]) -> bool:
    """Names of categories and attributes are a closed list; a quaternion is not zero."""
    names = {row["name"] for row in before if "name" in row}
    quiet = all(any(row.rotation) for row in rows if hasattr(row, "rotation"))
    return quiet and all(row.name in names for row in rows if hasattr(row, "name"))


class Node(msgspec.Struct):
    """A corner in a map."""

    token: str
    x: Place
    y: Place


class Hole(msgspec.Struct):
    """A hole of a polygon."""

    node_tokens: list[str] = []


class Polygon(msgspec.Struct):
    """A polygon of a map."""

    token: str
    exterior_node_tokens: list[str]
    holes: list[Hole] = []


class Area(msgspec.Struct):
    """A drivable area."""

    polygon_tokens: list[str]


class MapContent(msgspec.Struct):
    """What a map of the map expansion holds of drivable ground."""

    node: list[Node]
    polygon: list[Polygon]
    drivable_area: list[Area]

    def __post_init__(self) -> None:
        nodes, polygons = {node.token for node in self.node}, {polygon.token: polygon for polygon in self.polygon}
        if len(nodes) < len(self.node) or len(polygons) < len(self.polygon):
            raise ValueError("a token twice")
        for token in (token for area in self.drivable_area for token in area.polygon_tokens):
            rings = [polygons[token].exterior_node_tokens, *(hole.node_tokens for hole in polygons[token].holes)]
            if not all(corner in nodes for ring in rings for corner in ring):
                raise ValueError("a corner of nothing")


def make_map(folder: Path) -> None:
    """A map of two polygons, one of them with a hole."""
    corners = {"outer": 8.0, "inner": 2.0, "beside": 5.0}
    nodes = [
        {"token": f"{name}{i}", "x": 20.0 + side * x, "y": 20.0 + side * y}
        for name, side in corners.items()
        for i, (x, y) in enumerate([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    ]
    ring = {name: [f"{name}{i}" for i in range(4)] for name in corners}
    polygons = [
        {"token": "a", "exterior_node_tokens": ring["outer"], "holes": [{"node_tokens": ring["inner"]}]},
        {"token": "b", "exterior_node_tokens": ring["beside"], "holes": []},
    ]
    content = {"node": nodes, "polygon": polygons, "drivable_area": [{"token": "c", "polygon_tokens": ["a", "b"]}]}
    (folder / "boston-seaport.json").write_text(json.dumps(content))


def read_map(folder: Path) -> Any:
    """The polygons."""
    return DrivableMap.read(folder / "boston-seaport.json").areas


GROUND_TRUTH = plausible.document(dict[str, Sample], nan=True)
SUBMISSION = plausible.document(Submission, nan=True)
SURFACES = [
    Surface("nuscenes_tables", make_tables, read_tables, ("v1.0-mini/*.json",), ("json", "json", "bytes"), tables, 60),
    Surface(
        "nuscenes_split", make_tables, read_tables, ("scenes.txt",), ("text", "bytes"), plausible.names(r"scene-\d{4}")
    ),
    Surface(
        "nuscenes_map", make_map, read_map, ("*.json",), ("json", "json", "bytes"), plausible.document(MapContent), 30
    ),
    Surface("nuscenes_gt", make_files, evaluate, ("gt.json",), ("json", "json", "bytes"), GROUND_TRUTH, 40),
    Surface(
        "nuscenes_submission", make_files, evaluate, ("submission.json",), ("json", "json", "bytes"), SUBMISSION, 60
    ),
]

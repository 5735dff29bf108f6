"""nuScenes: the official tables, ground truth and submissions in one file, and lists of scenes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES
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


GROUND_TRUTH = plausible.document(dict[str, Sample], nan=True)
SUBMISSION = plausible.document(Submission, nan=True)
SURFACES = [
    Surface("nuscenes_tables", make_tables, read_tables, ("v1.0-mini/*.json",), ("json", "json", "bytes"), tables, 60),
    Surface(
        "nuscenes_split", make_tables, read_tables, ("scenes.txt",), ("text", "bytes"), plausible.names(r"scene-\d{4}")
    ),
    Surface("nuscenes_gt", make_files, evaluate, ("gt.json",), ("json", "json", "bytes"), GROUND_TRUTH, 40),
    Surface(
        "nuscenes_submission", make_files, evaluate, ("submission.json",), ("json", "json", "bytes"), SUBMISSION, 60
    ),
]

"""nuScenes detection files: submissions (read and written) and ground truth in one JSON file.

Every reader refuses with one line that names the file, the sample, the value and the cure. ``NaN`` and ``null`` both
stand for an unknown velocity when read; ``NaN`` is written, because the official evaluation cannot read ``null`` there.
"""

from __future__ import annotations

import gc
import json
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import quoted
from datamodules.nuscenes.boxes import (
    ATTRIBUTE_NAMES,
    CLASS_RANGES,
    DETECTION_NAMES,
    MAX_BOXES,
    RACK_COLUMNS,
    GlobalBoxes,
    GroundTruth,
    SampleBoxes,
    SampleTruth,
    offsets_of,
)

__all__ = [
    "ATTRIBUTE_NAMES", "CLASS_RANGES", "DETECTION_NAMES", "MAX_BOXES", "GlobalBoxes", "GroundTruth", "SampleBoxes",
    "SampleTruth", "Submission", "check_boxes", "check_truth", "read_ground_truth", "read_submission",
    "write_ground_truth", "write_submission",
]  # fmt: skip

META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
FARTHEST, LONGEST, FASTEST = 1e6, 1000.0, 1000.0  # metres, metres, metres a second: what lies beyond is a slip
LENGTHS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
MEANING = {
    "translation": "three finite numbers (x, y, z in m)",
    "size": "three finite numbers above 0 (width, length, height in m)",
    "rotation": "a quaternion of four finite numbers (w, x, y, z), not all 0",
    "velocity": "two finite numbers (m/s), or NaN for an unknown velocity",
    "detection_score": "a finite number, 0 to 1 officially",
}
_LABELS = {name: code for code, name in enumerate(DETECTION_NAMES)}
_ATTRIBUTES = {"": -1, **{name: code for code, name in enumerate(ATTRIBUTE_NAMES)}}
_BROKEN = (KeyError, TypeError, ValueError, OverflowError)  # what reading an ill-formed box can raise


@dataclass(frozen=True)
class Submission:
    """A submission file: its boxes in file order, and which inputs were used.

    Attributes:
        samples: predicted boxes.
        meta: ``use_camera``, ``use_lidar``, ``use_radar``, ``use_map``, ``use_external``.
    """

    samples: SampleBoxes
    meta: dict[str, Any]


def read_submission(path: str | os.PathLike[str]) -> Submission:
    """Read predictions in the official submission format.

    Raises:
        InputError: an unreadable file, more than 500 boxes in a sample, or a box that cannot be evaluated.
    """
    with collector_off():
        return _read_submission(path)


def _read_submission(path: str | os.PathLike[str]) -> Submission:
    raw, data = _load(path, "a nuScenes submission")
    if not isinstance(data, dict) or not isinstance(data.get("results"), dict):
        raise InputError(f"{path}: no object 'results', expected a submission {{meta, results}}; export it again")
    if not isinstance(data.get("meta"), dict):
        raise InputError(f"{path}: no object 'meta', expected one with {', '.join(META)}; add it beside 'results'")
    results = data["results"]
    _check_lists(path, results)
    crowded = next((token for token, boxes in results.items() if len(boxes) > MAX_BOXES), None)
    if crowded is not None:
        raise _crowded(str(path), crowded, len(results[crowded]))
    samples = _flatten(path, results, scored=True)
    _refuse_repeats(path, raw, b'"sample_token"', len(samples.boxes))
    check_boxes(samples, str(path), scored=True)
    return Submission(samples, data["meta"])


def write_submission(
    path: str | os.PathLike[str], samples: Mapping[str, GlobalBoxes], meta: Mapping[str, bool] | None = None
) -> None:
    """Write predictions in the official submission format, atomically.

    Args:
        path: the file; folders are made.
        samples: predictions by sample token; every sample of the split must be there, also without predictions.
        meta: which inputs were used; None means the camera alone.

    Raises:
        InputError: more than 500 boxes in a sample, values that cannot be evaluated, or another set of meta keys.
    """
    # imported here so that reading needs neither torch nor OpenCV, which that module brings

    meta = dict(META if meta is None else meta)
    if set(meta) != set(META) or not all(isinstance(value, bool) for value in meta.values()):
        raise InputError(f"{path}: meta {meta!r}, expected true or false for each of {', '.join(META)}; correct it")
    table = SampleBoxes.join(samples)
    for token, boxes in samples.items():
        if len(boxes) > MAX_BOXES:
            raise _crowded(str(path), token, len(boxes))
    check_boxes(table, str(path), scored=True)
    results = {
        token: [{"sample_token": token, **_box(row), "detection_score": row[14]} for row in boxes.rows.tolist()]
        for token, boxes in samples.items()
    }
    write_atomically(Path(path), json.dumps({"meta": meta, "results": results}))


def read_ground_truth(path: str | os.PathLike[str]) -> GroundTruth:
    """Read ``{sample_token: {"ego_translation": [..], "bikeracks": [{..}], "boxes": [{..}]}}``, boxes unfiltered.

    Raises:
        InputError: an unreadable file, no samples, or a box that cannot be evaluated.
    """
    with collector_off():
        return _read_ground_truth(path)


def _read_ground_truth(path: str | os.PathLike[str]) -> GroundTruth:
    raw, data = _load(path, "ground truth as JSON")
    if not isinstance(data, dict) or not data:
        raise InputError(f"{path}: holds no samples, expected {{sample_token: {{ego_translation, bikeracks, boxes}}}}")
    for token, sample in data.items():
        if not isinstance(sample, dict) or not {"ego_translation", "bikeracks", "boxes"} <= set(sample):
            expected = "an object with ego_translation, bikeracks and boxes"
            raise InputError(f"{path}: sample {token}: expected {expected}; complete it")
        ego = sample["ego_translation"]
        if not is_vector(ego, 3) or not all(abs(value) <= FARTHEST for value in ego):
            expected = f"expected three numbers within {FARTHEST:g} (m)"
            raise InputError(f"{path}: sample {token}: ego_translation {quoted(ego)}, {expected}")
    boxes = {token: sample["boxes"] for token, sample in data.items()}
    racks = {token: sample["bikeracks"] for token, sample in data.items()}
    _check_lists(path, boxes)
    _check_lists(path, racks)
    samples = _flatten(path, boxes, scored=False)
    _refuse_repeats(path, raw, b'"detection_name"', len(samples.boxes))
    truth = GroundTruth(
        samples,
        np.array([sample["ego_translation"] for sample in data.values()], dtype=np.float64).reshape(-1, 3),
        np.array([_rack(path, token, rack) for token, found in racks.items() for rack in found]).reshape(
            -1, RACK_COLUMNS
        ),
        offsets_of([len(found) for found in racks.values()]),
    )
    check_truth(truth, str(path))
    return truth


def write_ground_truth(path: str | os.PathLike[str], truth: GroundTruth) -> None:
    """Write what :func:`read_ground_truth` reads, atomically; an unknown velocity becomes ``null``."""

    keys = ("translation", "size", "rotation")
    content = {
        token: {
            "ego_translation": sample.ego_translation.tolist(),
            "bikeracks": [dict(zip(keys, (r[:3], r[3:6], r[6:]))) for r in sample.bikeracks.tolist()],
            "boxes": [
                {**_box([None if v != v else v for v in row]), "num_pts": int(row[15])}
                for row in sample.boxes.rows.tolist()
            ],
        }
        for token, sample in truth.split().items()
    }
    write_atomically(Path(path), json.dumps(content, allow_nan=False))


def check_boxes(samples: SampleBoxes, source: str, scored: bool) -> None:
    """Refuse values that cannot be evaluated.

    Args:
        samples: the boxes.
        source: file, or another name of where they come from, for the message.
        scored: predictions, which need scores.

    Raises:
        InputError: a value that is not finite (velocities may be NaN), a size that is not above 0, a quaternion of
            zeros, a class or attribute out of range; the first such box.
    """
    boxes = samples.boxes
    bad = {
        "translation": ~(np.abs(boxes.translation) <= FARTHEST).all(1),
        "size": ~((boxes.size <= LONGEST) & (boxes.size > 0)).all(1),
        "rotation": ~(np.abs(boxes.rotation) <= FARTHEST).all(1) | (boxes.rotation == 0).all(1),
        "velocity": (np.abs(boxes.velocity) > FASTEST).any(1),
    }
    values: dict[str, np.ndarray] = {key: getattr(boxes, key) for key in bad}
    if scored:
        bad["detection_score"], values["detection_score"] = ~np.isfinite(boxes.scores), boxes.scores
    for key, where in bad.items():
        if where.any():
            box = int(np.flatnonzero(where)[0])
            found = values[key][box].tolist()
            raise InputError(f"{_place(samples, source, box)}: {key} {found}, expected {MEANING[key]}; drop the box")
    for key, codes, least, names in (
        ("label", boxes.labels, 0, DETECTION_NAMES),
        ("attribute", boxes.attributes, -1, ATTRIBUTE_NAMES),
    ):
        if len(codes) and (codes.min() < least or codes.max() >= len(names)):
            box = int(np.flatnonzero((codes < least) | (codes >= len(names)))[0])
            place = _place(samples, source, box)
            raise InputError(f"{place}: {key} {codes[box]}, expected {least}..{len(names) - 1}; map the class first")


def check_truth(truth: GroundTruth, source: str) -> None:
    """As :func:`check_boxes`, and the same for places of the car and for bicycle racks.

    Raises:
        InputError: the first value that cannot be evaluated.
    """
    check_boxes(truth.samples, source, scored=False)
    racks = truth.bikeracks
    bad = ~(np.abs(racks) <= FARTHEST).all(1) | (racks[:, 3:6] <= 0).any(1) | (racks[:, 6:] == 0).all(1)
    for name, where, offsets in (
        (
            "ego_translation",
            ~(np.abs(truth.ego_translation) <= FARTHEST).all(1),
            np.arange(len(truth.samples.tokens) + 1),
        ),
        ("bicycle rack", bad, truth.rack_offsets),
    ):
        if where.any():
            sample = int(np.searchsorted(offsets, np.flatnonzero(where)[0], side="right")) - 1
            token = truth.samples.tokens[sample]
            raise InputError(f"{source}: sample {token}: {name} with a value that cannot be; expected finite numbers")


def _load(path: str | os.PathLike[str], kind: str) -> tuple[bytes, Any]:
    """A JSON file's bytes and content."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {kind}; check the path") from error
    try:
        return raw, json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected {kind}; export it again") from error


@contextmanager
def collector_off() -> Iterator[None]:
    """Millions of new lists would trigger searches for reference cycles, which parsed JSON cannot hold."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _check_lists(path: str | os.PathLike[str], samples: dict[str, Any]) -> None:
    for token, boxes in samples.items():
        if not isinstance(boxes, list):
            raise InputError(
                f"{path}: sample {token}: {type(boxes).__name__}, expected a list of boxes; use [] for none"
            )


def _flatten(path: str | os.PathLike[str], samples: dict[str, list[Any]], scored: bool) -> SampleBoxes:
    """All boxes of a file in one table; the ill-formed box is looked for only when there is one."""
    boxes = list(chain.from_iterable(samples.values()))
    try:
        columns = _columns(boxes, scored)
        if scored:
            owners = [token for token, found in samples.items() for _ in found]
            columns = columns if list(map(itemgetter("sample_token"), boxes)) == owners else None
    except _BROKEN:
        columns = None
    if columns is None:
        for token, found in samples.items():
            for index, box in enumerate(found):
                if problem := _problem(box, token, scored):
                    raise InputError(f"{path}: sample {token}, box {index}: {problem}")
        raise InputError(f"{path}: boxes that cannot be read as numbers; expected the nuScenes format")
    return SampleBoxes(tuple(samples), offsets_of([len(found) for found in samples.values()]), columns)


def _columns(boxes: list[dict[str, Any]], scored: bool) -> GlobalBoxes | None:
    """The boxes as arrays, or None (or one of ``_BROKEN``) when one is ill-formed."""
    parts = {}
    for key, length in LENGTHS.items():
        lists = list(map(itemgetter(key), boxes))
        if not set(map(len, lists)) <= {length}:
            return None
        flat: Iterable[Any] = chain.from_iterable(lists)
        if key == "velocity":
            flat = (math.nan if value is None else value for value in flat)
        parts[key] = np.array(array("d", flat)).reshape(-1, length)  # an array refuses "1.5", NumPy would not
    labels = np.array([_LABELS.get(box["detection_name"], -1) for box in boxes], dtype=np.int64)
    attributes = np.array([_ATTRIBUTES.get(box["attribute_name"], -2) for box in boxes], dtype=np.int64)
    if len(boxes) and (labels.min() < 0 or attributes.min() < -1):
        return None
    scores = list(map(itemgetter("detection_score"), boxes)) if scored else [math.nan] * len(boxes)
    points = [box.get("num_pts", -1) for box in boxes] if scored else list(map(itemgetter("num_pts"), boxes))
    if not set(map(type, scores)) <= {float, int} or not set(map(type, points)) <= {int}:
        return None
    return GlobalBoxes(
        **parts,
        labels=labels,
        attributes=attributes,
        scores=np.array(scores, dtype=np.float64),
        num_pts=np.array(points, dtype=np.int64),
    )


def _problem(box: Any, token: str, scored: bool) -> str | None:
    """What makes a box unreadable."""
    if not isinstance(box, dict):
        return f"{box!r}, expected an object with {', '.join(LENGTHS)}, ..; repair it"
    needed = [*LENGTHS, "detection_name", "attribute_name"]
    for key in [*needed, *(("sample_token", "detection_score") if scored else ("num_pts",))]:
        if key not in box:
            return f"has no {key}; add it"
    for key, length in LENGTHS.items():
        if not is_vector(box[key], length, nullable=key == "velocity"):
            return f"{key} {box[key]!r}, expected {MEANING[key]}; repair or drop the box"
    name, attribute = box["detection_name"], box["attribute_name"]
    if not isinstance(name, str) or name not in _LABELS:
        return f"detection_name {name!r}, expected one of {', '.join(DETECTION_NAMES)}; map the class or drop the box"
    if not isinstance(attribute, str) or attribute not in _ATTRIBUTES:
        return f"attribute_name {attribute!r}, expected '' or one of {', '.join(ATTRIBUTE_NAMES)}; use '' for none"
    if scored and box["sample_token"] != token:
        return f"sample_token {box['sample_token']!r}, expected {token!r} as its key; correct one of the two"
    if scored and type(box["detection_score"]) not in (int, float):
        return f"detection_score {box['detection_score']!r}, expected {MEANING['detection_score']}; repair the box"
    if "num_pts" in box and type(box["num_pts"]) is not int:
        return f"num_pts {box['num_pts']!r}, expected a whole number of points; repair the box"
    return None


def is_vector(value: Any, length: int, nullable: bool = False) -> bool:
    """Whether a JSON value is a list of so many numbers (or nulls)."""
    if not isinstance(value, list) or len(value) != length:
        return False
    return all(type(number) in (int, float) or (nullable and number is None) for number in value)


def _refuse_repeats(path: str | os.PathLike[str], raw: bytes, key: bytes, boxes: int) -> None:
    """JSON keeps only the last of two equal keys: when the text holds more boxes than were read, find the repeat."""
    if raw.count(key) <= boxes:
        return

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        name, count = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
        if count > 1:
            raise InputError(f"{path}: {name} appears {count} times, expected once; keep one of them")
        return dict(pairs)

    json.loads(raw, object_pairs_hook=unique)


def _rack(path: str | os.PathLike[str], token: str, rack: Any) -> list[float]:
    keys = ("translation", "size", "rotation")
    if not isinstance(rack, dict) or not all(is_vector(rack.get(key), LENGTHS[key]) for key in keys):
        raise InputError(f"{path}: sample {token}: bicycle rack {rack!r}, expected translation, size and rotation")
    return [number for key in keys for number in rack[key]]


def _box(row: list[Any]) -> dict[str, Any]:
    """What predictions and annotations have in common in both formats, from one of ``GlobalBoxes.rows``."""
    attribute = int(row[13])
    return {
        "translation": row[0:3],
        "size": row[3:6],
        "rotation": row[6:10],
        "velocity": row[10:12],
        "detection_name": DETECTION_NAMES[int(row[12])],
        "attribute_name": "" if attribute < 0 else ATTRIBUTE_NAMES[attribute],
    }


def _place(samples: SampleBoxes, source: str, box: int) -> str:
    sample = int(np.searchsorted(samples.offsets, box, side="right")) - 1
    return f"{source}: sample {samples.tokens[sample]}, box {box - samples.offsets[sample]}"


def _crowded(source: str, token: str, count: int) -> InputError:
    expected = f"expected at most {MAX_BOXES}; keep the {MAX_BOXES} with the highest scores"
    return InputError(f"{source}: sample {token}: {count} boxes, {expected}")

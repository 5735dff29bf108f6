"""nuScenes detection files: submissions (read and written) and ground truth in one JSON file.

Every reader refuses with one line that names the file, the sample, the value and the cure. ``NaN`` and ``null`` both
stand for an unknown velocity when read; ``NaN`` is written, because the official evaluation cannot read ``null`` there.
"""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from datamodules.errors import InputError, closest, printable
from datamodules.files.atomic_files import write_atomically
from datamodules.files.checksums import verify
from datamodules.files.text_files import decoded
from datamodules.files.typed_json import UNFIT, quoted, read_json
from datamodules.nuscenes.box_checks import MEANING, PLACE, check_boxes, check_counts, check_truth
from datamodules.nuscenes.box_rows import (
    AnnotatedRow,
    BoxRow,
    PredictedRow,
    RackRow,
    SubmissionFile,
    TruthRow,
    Vector,
    box_columns,
)
from datamodules.nuscenes.boxes import (
    ATTRIBUTE_NAMES,
    DETECTION_NAMES,
    RACK_COLUMNS,
    GlobalBoxes,
    GroundTruth,
    SampleBoxes,
    offsets_of,
)

META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
SUBMISSION = "a nuScenes submission {meta, results}"
GROUND_TRUTH = "ground truth {sample_token: {ego_translation, bikeracks, boxes}} as JSON"
T = TypeVar("T")


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
    path = Path(path)
    with collector_off():
        file = _read(path, SubmissionFile, SUBMISSION, _submission_keys, _refuse_submission)
        for token, rows in file.results.items():
            for index, row in enumerate(rows):
                if row.sample_token != token:
                    expected = f"expected {token!r} as its key; correct one of the two"
                    problem = f"{path}: sample {token}, box {index}: sample_token {row.sample_token!r}, {expected}"
                    raise InputError(printable(problem))
        samples = SampleBoxes(
            tuple(file.results),
            offsets_of([len(rows) for rows in file.results.values()]),
            box_columns(list(chain.from_iterable(file.results.values()))),
        )
    check_counts(samples, str(path))
    check_boxes(samples, str(path), scored=True)
    return Submission(samples, file.meta)


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
    meta = dict(META if meta is None else meta)
    if set(meta) != set(META) or not all(isinstance(value, bool) for value in meta.values()):
        raise InputError(f"{path}: meta {meta!r}, expected true or false for each of {', '.join(META)}; correct it")
    table = SampleBoxes.join(samples)
    check_counts(table, str(path))
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
    path = Path(path)
    with collector_off():
        file = _read(path, dict[str, TruthRow], GROUND_TRUTH, _truth_keys, _refuse_truth)
        if not file:
            raise InputError(f"{path}: holds no samples, expected {GROUND_TRUTH}")
        samples = list(file.values())
        racks = [[*rack.translation, *rack.size, *rack.rotation] for sample in samples for rack in sample.bikeracks]
        truth = GroundTruth(
            SampleBoxes(
                tuple(file),
                offsets_of([len(sample.boxes) for sample in samples]),
                box_columns([box for sample in samples for box in sample.boxes]),
            ),
            np.array([sample.ego_translation for sample in samples], dtype=np.float64),
            np.array(racks, dtype=np.float64).reshape(-1, RACK_COLUMNS),
            offsets_of([len(sample.bikeracks) for sample in samples]),
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


def _read(
    path: Path,
    type_: type[T],
    expected: str,
    keys_of: Callable[[T], tuple[int, Iterable[BoxRow]]],
    refuse: Callable[[Path, Any], None],
) -> T:
    """Decode at once, which keeps the last of two equal keys and knows no NaN; whatever that may hide, read with care.

    Args:
        path: the file.
        type_: what it holds.
        expected: what it should be, for messages.
        keys_of: how many keys a file of this content has when it has nothing else, and its boxes.
        refuse: raises for the first part of a file's plain content that does not fit.
    """
    with suppress(OSError, msgspec.MsgspecError, RecursionError, UnicodeError):  # of which the careful way complains
        raw = path.read_bytes()
        verify(path, raw)
        text = decoded(raw, path, expected).replace("NaN", "null")
        content = msgspec.json.decode(text, type=type_)
        keys, boxes = keys_of(content)
        unknown = text.count("null")
        if text.count(":") == keys and (not unknown or unknown == sum(box.velocity.count(None) for box in boxes)):
            return content
    plain = read_json(path, Any, expected)
    try:
        return msgspec.convert(plain, type_)
    except UNFIT as error:
        refuse(path, plain)
        raise InputError(printable(f"{path}: {error}; expected {expected}")) from None


def _submission_keys(file: SubmissionFile) -> tuple[int, Iterable[BoxRow]]:
    boxes = sum(map(len, file.results.values()))
    return 2 + len(file.meta) + len(file.results) + 8 * boxes, chain.from_iterable(file.results.values())


def _truth_keys(file: dict[str, TruthRow]) -> tuple[int, Iterable[BoxRow]]:
    keys = sum(4 + 3 * len(sample.bikeracks) + 7 * len(sample.boxes) for sample in file.values())
    return keys, (box for sample in file.values() for box in sample.boxes)


def _refuse_submission(path: Path, plain: Any) -> None:
    for key in ("results", "meta"):
        if not isinstance(plain, dict) or not isinstance(plain.get(key), dict):
            raise InputError(f"{path}: no object {key!r}, expected {SUBMISSION}; export it again")
    for token, boxes in plain["results"].items():
        _refuse_boxes(f"{path}: sample {token}", boxes, PredictedRow)


def _refuse_truth(path: Path, plain: Any) -> None:
    if not isinstance(plain, dict):
        raise InputError(f"{path}: holds no samples, expected {GROUND_TRUTH}")
    for token, sample in plain.items():
        place = printable(f"{path}: sample {token}")
        if not isinstance(sample, dict) or not {"ego_translation", "bikeracks", "boxes"} <= set(sample):
            raise InputError(f"{place}: expected an object with ego_translation, bikeracks and boxes; complete it")
        if not _fits(ego := sample["ego_translation"], Vector):
            raise InputError(f"{place}: ego_translation {quoted(ego)}, expected {PLACE}")
        if not isinstance(sample["bikeracks"], list):
            raise InputError(f"{place}: bikeracks {quoted(sample['bikeracks'])}, expected a list; use [] for none")
        for rack in sample["bikeracks"]:
            if not _fits(rack, RackRow):
                problem = f"{place}: bicycle rack {str(rack)[:80]}, expected translation, size and rotation"
                raise InputError(printable(problem))
        _refuse_boxes(place, sample["boxes"], AnnotatedRow)


def _refuse_boxes(place: str, boxes: Any, type_: type[BoxRow]) -> None:
    """Complain of the first box that does not fit."""
    if not isinstance(boxes, list):
        raise InputError(printable(f"{place}: {type(boxes).__name__}, expected a list of boxes; use [] for none"))
    for index, box in enumerate(boxes):
        try:
            msgspec.convert(box, type_)
        except UNFIT as error:
            raise InputError(printable(f"{place}, box {index}: {_problem(box, type_, str(error))}")) from None


def _problem(box: Any, type_: type[BoxRow], said: str) -> str:
    """What makes a box unreadable, from msgspec's words."""
    fields = [field.name for field in msgspec.structs.fields(type_) if field.required]
    if not isinstance(box, dict):
        return f"{quoted(box)}, expected an object with {', '.join(fields)}; repair it"
    if missing := next((name for name in fields if name not in box), None):
        return f"has no {missing}; add it"
    place = re.search(r"\$\.(\w+)", said)
    if place is None:
        return said
    value = box[place[1]]
    hint = closest(value, DETECTION_NAMES) if place[1] == "detection_name" and isinstance(value, str) else ""
    cure = "map the class or drop the box" if place[1] == "detection_name" else "repair or drop the box"
    return f"{place[1]} {quoted(value)}, expected {MEANING[place[1]]}{hint}; {cure}"


def _fits(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except UNFIT:
        return False
    return True


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

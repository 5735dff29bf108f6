"""What boxes, places and racks have to be so that they can be evaluated, in memory as in files.

Bounds are those of a planet's city: what lies beyond is a slip, and would be a number nobody notices.
"""

from __future__ import annotations

import numpy as np

from datamodules.errors import InputError, printable
from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES, MAX_BOXES, GroundTruth, SampleBoxes

FARTHEST, LONGEST, FASTEST = 1e6, 1000.0, 1000.0  # metres, metres, metres a second
LARGEST = 10.0  # of a quaternion, which need not have unit length
PLACE = f"three numbers within {FARTHEST:g} (m)"
MEANING = {
    "translation": f"three finite numbers (x, y, z in m) within {FARTHEST:g}",
    "size": f"three finite numbers above 0 (width, length, height in m), at most {LONGEST:g}",
    "rotation": f"a quaternion of four finite numbers (w, x, y, z) within {LARGEST:g}, not all 0",
    "velocity": f"two finite numbers (m/s) within {FASTEST:g}, or NaN for an unknown velocity",
    "detection_name": f"one of {', '.join(DETECTION_NAMES)}",
    "attribute_name": f"'' or one of {', '.join(ATTRIBUTE_NAMES)}",
    "sample_token": "the token of its sample",
    "detection_score": "a finite number from 0 to 1",
    "num_pts": "a whole number of points",
}


def check_boxes(samples: SampleBoxes, source: str, scored: bool) -> None:
    """Refuse values that cannot be evaluated.

    Args:
        samples: the boxes.
        source: file, or another name of where they come from, for the message.
        scored: predictions, which need scores.

    Raises:
        InputError: a value that is not finite (velocities may be NaN) or beyond its bound, a size that is not above 0,
            a quaternion of zeros, a class or attribute out of range; the first such box.
    """
    boxes = samples.boxes
    bad = {
        "translation": ~(np.abs(boxes.translation) <= FARTHEST).all(1),
        "size": ~((boxes.size <= LONGEST) & (boxes.size > 0)).all(1),
        "rotation": ~(np.abs(boxes.rotation) <= LARGEST).all(1) | (boxes.rotation == 0).all(1),
        "velocity": (np.abs(boxes.velocity) > FASTEST).any(1),
    }
    values: dict[str, np.ndarray] = {key: getattr(boxes, key) for key in bad}
    if scored:
        values["detection_score"] = boxes.scores
        bad["detection_score"] = ~((boxes.scores >= 0) & (boxes.scores <= 1))
    for key, where in bad.items():
        if where.any():
            box = int(np.flatnonzero(where)[0])
            complaint = f"{key} {values[key][box].tolist()}, expected {MEANING[key]}; drop the box"
            raise InputError(f"{_place(samples, source, box)}: {complaint}")
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
    far, side, turn = (~(np.abs(racks) <= limit) for limit in (FARTHEST, LONGEST, LARGEST))
    beyond = far[:, :3].any(1) | side[:, 3:6].any(1) | turn[:, 6:].any(1)
    bad = beyond | (racks[:, 3:6] <= 0).any(1) | (racks[:, 6:] == 0).all(1)
    lost, each = ~(np.abs(truth.ego_translation) <= FARTHEST).all(1), np.arange(len(truth.samples.tokens) + 1)
    rack = ", ".join(MEANING[key] for key in ("translation", "size", "rotation"))
    for name, values, where, offsets, expected in (
        ("ego_translation", truth.ego_translation, lost, each, PLACE),
        ("bicycle rack", racks, bad, truth.rack_offsets, rack),
    ):
        if where.any():
            row = int(np.flatnonzero(where)[0])
            token = truth.samples.tokens[int(np.searchsorted(offsets, row, side="right")) - 1]
            raise InputError(printable(f"{source}: sample {token}: {name} {values[row].tolist()}, expected {expected}"))


def _place(samples: SampleBoxes, source: str, box: int) -> str:
    sample = int(np.searchsorted(samples.offsets, box, side="right")) - 1
    return printable(f"{source}: sample {samples.tokens[sample]}, box {box - samples.offsets[sample]}")


def check_counts(samples: SampleBoxes, source: str) -> None:
    """Refuse what the official evaluation refuses: more boxes in a sample than :data:`MAX_BOXES`.

    Raises:
        InputError: names the first such sample.
    """
    counts = np.diff(samples.offsets)
    if (crowded := np.flatnonzero(counts > MAX_BOXES)).size:
        expected = f"expected at most {MAX_BOXES}; keep the {MAX_BOXES} with the highest scores"
        token = printable(samples.tokens[crowded[0]])
        raise InputError(f"{source}: sample {token}: {counts[crowded[0]]} boxes, {expected}")

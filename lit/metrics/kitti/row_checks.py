"""What rows of KITTI label and result files cannot hold: found for all rows at once, named by file and row.

A value that no camera or street has, a size of nothing, a rectangle turned inside out, a class name one letter off a
known one. What detectors leave out is allowed in results as KITTI's devkit does: sizes -1 where only the image is
seen, a height of -1 at y -1000 where only the ground is, angles -10. A label's alpha of -10 is kept: the C++
development kit looks for it in detections alone, and compares their orientations with a label's -10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches

import numpy as np
from numba import njit

from datamodules.errors import InputError, printable

KNOWN_CLASSES = ("car", "pedestrian", "cyclist", "van", "person_sitting", "dontcare", "truck", "tram", "misc")
DONTCARE = KNOWN_CLASSES.index("dontcare")
NUMBER = re.compile(rb"[+-]?(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE][+-]?\d+)?")
NAME = re.compile(r"(?!(?:nan|inf|infinity|true|false|none|null)\Z)[a-z][\w.-]*", re.ASCII | re.IGNORECASE)
LIKENESS = 0.8  # likeness of two names from which one may be a slip of the other
PIXELS, METRES, SIZE, TURN, LARGEST_SCORE = 20_000.0, 1000.0, 100.0, 2 * math.pi + 0.01, 1e6  # largest values
ROW_CURE = "correct or remove the row"


def plain_number(cell: bytes) -> float:
    """A finite decimal number as the C++ kit reads it; NaN for anything else: ``1_0``, ``nan``, ``1e-400``."""
    match = NUMBER.fullmatch(cell)
    if match is None:
        return math.nan
    value = float(cell)
    lost = value == 0 and any(set(digits) - {48} for digits in match.groups() if digits)
    return value if math.isfinite(value) and not lost else math.nan


def known_class(name: bytes, place: Callable[[], str], class_map: Mapping[str, str]) -> str:
    """The class that a row names, in small letters.

    Raises:
        InputError: it is no name, or so near a known one that it may be a slip, and no map says what it is.
    """
    text = name.decode("utf-8", "replace")
    if text in class_map:
        return class_map[text].lower()
    if text.lower() in KNOWN_CLASSES:
        return text.lower()
    shown = printable(repr(text if len(text) <= 80 else f"{text[:77]}..."))
    if not NAME.fullmatch(text):
        raise InputError(f"{place()}: {shown} is no class name, expected one such as Car; {ROW_CURE}")
    if near := get_close_matches(text.lower(), KNOWN_CLASSES, n=1, cutoff=LIKENESS):
        raise InputError(
            f"{place()}: class {shown} is near {near[0]!r} and no class of KITTI; {ROW_CURE}, or say what it is with "
            f"--class-map {text}={near[0].capitalize()}"
        )
    return text.lower()


def first_problem(rows: np.ndarray, scored: bool) -> tuple[int, str] | None:
    """The first row whose numbers cannot be, and why; None when all can.

    Args:
        rows: (R, 16) as :class:`lit.metrics.kitti.rows.Table` holds them; finite.
        scored: whether they are results.
    """
    row, rule = _first_broken(rows, scored)
    return None if row < 0 else (row, RULES[rule].format(*(f"{value:g}" for value in rows[row])))


RULES = (  # in the order of _first_broken; {3} is a row's fourth column
    "truncation {1}, expected 0 to 1, or -1",
    "occlusion {2}, expected 0, 1, 2 or 3, or -1",
    "alpha {3}, expected radians within one turn, or -10",
    "yaw {14}, expected radians within one turn, or -10",
    f"rectangle {{4}} {{5}} {{6}} {{7}}, expected pixels within {PIXELS:g}",
    "rectangle {4} {5} {6} {7}, expected left, top, right, bottom",
    f"place {{11}} {{12}} {{13}}, expected metres within {METRES:g}",
    f"score {{15}}, expected a number within {LARGEST_SCORE:g}",
    f"height, width, length {{8}} {{9}} {{10}}, expected metres above 0 and within {SIZE:g}",
    "z {13} m lies behind the camera, expected z > 0",
)


@njit(nogil=True, cache=True)
def _first_broken(rows: np.ndarray, scored: bool) -> tuple[int, int]:
    """The first row that breaks a rule of :data:`RULES`, and which; -1 for none."""
    for index in range(len(rows)):
        code, truncation, occlusion, alpha, left, top, right, bottom = rows[index, :8]
        height, width, length, x, y, z, yaw, score = rows[index, 8:]
        if truncation != -1 and not 0 <= truncation <= 1:
            return index, 0
        if occlusion not in (-1, 0, 1, 2, 3):
            return index, 1
        if abs(alpha) > TURN and alpha != -10:
            return index, 2
        if abs(yaw) > TURN and yaw != -10:
            return index, 3
        if max(abs(left), abs(top), abs(right), abs(bottom)) > PIXELS:
            return index, 4
        if right < left or bottom < top:
            return index, 5
        if max(abs(x), abs(y), abs(z)) > METRES:
            return index, 6
        if abs(score) > LARGEST_SCORE:
            return index, 7
        if code == DONTCARE or (scored and height == width == length == -1):
            continue
        unseen = scored and height == -1 and y == -1000
        if min(width, length) <= 0 or (height <= 0 and not unseen) or max(height, width, length) > SIZE:
            return index, 8
        if not scored and z + (abs(length * math.sin(yaw)) + abs(width * math.cos(yaw))) / 2 <= 0:
            return index, 9  # a vehicle beside the camera may have its centre behind it
    return -1, -1

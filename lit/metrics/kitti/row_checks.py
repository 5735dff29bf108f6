"""What rows of KITTI label and result files cannot hold: found for all rows at once, named by file and row.

A value that no camera or street has, a size of nothing, a rectangle turned inside out, a class name one letter off a
known one. What detectors leave out is allowed in results as KITTI's devkit does: sizes -1 where only the image is
seen, a height of -1 at y -1000 where only the ground is, angles -10. A label's alpha of -10 is kept: the C++
development kit looks for it in detections alone, and compares their orientations with a label's -10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from datamodules.errors import InputError, printable

CLASSES = ("car", "pedestrian", "cyclist", "van", "person_sitting", "dontcare", "truck", "tram", "misc")
DONTCARE = CLASSES.index("dontcare")
NUMBER = re.compile(rb"[+-]?(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE][+-]?\d+)?")
NAME = re.compile(r"(?!(?:nan|inf|infinity|true|false|none|null)\Z)[a-z][\w.-]*", re.ASCII | re.IGNORECASE)
NEAR = 0.8  # likeness of two names from which one may be a slip of the other
PIXELS, METRES, SIZE, TURN, SCORE = 20_000.0, 1000.0, 100.0, 2 * math.pi + 0.01, 1e6  # largest values
CURE = "correct or remove the row"


def plain_number(cell: bytes) -> float:
    """A finite decimal number as the C++ kit reads it; NaN for anything else: ``1_0``, ``nan``, ``1e-400``."""
    match = NUMBER.fullmatch(cell)
    if match is None:
        return math.nan
    value = float(cell)
    lost = value == 0 and any(set(digits) - {48} for digits in match.groups() if digits)
    return value if math.isfinite(value) and not lost else math.nan


def known_class(name: bytes, place: str, class_map: Mapping[str, str]) -> str:
    """The class that a row names, in small letters.

    Raises:
        InputError: it is no name, or so near a known one that it may be a slip, and no map says what it is.
    """
    text = name.decode("utf-8", "replace")
    if text in class_map:
        return class_map[text].lower()
    if text.lower() in CLASSES:
        return text.lower()
    shown = printable(repr(text if len(text) <= 80 else f"{text[:77]}..."))
    if not NAME.fullmatch(text):
        raise InputError(f"{place}: {shown} is no class name, expected one such as Car; {CURE}")
    if near := get_close_matches(text.lower(), CLASSES, n=1, cutoff=NEAR):
        raise InputError(
            f"{place}: class {shown} is near {near[0]!r} and no class of KITTI; {CURE}, or say what it is with "
            f"--class-map {text}={near[0].capitalize()}"
        )
    return text.lower()


def first_problem(rows: np.ndarray, scored: bool) -> tuple[int, str] | None:
    """The first row whose numbers cannot be, and why; None when all can.

    Args:
        rows: (R, 16) as :class:`lit.metrics.kitti.rows.Table` holds them; finite.
        scored: whether they are results.
    """
    first: tuple[int, str] | None = None
    for wrong, words in _problems(rows, scored):
        if wrong.any() and (first is None or int(wrong.argmax()) < first[0]):
            row = int(wrong.argmax())
            first = row, words.format(*(f"{value:g}" for value in rows[row]))
    return first


def _problems(rows: np.ndarray, scored: bool) -> list[tuple[np.ndarray, str]]:
    """(R,) rows that break a rule, with its words, in which {3} is a row's fourth column."""
    truncation, occlusion, alpha, left, top, right, bottom = rows[:, 1:8].T
    sizes, place, yaw, score = rows[:, 8:11], rows[:, 11:14], rows[:, 14], rows[:, 15]
    box = "{4} {5} {6} {7}"
    found = [
        ((truncation != -1) & ~((truncation >= 0) & (truncation <= 1)), "truncation {1}, expected 0 to 1, or -1"),
        (~np.isin(occlusion, (-1, 0, 1, 2, 3)), "occlusion {2}, expected 0, 1, 2 or 3, or -1"),
        ((np.abs(alpha) > TURN) & (alpha != -10), "alpha {3}, expected radians within one turn, or -10"),
        ((np.abs(yaw) > TURN) & (yaw != -10), "yaw {14}, expected radians within one turn, or -10"),
        (np.abs(rows[:, 4:8]).max(1) > PIXELS, f"rectangle {box}, expected pixels within {PIXELS:g}"),
        ((right < left) | (bottom < top), f"rectangle {box}, expected left, top, right, bottom"),
        (np.abs(place).max(1) > METRES, f"place {{11}} {{12}} {{13}}, expected metres within {METRES:g}"),
    ]
    known = sizes > 0
    if scored:
        found.append((np.abs(score) > SCORE, f"score {{15}}, expected a number within {SCORE:g}"))
        flat = (sizes == -1).all(1)
        known = known | flat[:, None]
        known[:, 0] |= (sizes[:, 0] == -1) & (place[:, 1] == -1000)
    bad = (~known | (sizes > SIZE)).any(1) & (rows[:, 0] != DONTCARE)
    found.append((bad, f"height, width, length {{8}} {{9}} {{10}}, expected metres above 0 and within {SIZE:g}"))
    if not scored:
        depth = np.abs(sizes[:, 2] * np.sin(yaw)) + np.abs(sizes[:, 1] * np.cos(yaw))  # of a vehicle beside the camera
        behind = (place[:, 2] + depth / 2 <= 0) & (rows[:, 0] != DONTCARE)
        found.append((behind, "z {13} m lies behind the camera, expected z > 0"))
    return found

"""One row of a KITTI label or result file: its columns, and what a value of each may be.

Rows are columns of ASCII between ASCII blanks, numbers plain decimals as the C++ development kit reads them. What the
format can tell is refused: a value that no camera or street has, a size of nothing, a rectangle turned inside out, a
class name one letter off a known one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches

from datamodules.errors import InputError, printable

LABEL_COLUMNS = 15
RESULT_COLUMNS = 16
KITTI_CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")
ANY_AREA = "DontCare"  # a rectangle without an object: sizes -1, place -1000, angles -10
LIKENESS = 0.8  # likeness of two names from which one may be a slip of the other
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
NAME = re.compile(r"(?!(?:nan|inf|infinity|true|false|none|null)\Z)[a-z][\w.-]*", re.ASCII | re.IGNORECASE)
BLANKS = re.compile(r"[ \t\v\f]+")
PIXELS, METRES, SIZE, TURN, LARGEST_SCORE = 20_000.0, 1000.0, 100.0, 2 * math.pi + 0.01, 1e6  # largest values
NOTHING = -10.0  # an angle that nobody measured


def cells_of(line: str) -> list[str]:
    """Columns of a line: what stands between ASCII blanks."""
    return [cell for cell in BLANKS.split(line) if cell]


def decimal(cell: str) -> float | None:
    """A plain decimal number, or None: no ``nan``, ``1_0``, ``1d5`` or digits of other scripts."""
    value = float(cell) if NUMBER.fullmatch(cell) else math.inf
    return value if math.isfinite(value) else None


def read_row(
    place: str, line: str, scored: bool | None = None, class_map: Mapping[str, str] | None = None
) -> tuple[str, list[float]]:
    """Class name and the numeric columns of one row.

    Args:
        place: file and line, for the message.
        line: the row.
        scored: whether it has to end in a score; None takes both kinds.
        class_map: names in the file to names of classes, applied first.

    Raises:
        InputError: something in it cannot be.
    """
    cells = cells_of(line)
    kinds = {LABEL_COLUMNS: "label", RESULT_COLUMNS: "result"}
    wanted = [count for count in kinds if scored is None or (count == RESULT_COLUMNS) == scored]
    if len(cells) not in wanted:
        expected = " or ".join(f"{count} ({kinds[count]})" for count in wanted)
        raise InputError(f"{place}: {len(cells)} columns, expected {expected}; repair or delete the row")
    name = class_name(place, cells[0], class_map or {})
    values: list[float] = []
    for cell in cells[1:]:
        value = decimal(cell)
        if value is None:
            shown = printable(repr(cell if len(cell) <= 80 else f"{cell[:77]}..."))
            raise InputError(f"{place}: {shown} is not a finite number; repair or delete the row")
        values.append(value)
    if problem := row_problem(name, values):
        raise InputError(f"{place}: {problem}; repair or delete the row")
    return name, values


def class_name(place: str, name: str, class_map: Mapping[str, str]) -> str:
    """The class that a row names.

    Raises:
        InputError: it is no name, or so near a known one that it may be a slip, and no map says what it is.
    """
    if name in class_map:
        return class_map[name]
    if name in KITTI_CLASSES:
        return name
    if not NAME.fullmatch(name):
        shown = printable(repr(name if len(name) <= 80 else f"{name[:77]}..."))
        raise InputError(f"{place}: {shown} is no class name, expected one such as Car; repair or delete the row")
    if near := near_class(name):
        raise InputError(
            f"{place}: class {name!r} is near {near!r} and no class of KITTI; set data.class_map to {{{name}: {near}}} "
            f"(--class-map {name}={near}), or to {{{name}: {name}}} where it is meant"
        )
    return name


def near_class(name: str) -> str | None:
    """The known class that an unknown name may be a slip of."""
    lower = {known.lower(): known for known in KITTI_CLASSES}
    found = get_close_matches(name.lower(), lower, n=1, cutoff=LIKENESS)
    return lower[found[0]] if found else None


def row_problem(name: str, values: list[float]) -> str | None:
    """What a row's numbers cannot be, or None."""
    scored = len(values) == RESULT_COLUMNS - 1
    truncation, occlusion, alpha, left, top, right, bottom, height, width, length, x, y, z, yaw = values[:14]
    if not (truncation == -1 or 0 <= truncation <= 1):
        return f"truncation {truncation:g}, expected 0 to 1, or -1"
    if occlusion not in (-1, 0, 1, 2, 3):
        return f"occlusion {occlusion:g}, expected 0, 1, 2 or 3, or -1"
    for angle, value in (("alpha", alpha), ("yaw", yaw)):
        if abs(value) > TURN and value != NOTHING:
            return f"{angle} {value:g}, expected radians within one turn, or {NOTHING:g}"
    if max(map(abs, values[3:7])) > PIXELS:
        return f"rectangle {left:g} {top:g} {right:g} {bottom:g}, expected pixels within {PIXELS:g}"
    if right < left or bottom < top:
        return f"rectangle {left:g} {top:g} {right:g} {bottom:g}, expected left, top, right, bottom"
    if max(abs(x), abs(y), abs(z)) > METRES:
        return f"place {x:g} {y:g} {z:g}, expected metres within {METRES:g}"
    if scored and abs(values[14]) > LARGEST_SCORE:
        return f"score {values[14]:g}, expected a number within {LARGEST_SCORE:g}"
    flat = scored and height == width == length == -1  # of a detector that sees in 2D alone, its place is -1000
    if name == ANY_AREA or flat:
        return None
    if min(height, width, length) <= 0 or max(height, width, length) > SIZE:
        return f"height, width, length {height:g} {width:g} {length:g}, expected metres above 0 and within {SIZE:g}"
    # A vehicle beside the camera may have its centre behind it.
    farthest = z + (abs(length * math.sin(yaw)) + abs(width * math.cos(yaw))) / 2
    if not scored and farthest <= 0:
        return f"{name} at z = {z:g} m lies behind the camera, expected z > 0"
    return None

"""Object tables of many frames for the KITTI evaluator: bulk reading of label folders, and packing of Objects.

A row of a table has the columns of a KITTI label row with the class as a number; see the constants below.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numba import njit

from datamodules.errors import DatasetNotFound, InputError, printable
from datamodules.files.text_files import decoded
from datamodules.scene import Objects
from lit.metrics.kitti.row_checks import KNOWN_CLASSES, ROW_CURE, first_problem, known_class, plain_number

EVALUATED = ("car", "pedestrian", "cyclist")
NAMES = (*EVALUATED, "van", "person_sitting", "dontcare")
OTHER_CLASS = len(NAMES)
COLUMNS = 16  # class, truncation, occlusion, alpha, bbox (4), height, width, length, x, y, z, yaw, score
TRUNCATION, OCCLUSION, ALPHA, BBOX = range(1, 5)
PLAIN = bytes([9, 10, *range(32, 127)])  # of a text that is read as it stands
HEIGHT, WIDTH, LENGTH, X, Y, Z, YAW, SCORE = range(8, 16)

_CODES = {name: code for code, name in enumerate(NAMES)}
_LETTERS = np.zeros((len(NAMES), max(map(len, NAMES))), dtype=np.uint8)
for _code, _name in enumerate(NAMES):
    _LETTERS[_code, : len(_name)] = np.frombuffer(_name.encode(), np.uint8)
_LENGTHS = np.array([len(name) for name in NAMES], dtype=np.int64)
_POWERS = np.array([float(10**k) for k in range(23)])  # all exact in float64


@dataclass(frozen=True)
class Table:
    """Objects of F frames.

    Attributes:
        rows: (R, 16) float64, the rows of all frames one after another.
        offsets: (F + 1,) int64; frame i owns rows offsets[i]:offsets[i + 1].
    """

    rows: np.ndarray
    offsets: np.ndarray

    def take(self, frames: np.ndarray) -> Table:
        """The table of some frames, in the order given."""
        counts = np.diff(self.offsets)[frames]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        index = np.repeat(self.offsets[:-1][frames] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Table(self.rows[index], offsets)


def pack(frames: Sequence[Objects], scored: bool) -> Table:
    """Build a table from objects in memory.

    Raises:
        InputError: predictions without scores, or a value that is not finite.
    """
    offsets = np.concatenate([[0], np.cumsum([len(objects) for objects in frames])]).astype(np.int64)
    rows = np.zeros((offsets[-1], COLUMNS))
    for index, objects in enumerate(frames):
        if scored and objects.score is None:
            raise InputError(f"prediction {index} has no scores: expected one per box; set Objects.score")
        part = rows[offsets[index] : offsets[index + 1]]
        part[:, 0] = [_CODES.get(str(name).lower(), OTHER_CLASS) for name in objects.names]
        part[:, TRUNCATION], part[:, OCCLUSION], part[:, ALPHA] = objects.truncation, objects.occlusion, objects.alpha
        part[:, BBOX : BBOX + 4] = objects.bbox
        part[:, HEIGHT : LENGTH + 1] = objects.boxes.dims[:, [1, 2, 0]]
        part[:, X : Z + 1], part[:, YAW] = objects.boxes.center, objects.boxes.yaw
        if scored:
            part[:, SCORE] = objects.score
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        frame = int(np.searchsorted(offsets, row, side="right")) - 1
        kind = "prediction" if scored else "ground truth"
        raise InputError(
            f"{kind} {frame}, object {row - offsets[frame]} has a value that is not finite: drop the object"
        )
    return Table(rows, offsets)


def list_frames(folder: str | os.PathLike[str]) -> list[str]:
    """Sorted ids of the ``*.txt`` files of a folder.

    Raises:
        DatasetNotFound: the folder is missing or is a file.
    """
    try:
        return sorted(name[:-4] for name in os.listdir(folder) if name.endswith(".txt"))
    except OSError as error:
        raise DatasetNotFound(
            f"{folder}: expected a folder of %06d.txt label files ({error.strerror}); check the path"
        ) from error


def read_table(
    folder: str | os.PathLike[str],
    names: Sequence[str],
    scored: bool,
    checked: bool = False,
    class_map: Mapping[str, str] | None = None,
) -> tuple[Table, list[str]]:
    """Read the label files of some frames at once.

    Args:
        folder: holds ``<name>.txt``; a file may be missing, its frame is then empty.
        names: frame ids, in the order of the table.
        scored: rows end in a 16th column, the score; else they have none and it is read as 0.
        checked: also hold classes and values against :mod:`lit.metrics.kitti.row_checks`.
        class_map: names in the files to names of KITTI's classes.

    Returns:
        The table and the names of the missing files.

    Raises:
        InputError: a file that is no text, a row with a wrong number of columns or a value that is no finite number or,
            if checked, cannot be; names file and line.
    """
    chunks, missing = [], []
    for name in names:
        content = _read_bytes(f"{folder}/{name}.txt")
        if content is None:
            missing.append(name)
        chunks.append(content or b"")
    ends = np.cumsum([len(chunk) + 1 for chunk in chunks], dtype=np.int64)
    text = b"\n".join(chunks) + b"\n"
    rows, starts, widths, counts = _parse(
        np.frombuffer(text, np.uint8), ends, text.count(b"\n"), _LETTERS, _LENGTHS, _POWERS
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def line(row: int) -> bytes:
        return text[starts[row] : text.index(b"\n", starts[row])]

    def place(row: int) -> str:
        file = int(np.searchsorted(ends, starts[row], side="right"))
        begin = int(ends[file - 1]) if file else 0
        return f"{folder}/{names[file]}.txt:{text.count(10, begin, starts[row]) + 1}"

    wrong = widths != (COLUMNS if scored else COLUMNS - 1)
    for row in np.flatnonzero(wrong | np.isnan(rows).any(1)).tolist():
        rows[row] = _parse_slowly(line(row), rows[row], place(row), scored)
    if checked:
        foreign: Counter[str] = Counter()
        for row in range(len(rows)) if class_map else np.flatnonzero(rows[:, 0] == OTHER_CLASS).tolist():
            found = known_class(line(row).split(None, 1)[0], partial(place, row), class_map or {})
            rows[row, 0] = _CODES.get(found, OTHER_CLASS)
            foreign.update([found] if found not in KNOWN_CLASSES else [])
        if problem := first_problem(rows, scored):
            raise InputError(f"{place(problem[0])}: {problem[1]}; {ROW_CURE}")
        if foreign:
            names_found = ", ".join(f"{name} ({count})" for name, count in foreign.most_common(5))
            warnings.warn(
                f"{folder}: {foreign.total()} rows of classes that KITTI does not know: {names_found}; they count as "
                "other objects unless --class-map NAME=CLASS says what they are",
                stacklevel=3,
            )
    return Table(rows, offsets), missing


def _read_bytes(path: str) -> bytes | None:
    """The whole file by bare system calls (a fifth of the time of ``open``, which counts over thousands of files)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error
    try:
        content = os.read(handle, 1 << 16)
        if len(content) == 1 << 16:
            content += Path(path).read_bytes()[1 << 16 :]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a text file") from error
    finally:
        os.close(handle)
    if content.isascii() and not content.translate(None, PLAIN):
        return content
    return decoded(content, path, "a KITTI label file").encode()  # marks, other encodings, other line ends


def _parse_slowly(line: bytes, row: np.ndarray, place: str, scored: bool) -> np.ndarray:
    """Parse cell by cell what the compiled parser left as NaN, and report what is wrong."""
    fields = line.split()  # at ASCII blanks, as the compiled parser
    if len(fields) != (COLUMNS if scored else COLUMNS - 1):
        expected = "16 (15 and the score)" if scored else "15"
        raise InputError(f"{place}: {len(fields)} columns, expected {expected}; complete or remove the row")
    values = row.copy()
    for column in np.flatnonzero(np.isnan(row)):
        values[column] = plain_number(fields[column])
        if not np.isfinite(values[column]):
            cell = printable(repr(fields[column].decode("utf-8", "replace")[:80]))
            raise InputError(f"{place}: column {column + 1} is {cell}, expected a finite number; {ROW_CURE}")
    return values


@njit(nogil=True, cache=True)
def _parse_number(text: np.ndarray, start: int, stop: int, powers: np.ndarray) -> float:
    """A decimal number if float64 can give it correctly rounded in one operation, else NaN (then ``float`` decides)."""
    position = start
    negative = text[position] == 45
    if negative or text[position] == 43:
        position += 1
    mantissa, digits, scale, fraction = 0, 0, 0, False
    while position < stop:
        byte = text[position]
        if 48 <= byte <= 57:
            if mantissa >= 900719925474099:  # the next digit could leave the integers that float64 holds exactly
                return np.nan
            mantissa = mantissa * 10 + (int(byte) - 48)
            digits += 1
            scale += fraction
        elif byte == 46 and not fraction:
            fraction = True
        else:
            return np.nan
        position += 1
    if digits == 0 or scale > 22:
        return np.nan
    value = mantissa / powers[scale]
    return -value if negative else value


@njit(nogil=True, cache=True)
def _class_code(text: np.ndarray, start: int, stop: int, letters: np.ndarray, lengths: np.ndarray) -> int:
    for code in range(len(lengths)):
        if lengths[code] != stop - start:
            continue
        same = True
        for k in range(stop - start):
            byte = text[start + k]
            if 65 <= byte <= 90:
                byte += 32
            if byte != letters[code, k]:
                same = False
                break
        if same:
            return code
    return len(lengths)


@njit(nogil=True, cache=True)
def _parse(
    text: np.ndarray, ends: np.ndarray, lines: int, letters: np.ndarray, lengths: np.ndarray, powers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows (R, 16), the byte and the number of fields of each (R,), rows of each file (F,); skips blank lines."""
    rows = np.zeros((lines, 16))
    starts, widths = np.empty(lines, np.int64), np.empty(lines, np.int64)
    counts = np.zeros(len(ends), np.int64)
    row, position = 0, 0
    for file in range(len(ends)):
        while position < ends[file]:
            line_start, field = position, 0
            while text[position] != 10:
                byte = text[position]
                if byte == 32 or 9 <= byte <= 13:
                    position += 1
                    continue
                start = position
                while text[position] != 32 and not 9 <= text[position] <= 13:
                    position += 1
                if field == 0:
                    rows[row, 0] = _class_code(text, start, position, letters, lengths)
                elif field < 16:
                    rows[row, field] = _parse_number(text, start, position, powers)
                field += 1
            position += 1
            if field > 0:
                starts[row], widths[row] = line_start, field
                counts[file] += 1
                row += 1
    return rows[:row], starts[:row], widths[:row], counts

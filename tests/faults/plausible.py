"""Which damaged files are as good as any other of their format, so that no reader could tell.

Written from the formats' descriptions, not from the suite's readers: these are what the readers are measured against.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

import cv2
import msgspec
import numpy as np
import torch
import yaml

from tests.faults.surface import Plausible

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
KITTI_CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")


def text_of(content: bytes) -> str | None:
    """The text of a file in any encoding that its mark names, or None."""
    marks = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def rows_of(content: bytes) -> list[list[str]] | None:
    """The cells of the rows that are not blank, or None for what is no printable ASCII text."""
    text = text_of(content)
    if text is None or not re.fullmatch(r"[\x20-\x7e\n\t]*", text):
        return None
    return [line.split() for line in text.split("\n") if line.split()]


def numbers(cells: list[str]) -> list[float] | None:
    """Finite decimal numbers, or None."""
    if not all(NUMBER.fullmatch(cell) for cell in cells):
        return None
    values = [float(cell) for cell in cells]
    return values if all(math.isfinite(value) for value in values) else None


def kitti_rows(columns: tuple[int, ...]) -> Plausible:
    """Label or result rows: known classes, numbers in the ranges that the data set's readme states."""

    def plausible(original: bytes, damaged: bytes) -> bool:
        rows = rows_of(damaged)
        return rows is not None and len({len(row) for row in rows}) <= 1 and all(_row(row, columns) for row in rows)

    return plausible


def _row(cells: list[str], columns: tuple[int, ...]) -> bool:
    values = numbers(cells[1:])
    if len(cells) not in columns or values is None or cells[0] not in KITTI_CLASSES:
        return False
    cut, hidden, alpha, left, top, right, bottom, height, width, length, x, y, z, yaw = values[:14]
    angles = all(-2 * math.pi <= value <= 2 * math.pi or value == -10 for value in (alpha, yaw))
    inside = right >= left and bottom >= top and max(map(abs, values[3:7])) <= 10_000
    flags = (0 <= cut <= 1 or cut == -1) and hidden in (-1, 0, 1, 2, 3)
    if cells[0] == "DontCare":
        return inside
    sizes = all(0 < value <= 100 for value in (height, width, length))
    unplaced = (height, width, length) == (-1, -1, -1) or (x, y, z) == (-1000, -1000, -1000)
    placed = unplaced or (sizes and max(abs(x), abs(y), abs(z)) <= 1000 and (len(cells) == 16 or z > -length))
    return angles and inside and flags and placed and (len(cells) == 15 or abs(values[14]) <= 1e15)


def kitti_calibration(original: bytes, damaged: bytes) -> bool:
    """A pinhole camera in the row P2."""
    rows = rows_of(damaged)
    found = [row[1:] for row in rows or [] if row[0] == "P2:"]
    values = numbers(found[0]) if len(found) == 1 else None
    if values is None or len(values) != 12:
        return False
    matrix = np.array(values).reshape(3, 4)
    fixed = [matrix[0, 1], matrix[1, 0], *matrix[2, :2], matrix[2, 2] - 1]
    sizes = min(matrix[0, 0], matrix[1, 1]) >= 1 and abs(matrix).max() < 1e4
    return not any(fixed) and sizes


def kitti_plane(original: bytes, damaged: bytes) -> bool:
    """Three lines of header, then a plane with a normal of unit length."""
    text = text_of(damaged) or ""
    lines = text.split("\n")
    values = numbers(lines[3].split()) if len(lines) > 3 and rows_of(damaged) is not None else None
    return values is not None and len(values) == 4 and abs(math.hypot(*values[:3]) - 1) < 1e-2 and abs(values[3]) < 100


def names(pattern: str) -> Plausible:
    """One name of a pattern a line, each once, at least one."""

    def plausible(original: bytes, damaged: bytes) -> bool:
        rows = rows_of(damaged)
        if not rows or any(len(row) != 1 or not re.fullmatch(pattern, row[0], re.ASCII) for row in rows):
            return False
        return len({row[0] for row in rows}) == len(rows)

    return plausible


def document(type_: Any, check: Callable[[Any], bool] = lambda value: True, nan: bool = False) -> Plausible:
    """Strict JSON (no key twice, no constants beyond it unless ``nan``) that a msgspec type describes.

    Args:
        type_: the type.
        check: what the type cannot say.
        nan: NaN is a value of the format.
    """

    def plausible(original: bytes, damaged: bytes) -> bool:
        try:
            plain = json.loads(text_of(damaged) or "", object_pairs_hook=_unique, parse_constant=_constant(nan))
            return check(msgspec.convert(plain, type_))
        except (ValueError, msgspec.ValidationError, RecursionError, KeyError, TypeError):
            return False

    return plausible


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _constant(nan: bool) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if text == "NaN" and nan:
            return math.nan
        raise ValueError(text)

    return parse


def yaml_file(original: bytes, damaged: bytes) -> bool:
    """YAML of plain data without aliases, tags or keys that stand twice, and a mapping as the original."""
    text = text_of(damaged)
    try:
        tokens = list(yaml.scan(text or ""))
        content = yaml.safe_load(text or "")
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    odd = (yaml.AliasToken, yaml.AnchorToken, yaml.TagToken)
    return (
        isinstance(content, dict) and not any(isinstance(token, odd) for token in tokens) and not repeated(text or "")
    )


def repeated(text: str) -> bool:
    """Whether a mapping of a YAML text has a key twice."""
    pending = [yaml.compose(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            if len(set(keys)) < len(keys):
                return True
            pending += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return False


def jpeg(original: bytes, damaged: bytes) -> bool:
    """A JPEG of the original's size that the decoder has nothing to say about."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            image = cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_COLOR) if damaged else None
        except cv2.error:
            image = None
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        return image is not None and not said.read() and damaged.startswith(b"\xff\xd8")


def png_stream(original: bytes, damaged: bytes) -> bool:
    """Never: every chunk of a PNG has a checksum, and the mutators leave it wrong or the chunk impossible."""
    return False


def array(low: float, high: float, whole: bool = False) -> Plausible:
    """A .npy of the original's shape and kind of numbers, all of them in a range."""

    def plausible(original: bytes, damaged: bytes) -> bool:
        try:
            before, found = (np.load(io.BytesIO(content), allow_pickle=False) for content in (original, damaged))
        except Exception:
            return False
        if found.shape != before.shape or found.dtype.kind not in ("iufb" if whole else "f"):
            return False
        return bool(np.isfinite(found).all() and found.min() >= low and found.max() <= high)

    return plausible


def archive(inner: Plausible) -> Plausible:
    """A zip of the original's names, with right checksums and plausible members."""

    def plausible(original: bytes, damaged: bytes) -> bool:
        try:
            with zipfile.ZipFile(io.BytesIO(original)) as before, zipfile.ZipFile(io.BytesIO(damaged)) as found:
                if sorted(before.namelist()) != sorted(found.namelist()) or found.testzip() is not None:
                    return False
                pairs = [(before.read(name), found.read(name)) for name in before.namelist()]
        except Exception:
            return False
        return all(a == b or inner(a, b) for a, b in pairs)

    return plausible


def any_change(original: bytes, damaged: bytes) -> bool:
    """Nothing in the format tells."""
    return True


def state(original: bytes, damaged: bytes) -> bool:
    """A PyTorch file whose checksums are right, with the original's keys, shapes and types, all finite."""
    try:
        if zipfile.is_zipfile(io.BytesIO(damaged)):  # older files are bare pickles, without checksums
            with zipfile.ZipFile(io.BytesIO(damaged)) as found:
                if found.testzip() is not None:
                    return False
        before, after = (
            torch.load(io.BytesIO(part), map_location="cpu", weights_only=True) for part in (original, damaged)
        )
        return _alike(before, after)
    except Exception:
        return False


def _alike(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        same = isinstance(after, torch.Tensor) and after.shape == before.shape and after.layout == before.layout
        floats = same and after.dtype in (before.dtype, torch.float16, torch.float32, torch.float64)
        return bool(floats and not after.is_meta and after.isfinite().all() and after.abs().max() < 1e30)
    if isinstance(before, dict):
        return (
            isinstance(after, dict)
            and set(map(str, after)) == set(map(str, before))
            and all(_alike(before[k], after[k]) for k in before)
        )
    return type(before) is type(after)

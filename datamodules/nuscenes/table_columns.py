"""nuScenes' tables as columns: what detection needs of them, joined by row numbers instead of tokens.

Of the three tables that have millions of rows only key frames of the cameras and of the upper lidar are kept, their
places, and the annotations of the detection task, sample by sample. :data:`COLUMN_KINDS` says what there is; the
modules ``table_shots`` and ``table_boxes`` make it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, overload

import numpy as np
from msgspec import UNSET

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import RACK_COLUMNS, offsets_of
from datamodules.nuscenes.table_stream import dangles, lacks, read_rows

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
SENSORS_READ = (*CAMERAS, "LIDAR_TOP")
LIDAR_INDEX = SENSORS_READ.index("LIDAR_TOP")
NO_USE, LOST = -1, -2  # codes of what is of no use here, and of what leads nowhere
# Type and shape of a row, of samples, calibrated sensors, boxes and racks. A text is two arrays (:class:`Texts`).
COLUMN_KINDS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "sample_time": (np.int64, ()), "sample_scene": (np.int32, ()),
    "shot_pose": (np.float64, (7, 7)), "shot_rig": (np.int32, (7,)), "shot_size": (np.int32, (6, 2)),
    "rig": (np.float64, (16,)), "box_offsets": (np.int64, ()), "box_geometry": (np.float64, (10,)),
    "box_velocity": (np.float64, (2,)), "box_codes": (np.int32, (3,)), "rack_offsets": (np.int64, ()),
    "racks": (np.float64, (RACK_COLUMNS,)), "annotations": (np.int64, ()),
}  # fmt: skip
TEXT_COLUMNS = ("sample_token", "scene_name", "shot_file", "category_name")
TableColumns = dict[str, np.ndarray]


class LazyTexts(Sequence[str]):
    """Texts made where they are looked at."""

    @abstractmethod
    def text(self, index: int) -> str:
        """One of them, ``index`` being in [0, N)."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.text(index % len(self))


class Texts(LazyTexts):
    """Texts one after another in an array of bytes, which may be mapped.

    Args:
        letters: (L,) uint8 UTF-8.
        ends: (N + 1,) int64; text i is letters[ends[i]:ends[i + 1]].
    """

    def __init__(self, letters: np.ndarray, ends: np.ndarray) -> None:
        self.letters, self.ends = letters, ends

    @staticmethod
    def columns(name: str, texts: Iterable[str]) -> TableColumns:
        """The two arrays of some texts, as columns."""
        encoded = [text.encode() for text in texts]
        letters = np.frombuffer(b"".join(encoded), np.uint8)
        return {name: letters, f"{name}_ends": offsets_of([len(one) for one in encoded])}

    def __len__(self) -> int:
        return len(self.ends) - 1

    def text(self, index: int) -> str:
        return self.letters[self.ends[index] : self.ends[index + 1]].tobytes().decode()

    def take(self, chosen: np.ndarray) -> list[str]:
        """Some of them."""
        ends, whole = self.ends, np.ascontiguousarray(self.letters).data
        return [str(whole[a:b], "utf-8") for a, b in zip(ends[chosen].tolist(), ends[chosen + 1].tolist())]


@dataclass
class Problems:
    """What is wrong with single samples, which matters only to who reads them: by step, the first of each sample."""

    found: dict[str, dict[int, tuple[tuple[int, int], InputError]]] = field(default_factory=dict)

    def add(self, step: str, sample: int, order: tuple[int, int], error: InputError) -> None:
        """Note an error; ``order`` is where in its step it would be met."""
        mine = self.found.setdefault(step, {})
        if sample not in mine or order < mine[sample][0]:
            mine[sample] = (order, error)

    def raise_first(self, step: str, samples: np.ndarray) -> None:
        """Raise what would be met first when some samples (K,) are read.

        Raises:
            InputError: there is something.
        """
        mine = self.found.get(step)
        if mine and (met := [mine[sample] for sample in samples.tolist() if sample in mine]):
            raise min(met, key=lambda one: one[0])[1]


def names_by_token(folder: Path, table: str, key: str) -> tuple[dict[str, int], list[str]]:
    """Row numbers of a small table by token, and one field of its rows."""
    rows = list(chain.from_iterable(read_rows(folder, table)))
    values = [getattr(row, key) for row in rows]
    if UNSET in values:
        raise lacks(folder, table, rows[values.index(UNSET)].token, key)
    return {row.token: number for number, row in enumerate(rows)}, values


def linked(folder: Path, table: str, row: Any, key: str, other: str) -> InputError:
    """Why a row's link leads nowhere."""
    token = getattr(row, key)
    return lacks(folder, table, row.token, key) if token is UNSET else dangles(folder, table, other, token)


def numbers(rows: Sequence[Any], parts: tuple[tuple[str, int], ...]) -> np.ndarray:
    """(N, ...) float64, some vectors of rows side by side."""
    flat = [np.fromiter(chain.from_iterable(map(attrgetter(key), rows)), np.float64, n * len(rows)) for key, n in parts]
    return np.concatenate([one.reshape(len(rows), n) for one, (_, n) in zip(flat, parts)], axis=1)

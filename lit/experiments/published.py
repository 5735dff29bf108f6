"""A publication's figures, shown beside ours and kept out of every ranking, difference and test.

A grid file states them under ``published``; the sweep leaves them as ``published.json`` in its folder, where the
leaderboard finds them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.errors import InputError, closest
from datamodules.files.typed_json import Finite, Text, structure
from datamodules.kitti.format import DIFFICULTIES
from lit.results import read_record

FILE = "published.json"
EASY_TO_HARD = " / ".join(DIFFICULTIES)
DASH = "–"
Figures = tuple[Finite | None, Finite | None, Finite | None]
THREE = "three numbers (easy, moderate, hard), null where the table prints none"


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of one table.

    Attributes:
        source: where they are printed, and on what they were measured ("Lift3D, CVPR 2023, Table 1; KITTI val").
        metric: the metric in our spelling, of moderate difficulty ("car/3d/moderate/0.7").
        arms: arm to its easy, moderate and hard figure; None where the table prints none.
        others: rows of the table that no arm stands for.
    """

    source: Annotated[Text, Meta(min_length=1)]
    metric: Text
    arms: dict[str, Figures]
    others: dict[str, Figures] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if "/moderate/" not in self.metric:
            raise ValueError(f"metric is {self.metric!r}, expected a moderate one such as car/3d/moderate/0.7")

    @property
    def label(self) -> str:
        """Heading of the column."""
        return f"paper, {self.metric.rsplit('/', 1)[0].replace('/moderate', '')} {self.metric.rsplit('/', 1)[1]}"

    def text(self, arm: str) -> str:
        """``24.07 / 18.09 / 15.06``; a dash for an arm the table does not have."""
        return triple(self.arms.get(arm))

    def by_metric(self, arm: str) -> dict[str, float]:
        """Metric name to figure of one arm."""
        figures = self.arms.get(arm, ())
        return {self.name(level): v for level, v in zip(DIFFICULTIES, figures, strict=False) if v is not None}

    def name(self, difficulty: str) -> str:
        """Our name of the metric at a difficulty."""
        return self.metric.replace("/moderate/", f"/{difficulty}/")

    def note(self) -> str:
        """One sentence for the foot of a table."""
        others = "; ".join(f"{name} {triple(figures)}" for name, figures in self.others.items())
        tail = f" Rows without an arm here: {others}." if others else ""
        return f"Paper: {self.source}; {EASY_TO_HARD}. Shown for reading only, in no ranking or test.{tail}"


def triple(figures: Sequence[float | None] | None) -> str:
    """Easy, moderate and hard as text."""
    if not figures:
        return DASH
    return " / ".join(DASH if value is None else f"{value:.2f}" for value in figures)


def own_triple(metrics: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Our mean at easy, moderate and hard for a metric of any difficulty; a dash where the name has no difficulty."""
    level = next((level for level in DIFFICULTIES if f"/{level}/" in metric), None)
    if level is None:
        return DASH
    entries = [metrics.get(metric.replace(f"/{level}/", f"/{other}/")) for other in DIFFICULTIES]
    return triple([None if entry is None else entry["mean"] for entry in entries])


def check_published(path: Path, content: Any, arms: Sequence[str]) -> Published:
    """Check the ``published`` entry of a grid file.

    Args:
        path: the file, for messages.
        content: the entry.
        arms: arms of the grid.

    Raises:
        InputError: for a missing or unknown key, an arm the grid does not have, or figures that are not three.
    """
    for group in ("arms", "others") if isinstance(content, dict) else ():  # row by row: the message names the row
        rows: dict[str, Any] = structure(path, f"published.{group}", content.get(group, {}), dict[str, Any])
        for row, figures in rows.items():
            structure(path, f"published.{group}.{row}", figures, Figures, THREE)
    published: Published = structure(path, "published", content, Published)
    for arm in published.arms:
        if arm not in arms:
            raise InputError(
                f"{path}: published.arms.{arm}: no such arm in this grid, expected one of {', '.join(arms)}"
                f"{closest(arm, arms)}; rows without an arm go under published.others"
            )
    return msgspec.structs.replace(published, source=" ".join(published.source.split()))


def find_published(folders: Sequence[Path]) -> Published | None:
    """The figures a sweep left in one of the folders; None without any, or when folders differ (a warning says so).

    Raises:
        InputError: a file that no sweep wrote.
    """
    files = [path for path in sorted({folder / FILE for folder in folders}) if os.path.lexists(path)]
    expected = "a sweep's published figures (run the sweep again)"
    found = [structure(path, "", read_record(path, expected), Published) for path in files]
    if len(found) > 1 and any(other != found[0] for other in found):
        print("published figures left out: the folders' sweeps name different tables; give one folder to see them")
        return None
    return found[0] if found else None

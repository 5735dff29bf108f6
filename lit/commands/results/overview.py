"""``python -m lit results overview``: what every published arm gained over nothing, each within its own grid.

Grids ran on different days, under different commits and on different machines. An arm is therefore compared with the
``none`` of its own grid alone, seed by seed; that two rows of this table differ is no result.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import read_json
from lit.arguments import Arguments
from lit.experiments.archive import RECORDS, find_archives
from lit.leaderboard.files import TABLE_NAME
from lit.leaderboard.tables import markdown_table, mean_text

OVERVIEW = "overview.md"
FIGURE, RIVAL = "car/3d/moderate/0.5", "none"
HEADER = ["arm", "grid", "seeds", "mean", "minus none, 95 % by seeds", "by seeds and scenes", "p", "Holm p"]
Ground = tuple[str, str, int]  # data set, split, labelled frames (0 for all)


class Gain(NamedTuple):
    """One arm against nothing, in one grid.

    Attributes:
        arm: its name.
        grid: folder of the grid's tables.
        row: the arm's row of the leaderboard.
        difference: against the rival, paired by seed.
        scenes: interval by seeds and scenes, of planned comparisons.
    """

    arm: str
    grid: str
    row: dict[str, Any]
    difference: dict[str, Any]
    scenes: list[float] | None

    def cells(self, figure: str) -> list[str]:
        """Text of each column."""
        found = self.difference
        interval = "" if found["low"] is None else f" [{found['low']:+.2f}, {found['high']:+.2f}]"
        both = "–" if self.scenes is None else f"[{self.scenes[0]:+.2f}, {self.scenes[1]:+.2f}]"
        chance = ["–" if found[key] is None else f"{found[key]:.2g}" for key in ("p", "holm")]
        mean = mean_text(self.row["metrics"][figure])
        return [self.arm, self.grid, str(len(found["seeds"])), mean, f"{found['delta']:+.2f}{interval}", both, *chance]


def main(argv: list[str]) -> int:
    """``python -m lit results overview FOLDER``."""
    parser = Arguments("results overview", __doc__ or "")
    parser.add_argument("folder", type=Path, help="such as docs/results")
    parser.add_argument("--out", type=Path, help=f"also write it here, such as docs/results/{OVERVIEW}")
    options = parser.parse_args(argv)
    text = overview(options.folder)
    if options.out is not None:
        write_atomically(options.out, text)
    print(text, end="")
    return 0


def overview(folder: Path, figure: str = FIGURE, rival: str = RIVAL) -> str:
    """Markdown tables, one for each data set, split and number of labelled frames, the largest gain first.

    Args:
        folder: of published grids, each with its tables and records.
        figure: the metric.
        rival: the arm that all are compared with.

    Raises:
        DatasetNotFound: no grid lies there.
        InputError: a table is ill-formed, or none has the metric and the rival.
    """
    grounds: dict[Ground, list[Gain]] = defaultdict(list)
    for archive in find_archives(folder):
        path = archive.parent / f"{TABLE_NAME}.json"
        if not path.is_file():
            raise DatasetNotFound(f"{path} does not exist; expected the table beside {RECORDS}; pack the sweep again")
        board = read_json(path, dict[str, Any], "a published table, as `python -m lit results pack` writes it")
        try:
            for ground, gain in _gains(board, archive.parent.name, figure, rival):
                grounds[ground].append(gain)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: {error!r} in a row; expected a leaderboard; pack the sweep again") from error
    if not grounds:
        raise InputError(f"{folder}: no grid has {figure} of an arm beside {rival}; expected at least one")
    parts = [
        f"# What each arm gained: {figure}",
        f"Every row is compared with `{rival}` of its own grid, paired by seed. Grids ran under different commits: "
        "that two rows differ is no result. What a grid's plan does not hold, which has no p after Holm's correction, "
        "is exploratory.",
    ]
    for ground in sorted(grounds):
        dataset, split, frames = ground
        gains = sorted(grounds[ground], key=lambda gain: (-gain.difference["delta"], gain.grid, gain.arm))
        parts.append(f"## {dataset}, {split}: {frames or 'all'} labelled frames")
        parts.append(markdown_table(HEADER, [gain.cells(figure) for gain in gains]))
    return "\n\n".join(parts) + "\n"


def _gains(board: dict[str, Any], grid: str, figure: str, rival: str) -> list[tuple[Ground, Gain]]:
    """What a leaderboard says of its arms."""
    planned = {
        (entry["dataset"], entry["split"], entry["frames"], entry["arm"]): entry["difference"]
        for entry in board["planned"]
        if entry["rival"] == rival and board["headline"] == figure and entry["difference"] is not None
    }
    found = []
    for row in board["rows"]:
        difference = row["metrics"].get(figure, {}).get("vs", {}).get(rival)
        if difference is None:
            continue
        place = (row["dataset"], row["split"], row["frames"], row["arm"])
        scenes = (planned.get(place, {}).get("two_level") or {}).get("both")
        ground = (row["dataset"], row["split"], row["frames"] or 0)
        found.append((ground, Gain(row["arm"], grid, row, difference, scenes)))
    return found

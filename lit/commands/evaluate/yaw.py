"""``evaluate yaw``: FID, Inception score and NFS of single-view generators against the yaw, together in one plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.typed_json import Finite
from lit.arguments import Arguments
from lit.commands.prepare.paths import named_path, typed_path

FILES = ("yaw_val.json", "yaw_test.json")
RUN_FORM = "NAME=FOLDER of a run, or NAME=FILE"
_WANTED = "the table that SingleViewScores leaves in a run's folder (yaw_val.json)"


class StoredYawTable(msgspec.Struct, rename={"score": "is"}):
    """``yaw_STAGE.json``."""

    yaw: Annotated[list[Finite], Meta(min_length=1)]
    fid: list[Finite | None] | None = None
    score: list[Finite | None] | None = None
    nfs: list[Finite | None] | None = None
    evaluator: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in (self.fid, self.score, self.nfs):
            if column is not None and len(column) != len(self.yaw):
                raise ValueError(f"{len(column)} figures for {len(self.yaw)} yaws, expected as many - at `$`")

    def columns(self) -> dict[str, list[float | None]]:
        """The columns that there are."""
        found: dict[str, list[float | None]] = {"yaw": [*self.yaw]}
        for name, column in (("fid", self.fid), ("is", self.score), ("nfs", self.nfs)):
            if column is not None:
                found[name] = column
        return found


def yaw(argv: list[str]) -> int:
    """Plot how the figures of several generators change with the yaw, and print the table."""
    parser = Arguments("evaluate yaw", "FID, Inception score and NFS against the yaw (G3DR, Table 6), in one plot.")
    parser.add_argument("--run", type=named_path(RUN_FORM), nargs="+", required=True, metavar="NAME=RUN", help=RUN_FORM)
    parser.add_argument("--plot", type=typed_path, help="PNG to write")
    parser.add_argument("--out", type=typed_path, help="JSON file")
    options = parser.parse_args(argv)
    from rich.table import Table

    from datamodules.images import write_image
    from lit.commands.report import tell
    from lit.pictures.yaw_curves import yaw_plot

    names = [name for name, _ in options.run]
    if len(set(names)) < len(names):
        raise InputError(f"--run {' '.join(names)}: expected different names")
    stored = {name: read_yaw_table(path) for name, path in options.run}
    if len({table.evaluator.get("name") for table in stored.values()}) > 1:
        raise InputError("--run: the tables name different evaluators, whose figures do not compare; score them alike")
    tables = {name: table.columns() for name, table in stored.items()}
    if options.plot:
        write_image(options.plot, yaw_plot(tables).transpose(2, 0, 1))
    shown = Table("generator", "yaw", "FID", "IS", "NFS", title="views turned by a yaw drawn within the range")
    for name, table in tables.items():
        for place, degrees in enumerate(table["yaw"]):
            cells = [table[kind][place] if kind in table else None for kind in ("fid", "is", "nfs")]
            shown.add_row(name, f"{degrees:g}", *("-" if cell is None else f"{cell:.4g}" for cell in cells))
    evaluator = next(iter(stored.values())).evaluator
    tell(shown, {"tables": tables, "evaluator": evaluator}, options.out)
    return 0


def read_yaw_table(path: Path) -> StoredYawTable:
    """The table of a run.

    Raises:
        InputError: no such file, or of another form.
    """
    from datamodules.files.typed_json import read_json

    found = path
    if path.is_dir():
        found = next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    return read_json(found, StoredYawTable, _WANTED)

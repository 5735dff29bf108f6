"""``python -m lit results pack``: a sweep's records and tables into a folder that can be published."""

from __future__ import annotations

import tempfile
from pathlib import Path

from datamodules.errors import InputError
from lit.arguments import Arguments
from lit.experiments.archive import RECORDS, absolute_paths, pack_records, unpack_records
from lit.leaderboard.board import read_board
from lit.leaderboard.files import TABLE_NAME, write_tables


def main(argv: list[str]) -> int:
    """``python -m lit results pack SWEEP --out FOLDER``."""
    parser = Arguments("results pack", __doc__ or "")
    parser.add_argument("sweep", type=Path, help="the sweep's folder, such as runs/world_augmentation")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, such as docs/results/NAME")
    parser.add_argument(
        "--rename",
        nargs="+",
        default=[],
        metavar="FOLDER=NAME",
        help="publish NAME where records name FOLDER, such as /srv/kitti=data/kitti; they say so",
    )
    options = parser.parse_args(argv)
    names = dict(map(renaming, options.rename))
    count = pack_records(options.sweep, options.out / RECORDS, names)
    if left := absolute_paths(options.out / RECORDS):
        print(f"note: the records hold {len(left)} absolute paths ({left[0]}); see --rename FOLDER=NAME")
    with tempfile.TemporaryDirectory() as folder:
        unpack_records(options.out / RECORDS, Path(folder))
        write_tables(read_board([Path(folder)]), options.out / f"{TABLE_NAME}.html")
    print(f"wrote {options.out}: {count} records, {TABLE_NAME}.json, .csv and .md")
    return 0


def renaming(text: str) -> tuple[str, str]:
    """A folder and the name it is published under, without slashes at their ends.

    Raises:
        InputError: it is not FOLDER=NAME.
    """
    folder, _, name = (part.rstrip("/") for part in text.partition("="))
    if not folder.startswith("/") or not name or name.startswith("/"):
        raise InputError(f"--rename {text}: expected FOLDER=NAME, an absolute path and a relative one")
    return folder, name

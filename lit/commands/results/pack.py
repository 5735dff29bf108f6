"""``python -m lit results pack``: a sweep's records and tables into a folder that can be published."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lit.arguments import Arguments
from lit.experiments.archive import RECORDS, pack_records, unpack_records
from lit.leaderboard.board import read_board
from lit.leaderboard.files import TABLE_NAME, write_tables


def main(argv: list[str]) -> int:
    """``python -m lit results pack SWEEP --out FOLDER``."""
    parser = Arguments("results pack", __doc__ or "")
    parser.add_argument("sweep", type=Path, help="the sweep's folder, such as runs/world_augmentation")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, such as docs/results/NAME")
    options = parser.parse_args(argv)
    count = pack_records(options.sweep, options.out / RECORDS)
    with tempfile.TemporaryDirectory() as folder:
        unpack_records(options.out / RECORDS, Path(folder))
        write_tables(read_board([Path(folder)]), options.out / f"{TABLE_NAME}.html")
    print(f"wrote {options.out}: {count} records, {TABLE_NAME}.json, .csv and .md")
    return 0

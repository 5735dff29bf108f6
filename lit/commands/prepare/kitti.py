"""``prepare kitti``: checks a KITTI object tree."""

from __future__ import annotations

from pathlib import Path

from datamodules.errors import DatasetNotFound
from lit.arguments import Arguments


def check_kitti(argv: list[str]) -> int:
    """Check a KITTI object tree and say what is there and what is missing; status 2 for a broken one."""
    parser = Arguments("prepare kitti", "Checks a KITTI object detection tree; names what is missing.")
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds training/ and ImageSets/")
    options = parser.parse_args(argv)
    from datamodules.kitti.datamodule import check_tree

    try:
        report = check_tree(options.root)
    except DatasetNotFound as error:
        print(error.tree)
        raise
    print(report)
    return 2 if report.problems else 0

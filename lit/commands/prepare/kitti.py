"""``prepare kitti``: checks a KITTI object tree."""

from __future__ import annotations

import argparse

from datamodules.errors import DatasetNotFound
from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path


def check_kitti(argv: list[str]) -> int:
    """Check a KITTI object tree and say what is there and what is missing; status 2 for a broken one."""
    parser = Arguments("prepare kitti", "Checks a KITTI object detection tree; names what is missing.")
    parser.add_argument("--root", type=typed_path, required=True, help="the folder that holds training/ and ImageSets/")
    parser.add_argument(
        "--class-map",
        type=renaming,
        nargs="+",
        default=[],
        metavar="NAME=CLASS",
        help="as data.class_map, such as car=Car",
    )
    options = parser.parse_args(argv)
    from datamodules.kitti.datamodule import check_tree

    try:
        report = check_tree(options.root, dict(options.class_map))
    except DatasetNotFound as error:
        print(error.tree)
        raise
    print(report)
    return 2 if report.problems else 0


def renaming(text: str) -> tuple[str, str]:
    """A name in the labels and the class it stands for, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    name, _, meant = text.partition("=")
    if not name or not meant:
        raise argparse.ArgumentTypeError(f"got '{text}', expected NAME=CLASS such as car=Car")
    return name, meant

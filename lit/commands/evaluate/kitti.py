"""``python -m lit evaluate kitti``: KITTI AP of result files."""

from __future__ import annotations

import re
from typing import Any

from rich.table import Table

from datamodules.errors import InputError, closest
from lit.arguments import Arguments
from lit.commands.report import tell, warned


def kitti(argv: list[str]) -> int:
    """KITTI AP40 and AP11 of result files against label files, as the C++ development kit."""
    from lit.metrics.kitti.evaluation import (  # imports torch: --help of the others stays quick
        VERSION,
        evaluate_folders,
    )

    parser = Arguments("evaluate kitti", "KITTI AP in percent: image box, ground rectangle, 3D box, orientation.")
    parser.add_argument("--gt", required=True, metavar="DIR", help="label files, such as training/label_2")
    parser.add_argument("--pred", required=True, metavar="DIR", help="result files, 16 columns")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    parser.add_argument("--split", metavar="FILE", help="evaluate only the ids in this file, such as ImageSets/val.txt")
    parser.add_argument(
        "--extra-ious", nargs="+", metavar="CLASS=IOU,..", help="further IoU limits, such as car=0.5,0.3 pedestrian=0.3"
    )
    parser.add_argument(
        "--depth-ranges", nargs="+", metavar="NEAR-FAR", help="cars by depth in metres, such as 0-20 20-40 40+"
    )
    parser.add_argument(
        "--class-map", nargs="+", default=[], metavar="NAME=CLASS", help="names in the files that mean KITTI's classes"
    )
    options = parser.parse_args(argv)
    depths = _depth_ranges(options.depth_ranges) if options.depth_ranges else None
    extra = _extra_ious(options.extra_ious) if options.extra_ious else None
    class_map = _class_map(options.class_map)
    result, texts = warned(lambda: evaluate_folders(options.gt, options.pred, extra, options.split, depths, class_map))
    tell(kitti_table(result, f"KITTI AP (%), {VERSION}"), result, options.out, texts)
    return 0


def kitti_table(result: dict[str, Any], title: str) -> Table:
    """The figures of :func:`lit.metrics.kitti.evaluate_folders` as a table; "-" where nothing was evaluated."""
    table = Table(title=title)
    for header in ("class", "metric", "AP40\neasy", "\nmod.", "\nhard", "AP11\neasy", "\nmod.", "\nhard"):
        table.add_column(header, justify="left" if header in ("class", "metric") else "right", no_wrap=True)
    for name, by_metric in result["ap40"].items():
        for metric, values in by_metric.items():
            figures = [*(values or [None] * 3), *(result["ap11"][name][metric] or [None] * 3)]
            cells = ["-" if figure is None else f"{figure:.2f}" for figure in figures]
            table.add_row(name, metric, *cells, end_section=metric == "aos")
    by_row: dict[tuple[str, str], list[str]] = {}
    for key, figure in result.get("extra", {}).items():
        name, metric, _, limit = key.split("/")
        by_row.setdefault((name, f"{metric} > {limit}"), []).append(f"{figure:.2f}")
    for key, figure in result.get("depth", {}).items():
        name, metric, _, limit, depth = key.split("/")
        by_row[(name, f"{metric} > {limit}, {depth}")] = ["", f"{figure:.2f}", ""]
    for (name, metric), cells in by_row.items():
        table.add_row(name, metric, *cells, "", "", "")
    return table


def _class_map(options: list[str]) -> dict[str, str]:
    from lit.metrics.kitti.row_checks import KNOWN_CLASSES  # as above

    found: dict[str, str] = {}
    for option in options:
        name, _, meant = option.partition("=")
        if not name or meant.lower() not in KNOWN_CLASSES:
            known = [known.capitalize() for known in KNOWN_CLASSES]
            raise InputError(
                f"--class-map {option!r}: expected NAME=CLASS with a class of {', '.join(known)}{closest(meant, known)}"
            )
        found[name] = meant
    return found


def _extra_ious(options: list[str]) -> dict[str, list[float]]:
    extra: dict[str, list[float]] = {}
    for option in options:
        name, _, limits = option.partition("=")
        try:
            extra[name.lower()] = [float(limit) for limit in limits.split(",")]
        except ValueError:
            raise InputError(f"--extra-ious {option!r}: expected CLASS=IOU,.. such as car=0.5,0.3") from None
    return extra


def _depth_ranges(options: list[str]) -> list[list[float | None]]:
    ranges: list[list[float | None]] = []
    for option in options:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\+|-(\d+(?:\.\d+)?))", option, re.ASCII)
        if match is None:
            raise InputError(f"--depth-ranges {option!r}: expected NEAR-FAR in metres, such as 0-20 or 40+")
        ranges.append([float(match[1]), None if match[2] is None else float(match[2])])
    return ranges

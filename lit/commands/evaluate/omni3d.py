"""``python -m lit evaluate omni3d``: AP2D and AP3D of a result file."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from lit.arguments import Arguments
from lit.commands.report import tell, warned


def omni3d(argv: list[str]) -> int:
    """AP2D and AP3D of a result file against a file of Omni3D, as Cube R-CNN's evaluation."""
    parser = Arguments("evaluate omni3d", "AP2D and AP3D in percent, as Omni3D's evaluation of one data set.")
    parser.add_argument("--gt", required=True, metavar="FILE.json", help="a file of Omni3D, such as KITTI_test.json")
    parser.add_argument(
        "--pred",
        required=True,
        metavar="FILE.json",
        help="omni3d_results.json of a run, or omni_instances_results.json",
    )
    parser.add_argument(
        "--categories",
        nargs="+",
        metavar="NAME",
        help="evaluated ones (default: all of the file; published KITTI figures: car cyclist pedestrian truck van)",
    )
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)
    from lit.metrics.omni3d.evaluation import VERSION, evaluate_files  # imports torch: --help stays quick

    result, texts = warned(lambda: evaluate_files(options.gt, options.pred, options.categories))
    tell(omni3d_table(result, f"Omni3D AP (%), {VERSION}"), result, options.out, texts)
    return 0


def omni3d_table(result: dict[str, Any], title: str) -> Table:
    """The figures of :func:`lit.metrics.omni3d.evaluation.evaluate_files` as a table; "-" where nothing is labelled."""
    table = Table("", "AP2D", "AP3D", title=title)
    for name, figures in result["classes"].items():
        table.add_row(name, _cell(figures["AP2D"]), _cell(figures["AP3D"]))
    table.add_section()
    table.add_row("all classes", _cell(result["AP2D"]), _cell(result["AP3D"]))
    for name, value in result.items():
        mode, _, part = name.partition("/")
        if part:
            cells = (_cell(value), "") if mode == "AP2D" else ("", _cell(value))
            table.add_row(f"{'IoU ' if part[0].isdigit() else ''}{part}", *cells)
    table.caption = (
        f"{result['images']} images, {result['labels']} labels, {result['ignored']} ignored, "
        f"{result['predictions']} predictions"
    )
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

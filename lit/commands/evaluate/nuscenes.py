"""``python -m lit evaluate nuscenes``: mAP, NDS and true positive errors of a submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from lit.arguments import Arguments
from lit.commands.report import tell, warned


def nuscenes(argv: list[str]) -> int:
    """nuScenes mAP, NDS and true positive errors of a submission, as nuscenes-devkit."""
    parser = Arguments(
        "evaluate nuscenes", "nuScenes detection metrics (detection_cvpr_2019): mAP, NDS and five errors."
    )
    parser.add_argument("--pred", required=True, metavar="FILE.json", help="predictions, official submission format")
    parser.add_argument("--gt", metavar="FILE.json", help="ground truth in one file")
    parser.add_argument("--dataroot", metavar="DIR", help="ground truth from an official nuScenes folder instead")
    parser.add_argument("--version", metavar="VERSION", help="its version, such as v1.0-trainval")
    parser.add_argument("--split", metavar="SPLIT", help="train, val, mini_val, .. or a text file of scene names")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)
    folder = (options.dataroot, options.version, options.split)
    if (options.gt is None) == (None in folder) or (options.gt is not None and any(folder)):
        parser.error("expected either --gt FILE.json, or --dataroot DIR --version V --split S")

    from datamodules.nuscenes.tables import read_dataset
    from lit.metrics.nuscenes.evaluation import (  # imports torch: --help stays quick
        SHORT,
        VERSION,
        evaluate_files,
        evaluate_submission,
    )

    if options.gt is not None:
        result, texts = warned(lambda: evaluate_files(options.gt, options.pred))
    else:
        place = f"split {options.split} of {Path(options.dataroot) / options.version}"
        result, texts = warned(lambda: evaluate_submission(read_dataset(*folder), options.pred, place))
    tell(nuscenes_table(result, f"nuScenes detection, {VERSION}"), result, options.out, texts)
    means = {"mAP": result["mean_ap"], "NDS": result["nd_score"]}
    means |= {f"m{short}": result["tp_errors"][error] for error, short in SHORT.items()}
    print("  ".join(f"{name} {value:.4f}" for name, value in means.items()))
    return 0


def nuscenes_table(result: dict[str, Any], title: str) -> Table:
    """The figures of :func:`lit.metrics.nuscenes.evaluate_files` as a table; "-" where a class has no such error."""
    from lit.metrics.nuscenes.evaluation import SHORT  # imports torch: --help stays quick

    limits = list(next(iter(result["label_aps"].values())))
    table = Table(
        title=title, box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )  # so that eleven columns fit 80 characters
    table.add_column("class", no_wrap=True)
    for header in ("AP", *(f"{float(limit):g} m" for limit in limits), *SHORT.values()):
        table.add_column(header, justify="right", no_wrap=True)
    for name, aps in result["label_aps"].items():
        errors = result["label_tp_errors"][name]
        cells = [result["mean_dist_aps"][name], *aps.values(), *(errors[error] for error in SHORT)]
        table.add_row(name, *map(_cell, cells))
    return table


def _cell(value: float | None) -> str:
    """Five characters for anything below 100."""
    return "-" if value is None else f"{value:.{3 if value < 9.9995 else 2}f}"

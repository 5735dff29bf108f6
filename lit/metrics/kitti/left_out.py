"""What an evaluation of folders leaves out, said in words: nothing is skipped in silence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterator

from lit.metrics.kitti.rows import ALPHA, EVALUATED, Table


def warn_of_left_out(
    gt_dir: str | os.PathLike[str], pred_dir: str | os.PathLike[str], labelled: Collection[str], gt: Table, pred: Table
) -> None:
    """Warn of files that are not read, of classes that nothing matches, and of labels without alpha.

    Args:
        gt_dir: folder of the labels.
        pred_dir: folder of the results.
        labelled: ids that have a label file.
        gt: labels of the evaluated frames.
        pred: their results.
    """
    for text in [*_files(gt_dir, labelled, "label"), *_files(pred_dir, labelled, "result"), *_rows(gt, pred)]:
        warnings.warn(text, stacklevel=3)


def _files(folder: str | os.PathLike[str], labelled: Collection[str], kind: str) -> Iterator[str]:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if others := [name for name in names if not name.endswith(".txt")]:
        yield f"{folder}: {len(others)} files and folders are no .txt and were left out (first {others[0]})"
    wanted = set(labelled)
    foreign = [name for name in names if name.endswith(".txt") and name[:-4] not in wanted]
    if foreign and kind == "result":
        yield f"{folder}: {len(foreign)} result files are of no labelled frame and were left out (first {foreign[0]})"


def _rows(gt: Table, pred: Table) -> Iterator[str]:
    cure = "correct their class names, or say with --class-map NAME=CLASS what they are"
    for table, what in ((gt, "label"), (pred, "result")):
        if len(table.rows) and not (table.rows[:, 0] < len(EVALUATED)).any():
            yield f"no {what} is of a class that KITTI evaluates ({', '.join(EVALUATED)}): {cure}"
    if missing := int((gt.rows[gt.rows[:, 0] < len(EVALUATED), ALPHA] == -10).sum()):
        yield (
            f"{missing} labels have no alpha (-10): orientation similarity (aos) compares with -10, as the C++ "
            "development kit does; it means nothing"
        )

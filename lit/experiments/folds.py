"""Cross-validation: the runs that evaluate the parts of a data set in turn, taken as one run that evaluates the whole.

A metric of such a run is the mean over its folds. Detections of the folds are not pooled: scores of detectors that were
trained apart need not mean the same. Frames (and drives) of all folds are resampled together, each under its own fold's
detector. Reference: S. Arlot and A. Celisse, A survey of cross-validation procedures, Statistics Surveys 2010.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from datamodules.errors import InputError
from lit.experiments.two_level import RecordedRun
from lit.provenance import hash_of_values
from lit.results import Result


@dataclass(frozen=True)
class RecordedFolds:
    """What the runs of all folds recorded frame by frame, as of one run.

    Attributes:
        folds: one a fold; no frame is in two.
    """

    folds: tuple[RecordedRun, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        """Ids of the frames, fold after fold."""
        return tuple(sample for fold in self.folds for sample in fold.samples)

    @property
    def groups(self) -> tuple[str, ...]:
        """The drive or scene of each frame."""
        return tuple(group for fold in self.folds for group in fold.groups)

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        """A figure's mean over the folds, over some frames (indices, with repeats); None for each once.

        A fold of which no frame was drawn does not count.
        """
        if frames is None:
            return float(np.mean([fold.ap(figure) for fold in self.folds]))
        ends = np.cumsum([len(fold.samples) for fold in self.folds])
        of_fold = np.searchsorted(ends, frames, side="right")
        own = [(fold, frames[of_fold == k] - (ends[k] - len(fold.samples))) for k, fold in enumerate(self.folds)]
        return float(np.mean([fold.ap(figure, drawn) for fold, drawn in own if len(drawn)]))


def averaged(runs: Sequence[RecordedRun]) -> RecordedRun:
    """What one run recorded, or the runs of all folds."""
    return runs[0] if len(runs) == 1 else RecordedFolds(tuple(runs))


def over_folds(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Records with those of a run's folds as one, of the split "3 folds", its metrics their means.

    Folds are of one run where they agree in all but the fold: options, code, libraries, contents, evaluator. Records
    without a fold, and of failed runs, stay as they are.

    Returns:
        The records, and a line for each run that is left out because folds of it are missing.

    Raises:
        InputError: two records of one fold of a run.
    """
    found: list[Result] = []
    runs: dict[tuple[object, ...], dict[int, Result]] = defaultdict(dict)
    for result in results:
        if result.fold is None or result.error is not None:
            found.append(result)
            continue
        number, count = result.fold
        of_run = (result.dataset, result.split, result.arm, result.frames, result.seed, count)
        folds = runs[(*of_run, result.recipe, result.evaluator)]
        if number in folds:
            raise InputError(
                f"{result.path} and {folds[number].path}: two records of fold {number} of arm {result.arm}, seed "
                f"{result.seed}, expected one; give the folder of one sweep"
            )
        folds[number] = result
    lines = []
    for folds in runs.values():
        parts = [folds[number] for number in sorted(folds)]
        one, count = parts[0], parts[0].fold[1]  # type: ignore[index]  # it has one
        if len(parts) == count:
            found.append(_as_one(parts))
        else:
            numbers = ", ".join(map(str, sorted(folds)))
            lines.append(
                f"{one.arm} at {one.frames or 'all'} frames, seed {one.seed}: of {count} folds only {numbers} with the "
                "same options, code and data"
            )
    return found, lines


def _as_one(folds: list[Result]) -> Result:
    """One record of a run's folds, in their order; a metric that one of them lacks is left out."""
    first = folds[0]
    names = [name for name in first.metrics if all(name in fold.metrics for fold in folds)]
    metrics = {name: float(np.mean([fold.metrics[name] for fold in folds])) for name in names}
    config = hash_of_values([fold.key.config for fold in folds if fold.key])
    key = first.key and msgspec.structs.replace(first.key, config=config)
    split = f"{len(folds)} folds" if first.split == "val" else f"{first.split}, {len(folds)} folds"
    return replace(first, split=split, metrics=metrics, key=key, fold=None, parts=tuple(folds))

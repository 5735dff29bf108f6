"""Cross-validation: the runs that evaluate the parts of a data set in turn, taken as one run that evaluates the whole.

A metric of such a run is the mean over its folds. Detections of the folds are not pooled: scores of detectors that were
trained apart need not mean the same. Frames (and drives) of all folds are resampled together, each under its own fold's
detector. Reference: S. Arlot and A. Celisse, A survey of cross-validation procedures, Statistics Surveys 2010.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from datamodules.errors import InputError, listed
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


def over_folds(results: Sequence[Result]) -> list[Result]:
    """Records with those of a run's folds as one, of the split "3 folds": means of metrics, and the raw files of all.

    A run of which a fold is missing or failed is left out, with a warning. Records without a fold stay as they are.

    Raises:
        InputError: two records of one fold of a run, or folds that differ in more than the fold.
    """
    found: list[Result] = []
    apart: dict[tuple[Any, ...], dict[int, Result]] = defaultdict(dict)
    for result in results:
        if result.fold is None or result.error is not None:
            found.append(result)
            continue
        number, count = result.fold
        folds = apart[result.dataset, result.split, result.arm, result.frames, result.seed, count]
        if number in folds:
            raise InputError(
                f"{result.path} and {folds[number].path}: two records of fold {number} of arm {result.arm}, seed "
                f"{result.seed}, expected one; give the folder of one sweep"
            )
        folds[number] = result
    partial = [(key, folds) for key, folds in apart.items() if len(folds) < key[-1]]
    if partial:
        named = (f"{key[2]} (seed {key[4]}, {len(folds)} of {key[-1]})" for key, folds in partial)
        warnings.warn(f"left out, not all folds are there: {listed(named, 5)}", stacklevel=2)
    whole = [folds for key, folds in apart.items() if len(folds) == key[-1]]
    return found + [_as_one([folds[number] for number in sorted(folds)]) for folds in whole]


def _as_one(folds: list[Result]) -> Result:
    """One record of a run's folds, in their order.

    Raises:
        InputError: they differ in more than the fold.
    """
    first = folds[0]
    for fold in folds[1:]:
        if fold.ground != first.ground:
            raise InputError(
                f"{fold.path} and {first.path}: folds of one run with other code, libraries or data, expected the "
                "same; run the sweep again with --otherwise again"
            )
    names = [name for name in first.metrics if all(name in fold.metrics for fold in folds)]
    metrics = {name: float(np.mean([fold.metrics[name] for fold in folds])) for name in names}
    summed = ("injected_objects", "duration_seconds")
    content = first.content | {key: _total(folds, key) for key in summed}
    recipe = hash_of_values([fold.recipe for fold in folds])
    raw = tuple(file for fold in folds for file in fold.raw)
    config = hash_of_values([fold.key.config for fold in folds if fold.key])
    key = first.key and msgspec.structs.replace(first.key, config=config)
    split = f"{len(folds)} folds"
    return replace(first, split=split, metrics=metrics, content=content, key=key, recipe=recipe, fold=None, raw=raw)


def _total(folds: Sequence[Result], key: str) -> float | None:
    """Sum of a number of the records; None where one does not say it."""
    values = [fold.content.get(key) for fold in folds]
    return None if any(value is None for value in values) else float(sum(values))  # type: ignore[arg-type]

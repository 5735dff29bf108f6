"""nuScenes metrics of what a detector predicts, and its submission file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import CLASS_RANGES, GlobalBoxes, SampleTruth
from datamodules.nuscenes.format import write_submission
from lit.callbacks.frame_names import leave_frames
from lit.metrics.nuscenes.evaluation import VERSION, NuscenesDetection, flatten, gather_samples
from lit.metrics.nuscenes.sample_matches import RecordedSamples, write_matches
from lit.metrics.sample_keys import sample_key


@runtime_checkable
class NuscenesScoring(Protocol):
    """How a batch and a detector's outputs become what is evaluated; a data module may provide it."""

    def sample_truths(self, batch: Any) -> Sequence[tuple[str, SampleTruth]]:
        """Sample tokens and ground truth of a batch."""
        ...

    def sample_predictions(self, outputs: Any, batch: Any) -> Sequence[tuple[str, GlobalBoxes]]:
        """Sample tokens and predictions, in the global frame, from what a validation or test step returned."""
        ...


class DirectScoring:
    """Batches with ``sample_ids`` and ``truths``, steps that return (sample token, GlobalBoxes) pairs."""

    def sample_truths(self, batch: Any) -> Sequence[tuple[str, SampleTruth]]:
        """The batch's own values."""
        return list(zip(batch.sample_ids, batch.truths, strict=True))

    def sample_predictions(self, outputs: Any, batch: Any) -> Sequence[tuple[str, GlobalBoxes]]:
        """The outputs as they are."""
        return list(outputs)


def checked_ranges(ranges: dict[str, float]) -> dict[str, float]:
    """The same.

    Raises:
        InputError: a range of another class, or none.
    """
    for name, reach in ranges.items():
        if name not in CLASS_RANGES or not 0 < reach < math.inf:
            known = ", ".join(CLASS_RANGES)
            raise InputError(f"class_range {name}: {reach:g}: expected metres above 0 of one of {known}")
    return ranges


class NuscenesMetrics(pl.Callback):
    """Scores the predictions that ``validation_step`` and ``test_step`` return, over all ranks, by sample token.

    Logs "nuscenes/mAP", "nuscenes/NDS", "nuscenes/mATE", "nuscenes/car/AP", "nuscenes/car/AP/2.0", "nuscenes/car/ATE"
    and their like. ``test`` also writes the official submission file, with every sample of all ranks once. Beside the
    run's record it leaves what each sample adds to AP (``sample_matches_val_*.npz``, ``sample_matches_test_*.npz``; see
    :mod:`lit.metrics.nuscenes.sample_matches`), from which intervals over scenes are computed.

    Args:
        scoring: how batches and outputs are read; None asks the data module when it has the two methods of
            :class:`NuscenesScoring`, else :class:`DirectScoring`.
        path: the submission file; None means ``results_nusc.json`` in the run's folder.
        prefixes: log only figures whose name, without "nuscenes/", starts with one of these; None logs all.
        meta: which inputs the detector uses, for the submission; None means the camera alone.
        class_range: class to metres from the car within which its boxes count, as the devkit's configuration has it
            and in place of the benchmark's 30 to 50 m: for small pictures, which do not show so far. Recorded beside
            the figures.

    Raises:
        InputError: a range of another class, or none.

    Attributes:
        raw: on rank zero, split ("val", "test") to ``{"file": name in the run's folder, "sha256": of its content}``.
    """

    def __init__(
        self,
        scoring: NuscenesScoring | None = None,
        path: str | None = None,
        prefixes: Sequence[str] | None = None,
        meta: dict[str, bool] | None = None,
        class_range: dict[str, float] | None = None,
    ) -> None:
        self.scoring, self.path, self.meta = scoring, path, meta
        self.prefixes = tuple(prefixes) if prefixes is not None else None
        self.metric = NuscenesDetection(traced=True, ranges=checked_ranges(class_range or {}))
        self.names: dict[int, str] = {}
        self.raw: dict[str, dict[str, str]] = {}
        self.predicted: dict[str, GlobalBoxes] = {}
        ranges = [f"; {name} within {reach:g} m" for name, reach in (class_range or {}).items()]
        self.evaluator = {"name": "nuscenes", "version": VERSION + "".join(ranges)}

    def _scoring(self, trainer: pl.Trainer) -> NuscenesScoring:
        if self.scoring is not None:
            return self.scoring
        datamodule = getattr(trainer, "datamodule", None)
        return datamodule if isinstance(datamodule, NuscenesScoring) else DirectScoring()

    def _update(self, trainer: pl.Trainer, outputs: Any, batch: Any) -> dict[str, GlobalBoxes]:
        scoring = self._scoring(trainer)
        truths = dict(scoring.sample_truths(batch))
        found = dict(scoring.sample_predictions(outputs, batch))
        if set(found) != set(truths):
            names = f"{', '.join(sorted(found)) or 'none'}, expected {', '.join(sorted(truths)) or 'none'}"
            raise ValueError(f"predictions for the samples {names}: return one entry for each sample of the batch")
        self.metric.update(list(truths), list(truths.values()), [found[token] for token in truths])
        self.names.update({sample_key(token): token for token in truths})
        return found

    def _write(self, trainer: pl.Trainer) -> None:
        """Gather the predictions of all ranks and write them on the first, ordered as the metric orders them."""
        samples = gather_samples(self.predicted)
        if trainer.is_global_zero:
            path = Path(self.path) if self.path is not None else Path(trainer.default_root_dir) / "results_nusc.json"
            write_submission(path, samples, self.meta)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metric.reset()
        self.metric.to(pl_module.device)
        self.predicted, self.names = {}, {}

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        self._update(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        for token, boxes in self._update(trainer, outputs, batch).items():
            self.predicted.setdefault(token, boxes)  # of a repeated sample the metric, too, keeps the first

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "test")
        self._write(trainer)

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        figures = flatten(self.metric.compute())
        if self.prefixes is not None:
            figures = {name: value for name, value in figures.items() if name.startswith(self.prefixes)}
        pl_module.log_dict({f"nuscenes/{name}": value for name, value in figures.items()}, sync_dist=True)
        traced = self.names, self.metric.trace, self.evaluator
        if left := leave_frames(trainer, f"sample_matches_{split}", *traced, RecordedSamples, write_matches):
            self.raw[split] = left

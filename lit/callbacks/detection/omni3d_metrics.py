"""AP2D and AP3D of what a detector predicts, and its result file for Omni3D's own evaluation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
from torch import distributed

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.omni3d.camera_boxes import CameraBoxes, predicted_boxes, truth_boxes
from datamodules.omni3d.rows import pinhole_pose, rows_of
from datamodules.scene import Batch, Objects
from lit.callbacks.frame_names import leave_frames
from lit.metrics.omni3d.evaluation import VERSION, Omni3DAP, flatten
from lit.metrics.omni3d.recorded_pictures import RecordedPictures, write_pictures
from lit.metrics.sample_keys import sample_key


@runtime_checkable
class Omni3DScoring(Protocol):
    """How a batch and a detector's outputs become what is evaluated; a data module may provide it."""

    def omni3d_truths(self, batch: Batch) -> Sequence[CameraBoxes]:
        """Annotations of each picture, as stored."""
        ...

    def omni3d_predictions(self, outputs: Sequence[Objects], batch: Batch) -> Sequence[CameraBoxes]:
        """Predictions for each picture in the same frame and pixels."""
        ...

    def omni3d_results(self, found: Mapping[str, CameraBoxes]) -> list[dict[str, Any]]:
        """Rows of a result file of predictions by sample id."""
        ...


class LabelScoring:
    """Any batch of labelled frames: annotations are what :func:`datamodules.omni3d.rows.rows_of` makes of its labels.

    So AP2D and AP3D of a run on a KITTI folder are those on the file that ``prepare omni3d`` writes of it, but for the
    rectangles: predicted ones are compared with projected boxes whatever the detector was taught.
    """

    def omni3d_truths(self, batch: Batch) -> list[CameraBoxes]:
        """The batch's labels."""
        pairs = zip(batch.objects, batch.cameras, strict=True)
        return [truth_boxes(rows_of(one, camera)[0], camera.height, one.names) for one, camera in pairs]

    def omni3d_predictions(self, outputs: Sequence[Objects], batch: Batch) -> list[CameraBoxes]:
        """The outputs, seen from each picture's pinhole camera."""
        found = []
        for objects, camera in zip(outputs, batch.cameras, strict=True):
            pose = pinhole_pose(camera.pinhole()[0], camera.projection)
            found.append(predicted_boxes(objects, pose, np.eye(3)))
        return found

    def omni3d_results(self, found: Mapping[str, CameraBoxes]) -> list[dict[str, Any]]:
        """None: there is no file whose numbers they could have."""
        return []


class Omni3DMetrics(pl.Callback):
    """Scores the predictions that ``validation_step`` and ``test_step`` return, over all ranks, by sample id.

    Logs "omni3d/AP2D", "omni3d/AP3D", "omni3d/AP3D/0.25", "omni3d/AP3D/near", "omni3d/Car/AP3D" and their like, in
    percent. ``test`` and ``predict`` also write the result file for Omni3D's own evaluation, where the data are a file
    of Omni3D. Beside the run's record it leaves what each picture adds to the figures (``picture_matches_val_*.npz``,
    ``picture_matches_test_*.npz``; see :mod:`lit.metrics.omni3d.recorded_pictures`), from which intervals over pictures
    or drives are computed.

    Args:
        classes: names that are evaluated; None takes what the detector learns.
        path: the result file; None means ``omni3d_results.json`` in the run's folder.
        prefixes: log only figures whose name, without "omni3d/", starts with one of these; None logs all.

    Attributes:
        raw: on rank zero, split ("val", "test") to ``{"file": name in the run's folder, "sha256": of its content}``.
    """

    def __init__(
        self, classes: Sequence[str] | None = None, path: str | None = None, prefixes: Sequence[str] | None = None
    ) -> None:
        self.classes, self.path = classes, path
        self.prefixes = tuple(prefixes) if prefixes is not None else None
        self.metric = Omni3DAP(classes or ())
        self.predicted: dict[str, CameraBoxes] = {}
        self.names: dict[int, str] = {}
        self.raw: dict[str, dict[str, str]] = {}
        self.evaluator = {"name": "omni3d", "version": VERSION}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See before a training, not after it, that there is something to score.

        Raises:
            InputError: the detector does not learn an evaluated class, or no label of any in a file of Omni3D counts.
        """
        learnt = getattr(getattr(pl_module, "detector", None), "classes", None)
        lost = [name for name in self.classes or () if learnt is not None and name not in learnt]
        if lost:
            raise InputError(
                f"Omni3DMetrics' classes {', '.join(lost)}: the detector learns {', '.join(learnt or ())}, "
                "expected some of these; set model.detector.classes, or data.spelling where names are spelled otherwise"
            )
        counted = getattr(getattr(trainer, "datamodule", None), "omni3d_counted", None)
        classes = self.classes or learnt
        if counted is None or classes is None or stage == "predict":
            return
        if not any(name in classes for name in counted()):
            named = ", ".join(f"{count} {name}" for name, count in Counter(counted()).most_common(12)) or "none at all"
            raise InputError(
                f"Omni3DMetrics: the validation file has no label of {', '.join(classes)} that counts "
                f"(of others: {named}), expected at least one; evaluate other classes, or name them by data.class_map"
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        learnt: Any = getattr(pl_module, "detector", pl_module)
        self.metric = Omni3DAP(self.classes or learnt.classes)
        self.metric.to(pl_module.device)
        self.predicted, self.names = {}, {}

    on_test_epoch_start = on_validation_epoch_start

    def on_predict_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.predicted = {}

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        scoring = scoring_of(trainer)
        found = scoring.omni3d_predictions(outputs, batch)
        self.metric.update(batch.sample_ids, scoring.omni3d_truths(batch), found)
        self.names.update({sample_key(sample_id): sample_id for sample_id in batch.sample_ids})

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        self._keep(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, batch)
        self._keep(trainer, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "test")
        self._write(trainer)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        figures = flatten(self.metric.compute())
        if self.prefixes is not None:
            figures = {name: value for name, value in figures.items() if name.startswith(self.prefixes)}
        # All ranks hold the same figures.
        pl_module.log_dict({f"omni3d/{name}": value for name, value in figures.items()}, sync_dist=True)
        traced = self.names, self.metric.trace, self.evaluator
        if left := leave_frames(trainer, f"picture_matches_{split}", *traced, RecordedPictures, write_pictures):
            self.raw[split] = left

    def _keep(self, trainer: pl.Trainer, outputs: Any, batch: Batch) -> None:
        found = scoring_of(trainer).omni3d_predictions(outputs, batch)
        for sample_id, boxes in zip(batch.sample_ids, found):
            self.predicted.setdefault(sample_id, boxes)  # of a repeated sample the metric, too, keeps the first

    def _write(self, trainer: pl.Trainer) -> None:
        """Gather the predictions of all ranks and write them on the first."""
        found = gather_boxes(self.predicted)
        rows = scoring_of(trainer).omni3d_results(found) if trainer.is_global_zero else []
        if rows:
            path = Path(self.path) if self.path is not None else Path(trainer.default_root_dir) / "omni3d_results.json"
            write_atomically(path, json.dumps(rows))


def scoring_of(trainer: pl.Trainer) -> Omni3DScoring:
    """The data module where it knows Omni3D's annotations, else what makes them of any labels."""
    datamodule = getattr(trainer, "datamodule", None)
    return datamodule if isinstance(datamodule, Omni3DScoring) else LabelScoring()


def gather_boxes(found: Mapping[str, CameraBoxes]) -> dict[str, CameraBoxes]:
    """Predictions of all ranks by sample id, in the order of the ids; every rank has to ask."""
    shards: list[dict[str, CameraBoxes]] = [dict(found)]
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        shards = [{}] * distributed.get_world_size()
        distributed.all_gather_object(shards, dict(found))
    joined: dict[str, CameraBoxes] = {}
    for shard in shards:
        for sample_id, boxes in shard.items():
            joined.setdefault(sample_id, boxes)
    return {sample_id: joined[sample_id] for sample_id in sorted(joined)}

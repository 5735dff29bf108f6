"""Leaves one ``result.json`` a run."""

from __future__ import annotations

import platform
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import msgspec
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.scene import REAL, Batch, Frame
from lit.callbacks.injected import InjectedObjects
from lit.callbacks.logged import log_configuration
from lit.provenance import RunKey, git_commit, run_key
from lit.results import SCHEMA, result_file, write_record

ENOUGH = 100  # images after which it is no chance that nothing was injected


class Record(pl.Callback):
    """Counts what a run did and writes ``result.json`` once, after its last evaluation.

    Args:
        arm: name of the augmentation that is compared ("none", "lift3d").
        frames: number of labelled frames, as the leaderboard groups by it; by default the data's ``train_frames``.
        varied: options whose content changes with the seed by plan, such as "data.injection.source.folder" where every
            seed has a bank of its own: the seeds still make one row.
        samples: number of training frames with injected objects kept as a picture, 0 for none.
    """

    def __init__(
        self, arm: str | None = None, frames: int | None = None, varied: list[str] | None = None, samples: int = 4
    ) -> None:
        self.arm, self.frames, self.varied, self.samples = arm, frames, varied or [], samples
        self.config: dict[str, Any] = {}
        self.key: RunKey | None = None
        self.trained: dict[str, str] | None = None
        self.metrics: dict[str, float] = {}
        self.metrics_step = -1
        self._counts = {"images": 0.0, "seconds": 0.0}
        self._objects = InjectedObjects()
        self._fold: dict[str, Any] | None = None
        self._trained_fold: dict[str, Any] | None = None  # of the checkpoint
        self._source: dict[str, Any] = {"pool": None, "name": None}
        self._kept: list[Frame] = []
        self._started = time.perf_counter()
        self._mark = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the run's key before anything is read, so that later changes of the files do not enter it.

        The first process alone reads for it: it writes the checkpoints and the record.
        """
        if self.key is None and stage != "predict" and trainer.is_global_zero:
            self.key = run_key(self.config, varied=self.varied)
            log_configuration(trainer, self.config)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark = time.perf_counter()
        self._fold = fold_of(trainer)
        data = getattr(trainer, "datamodule", None)
        self.frames = self.frames or getattr(data, "train_frames", None)
        source, reach = getattr(getattr(data, "injection", None), "source", None), getattr(data, "reach", None)
        named = None if source is None else type(source).__name__
        self._source = {"pool": getattr(source, "pool", None), "name": named, "reach": reach and asdict(reach)}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not isinstance(batch, Batch):
            return
        self._counts["images"] += len(batch)
        self._objects.count(batch)
        for index, objects in enumerate(batch.objects):
            if len(self._kept) < self.samples and (objects.provenance != REAL).any():
                image = batch.images[index].detach().cpu().numpy().copy()
                self._kept.append(Frame(image, batch.cameras[index], objects, batch.sample_ids[index]))

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        now = time.perf_counter()
        self._counts["seconds"] += now - self._mark
        self._mark = now

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._evaluation = time.perf_counter()
        self._require_fold(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._require_fold(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark += time.perf_counter() - self._evaluation
        self._take(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take(trainer)

    def state_dict(self) -> dict[str, Any]:
        trained = self.key and {"digest": self.key.digest, "recipe": self.key.recipe, "ground": self.key.ground}
        # Lightning asks every process; the first alone takes it back, so that a resumed run counts nothing twice.
        objects = self._objects.over_ranks().state()
        named = {"trained": trained, "arm": self.arm, "frames": self.frames, "source": self._source, "fold": self._fold}
        return {"counts": dict(self._counts), "objects": objects, **named}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._counts.update(state_dict["counts"])
        alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
        if alone or torch.distributed.get_rank() == 0:
            self._objects.add(state_dict["objects"])
        self.trained, self._source = state_dict["trained"], state_dict["source"]
        self.arm = self.arm or state_dict["arm"]  # scores of a checkpoint belong to the arm that trained it
        self.frames = self.frames or state_dict["frames"]
        self._trained_fold = state_dict.get("fold")

    def write(self, trainer: pl.Trainer, split: str, command: str = "fit") -> Path:
        """Write the record (rank zero only; the counts of all ranks are summed).

        Args:
            trainer: the trainer whose run has ended.
            split: the split the metrics were measured on.
            command: what ran; a training's record is replaced by a training alone.
        """
        counts = {key: self._summed(trainer, value) for key, value in self._counts.items() if key != "seconds"}
        objects = self._objects.over_ranks()
        seconds = self._counts["seconds"]
        path = Path(trainer.default_root_dir) / result_file(command)
        if not trainer.is_global_zero:
            return path
        record = {
            "schema": SCHEMA,
            "arm": self.arm,
            "frames": self.frames,
            "seed": int(self.config.get("seed_everything") or 0),
            "fold": (fold_of(trainer) or {}).get("fold"),
            "dataset": dataset_name(trainer),
            "split": split,
            "human_labels": getattr(getattr(trainer, "datamodule", None), "human_labels", None),
            "metrics": self.metrics,
            "evaluator": evaluator(trainer),
            "raw": raw_records(trainer, split),
            "steps": trainer.global_step,
            "effective_batch": getattr(trainer.lightning_module, "effective_batch", None),
            "injected_objects": objects.injected,
            "injected": objects.summary(self._source["pool"], self._source["name"]),
            "placement": self._source.get("reach"),
            "labelled": objects.labelled(),
            "images_per_second": round(counts["images"] / seconds, 3) if seconds and counts["images"] else None,
            "duration_seconds": round(time.perf_counter() - self._started, 3),
            "device": device_name(trainer),
            "key": self.key and msgspec.to_builtins(self.key),
            "trained": self._origin(command),
            "git_commit": git_commit(),
            "config": self.config,
            "samples": self._write_samples(path.parent),
        }
        write_record(path, record)
        if command == "fit" and self._source["name"] and not objects.injected and counts["images"] >= ENOUGH:
            warnings.warn(
                f"nothing was injected into {counts['images']:.0f} images, expected objects of {self._source['name']}; "
                "look at `python -m lit show CONFIG`, then loosen placement or source of data.injection",
                stacklevel=2,
            )
        return path

    def _require_fold(self, trainer: pl.Trainer) -> None:
        """Refuse to score a fold's weights on other frames of its data set, with which they were trained.

        Raises:
            InputError: the data are divided otherwise than in the training of the checkpoint.
        """
        theirs, here = self._trained_fold, fold_of(trainer)
        if theirs is not None and theirs["dataset"] == dataset_name(trainer) and theirs != here:
            raise InputError(
                f"data.fold {here and here['fold']}: the checkpoint was trained on {theirs['dataset']} with fold "
                f"{theirs['fold']}, expected the same: it saw the other frames; set --data.fold '{theirs['fold']}'"
            )

    def _origin(self, command: str) -> dict[str, str] | None:
        """What the weights were trained by, unless this very run trained them from its own start."""
        own = self.key and self.key.digest
        return self.trained if command != "fit" or (self.trained and self.trained["digest"] != own) else None

    def _take(self, trainer: pl.Trainer) -> None:
        if trainer.sanity_checking:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.metrics = {name: value for name, value in logged.items() if not name.startswith(("train", "step"))}
        self.metrics_step = trainer.global_step

    def _summed(self, trainer: pl.Trainer, value: float) -> float:
        total = trainer.strategy.reduce(torch.tensor(value, device=trainer.strategy.root_device), reduce_op="sum")
        return float(total)

    def _write_samples(self, folder: Path) -> list[str]:
        if not self._kept:
            return []
        from lit.pictures.pictures import injected_sheet  # drawing is needed once, at the end

        write_atomically(folder / "injected.png", injected_sheet(self._kept))
        return ["injected.png"]


def dataset_name(trainer: pl.Trainer) -> str:
    """The datamodule's ``dataset`` attribute, or its class and the name of its folder."""
    datamodule = getattr(trainer, "datamodule", None)
    folder = getattr(datamodule, "root", None) or getattr(datamodule, "folder", None)
    named = type(datamodule).__name__ + (f"({Path(folder).name})" if folder else "")
    return str(getattr(datamodule, "dataset", None) or named)


def fold_of(trainer: pl.Trainer) -> dict[str, Any] | None:
    """The fold that is evaluated, and the data set that it divides; None without one."""
    fold = getattr(getattr(trainer, "datamodule", None), "fold", None)
    return None if fold is None else {"dataset": dataset_name(trainer), "fold": list(fold)}


def evaluator(trainer: pl.Trainer) -> dict[str, Any] | None:
    """Name, version and whatever else (counts) the first callback with an ``evaluator`` states there."""
    stated = (getattr(callback, "evaluator", None) for callback in getattr(trainer, "callbacks", []))
    return next((dict(entry) for entry in stated if entry), None)


def raw_records(trainer: pl.Trainer, split: str) -> dict[str, str] | None:
    """File and SHA-256 of what a callback left of every frame of the split, or None."""
    left = (getattr(callback, "raw", {}).get(split) for callback in getattr(trainer, "callbacks", []))
    return next((entry for entry in left if entry), None)


def device_name(trainer: pl.Trainer) -> str:
    """Device, its count and its model."""
    device = trainer.strategy.root_device
    model = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        model = torch.cuda.get_device_name(device)
    return f"{trainer.world_size} x {device.type} ({model})"

"""Where a training's time goes: reading, forward, backward, optimiser, and the rest."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import msgspec
import torch
from lightning.pytorch.profilers import SimpleProfiler

from datamodules.files.atomic_files import write_atomically

READING = ("train_dataloader_next", "batch_to_device")  # ends of the names of Lightning's own profiled actions


class StepTimes(pl.Callback):
    """Times the steps of a fit after the first few, and writes one JSON file at its end.

    The file holds ``steps`` and ``pictures`` that were timed, ``seconds_per_step``, ``cpu_seconds_per_step`` of this
    process without its loader's workers, ``pictures_per_second`` of all processes, ``peak_memory_mb`` (of the GPU's
    allocator, or of the process on a CPU), and with ``parts`` the ``share`` of the time in data, forward, backward,
    optimiser and other (logging, callbacks, the loop itself).

    Args:
        path: the file.
        warm: steps that do not count.
        parts: also share the time out; on a GPU each part then waits for the one before, so that the steps are slower.
    """

    def __init__(self, path: str, warm: int = 2, parts: bool = False) -> None:
        self.path, self.warm, self.parts = Path(path), warm, parts
        self._seconds = {"backward": 0.0, "optimiser": 0.0}
        self._began = self._mark = time.perf_counter()
        self._cpu = time.process_time()
        self._ended = self._began, self._cpu
        self._steps = self._pictures = 0
        self._skipped: dict[str, int] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and self.parts:
            trainer.profiler = SimpleProfiler()  # type: ignore[attr-defined]  # which says how long reading took

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._reset(trainer)
        if self.parts:
            for optimizer in trainer.optimizers:
                optimizer.register_step_post_hook(lambda *_: self._add("optimiser", trainer))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._pictures += pictures_of(batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        self._mark = self._now(trainer)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._add("backward", trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._mark = self._now(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._steps += 1
        if self._steps == self.warm:
            self._reset(trainer)
            self.warm = -1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the checkpoint that the last epoch ends with, which would weigh too much where few steps are timed."""
        _synchronise(trainer)
        self._ended = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total, cpu = self._ended[0] - self._began, self._ended[1] - self._cpu
        if not trainer.is_global_zero or not self._steps:
            return
        found: dict[str, Any] = {
            "steps": self._steps,
            "pictures": self._pictures * trainer.world_size,
            "seconds_per_step": total / self._steps,
            "cpu_seconds_per_step": cpu / self._steps,
            "pictures_per_second": self._pictures * trainer.world_size / total,
            "peak_memory_mb": _peak(trainer),
        }
        if self.parts:
            found["share"] = {name: round(value / total, 4) for name, value in self._parts(trainer, total).items()}
        write_atomically(self.path, msgspec.json.format(msgspec.json.encode(found), indent=1))

    def _parts(self, trainer: pl.Trainer, total: float) -> dict[str, float]:
        timed = {name: sum(values[self._skipped.get(name, 0) :]) for name, values in _recorded(trainer).items()}
        data = sum(value for name, value in timed.items() if name.endswith(READING))
        forward = timed["run_training_batch"] - sum(self._seconds.values())
        parts = {"data": data, "forward": forward, **self._seconds}
        return {**parts, "other": total - sum(parts.values())}

    def _reset(self, trainer: pl.Trainer) -> None:
        """Begin to count with the next step."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._skipped = {name: len(values) for name, values in _recorded(trainer).items()}
        # What is being timed at this moment belongs to the steps that do not count, and is noted after them.
        self._skipped |= {name: self._skipped.get(name, 0) + 1 for name in _running(trainer)}
        self._steps = self._pictures = 0
        _synchronise(trainer)
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def _add(self, part: str, trainer: pl.Trainer) -> None:
        self._seconds[part] += self._now(trainer) - self._mark

    def _now(self, trainer: pl.Trainer) -> float:
        if self.parts:
            _synchronise(trainer)
        return time.perf_counter()


def pictures_of(batch: Any) -> int:
    """Pictures of a batch; of rays, the pictures that they count for."""
    images = getattr(batch, "images", None)
    if isinstance(images, int):
        return images
    return len(batch if images is None else images)


def _recorded(trainer: pl.Trainer) -> dict[str, list[float]]:
    return getattr(trainer.profiler, "recorded_durations", {})  # type: ignore[attr-defined]


def _running(trainer: pl.Trainer) -> list[str]:
    return list(getattr(trainer.profiler, "current_actions", {}))  # type: ignore[attr-defined]


def _synchronise(trainer: pl.Trainer) -> None:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize(trainer.strategy.root_device)


def _peak(trainer: pl.Trainer) -> float:
    """Megabytes at the peak."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

"""Hands pictures, the configuration and files to every logger of a run, each by its own method.

Scalars reach all of them through Lightning. The rest is told apart by what a logger can do, not by its class, so that
none of them has to be installed::

    logger          picture                          configuration        file
    TensorBoard     experiment.add_image             experiment.add_text  lies in its folder
    W&B             log_image                        log_hyperparams      experiment.save
    MLflow          experiment.log_image(run_id)     log_hyperparams      experiment.log_artifact(run_id)
    any other       log_image where it has one       log_hyperparams      log_file where it has one
"""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import yaml
from lightning.pytorch.loggers.logger import DummyLogger

Takes = Callable[[str, np.ndarray, int], object]
_told: weakref.WeakSet[Any] = weakref.WeakSet()  # loggers of which it was said that they take no pictures


def takes_pictures(trainer: pl.Trainer) -> bool:
    """Whether a logger takes pictures; says once of each other one that it does not."""
    return bool(_takers(trainer))


def log_picture(trainer: pl.Trainer, name: str, picture: np.ndarray) -> None:
    """Hand a picture to every logger, at the trainer's step; call it in the first process only.

    Args:
        trainer: whose loggers take it.
        name: such as "val/boxes".
        picture: (H, W, 3) uint8 RGB.
    """
    for take in _takers(trainer):
        take(name, picture, trainer.global_step)


def log_configuration(trainer: pl.Trainer, config: Mapping[str, Any]) -> None:
    """Hand the resolved configuration, plain values, to every logger; call it in the first process only."""
    plain = json.loads(json.dumps(config, default=str))
    for logger in trainer.loggers:
        if isinstance(logger, DummyLogger):
            continue
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_text"):
            text = yaml.safe_dump(plain, sort_keys=False)
            experiment.add_text("config", "    " + text.replace("\n", "\n    "), 0)  # indented: Markdown's code
        else:
            logger.log_hyperparams(plain)


def log_file(trainer: pl.Trainer, path: Path) -> None:
    """Hand a file of the run's folder to every logger that keeps files; call it in the first process only."""
    for logger in trainer.loggers if path.is_file() else ():
        if isinstance(logger, DummyLogger):
            continue
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "log_artifact") and hasattr(logger, "run_id"):
            experiment.log_artifact(logger.run_id, str(path))
        elif hasattr(logger, "log_file"):
            logger.log_file(str(path))
        elif hasattr(logger, "log_image") and hasattr(experiment, "save"):
            experiment.save(str(path), base_path=str(path.parent), policy="now")  # W&B


def _takers(trainer: pl.Trainer) -> list[Takes]:
    found = []
    for logger in trainer.loggers:
        if isinstance(logger, DummyLogger):  # of a fast_dev_run
            continue
        if take := _taker(logger):
            found.append(take)
        elif logger not in _told:
            _told.add(logger)
            others = "TensorBoard, W&B or MLflow beside it in trainer.logger show them"
            warnings.warn(f"{type(logger).__name__} takes no pictures; {others}", stacklevel=4)
    return found


def _taker(logger: Any) -> Takes | None:
    """How a logger takes a picture, or None."""
    if hasattr(logger, "log_image"):
        return lambda name, picture, step: logger.log_image(key=name, images=[picture], step=step)
    experiment: Any = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_image"):
        return lambda name, picture, step: experiment.add_image(name, picture, step, dataformats="HWC")
    if hasattr(experiment, "log_image") and hasattr(logger, "run_id"):
        return lambda name, picture, step: experiment.log_image(logger.run_id, picture, key=name, step=step)
    return None

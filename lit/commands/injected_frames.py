"""Frames of an experiment before and after its injection, for commands that look at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import DetectionDataModule
from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.scene import Frame
from lit.config_errors import one_line_refusals


def build_datamodule(argv: Sequence[str]) -> Any:
    """The datamodule of a trainer command line, without model and trainer."""
    from lit.trainer_cli import resolve

    return _instantiated(resolve(list(argv))["data"])


def _instantiated(config: Any) -> Any:
    """The datamodule of a resolved configuration's part.

    Raises:
        InputError: for anything its classes refuse.
    """
    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningDataModule

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    with one_line_refusals():
        return parser.instantiate(parser.parse_object({"data": config})).data


def injecting_datamodule(config: Path, options: Sequence[str], split: str | None = None) -> DetectionDataModule:
    """An experiment's datamodule, set up on a split; its injection says yes to every frame.

    Args:
        config: the experiment's file.
        options: further options as ``fit`` takes them.
        split: whose frames become the training frames; None keeps the experiment's own.

    Raises:
        InputError: for anything ``fit`` would refuse, or an experiment without injection.
    """
    return configured_datamodule(config, options, split)[0]


def configured_datamodule(
    config: Path, options: Sequence[str], split: str | None = None
) -> tuple[DetectionDataModule, dict[str, Any]]:
    """As :func:`injecting_datamodule`, and the data's part of the resolved configuration."""
    from lit.trainer_cli import resolve

    chosen = [] if split is None else [f"--data.train_split={split}"]
    resolved = resolve(["fit", "-c", str(config), *options, *chosen])["data"]
    if split not in (None, "train") and (fold := (resolved.get("init_args") or {}).get("fold")):
        raise InputError(
            f"--split {split} with data.fold {list(fold)}: a fold divides both splits; leave out one of them"
        )
    datamodule = _instantiated(resolved)
    injection = getattr(datamodule, "injection", None)
    if injection is None:
        raise InputError(f"{config}: injects nothing; add --data.injection conf/injection/lift3d.yaml or another file")
    injection.probability = 1.0
    datamodule.setup("fit")
    assert isinstance(datamodule, DetectionDataModule)
    return datamodule, resolved


def injected_pairs(
    datamodule: DetectionDataModule, count: int | None, seed: int, spread: bool = False
) -> Iterator[tuple[Frame, Frame]]:
    """Training frames before and after injection, in order.

    Args:
        datamodule: of :func:`injecting_datamodule`.
        count: most frames; None for all.
        seed: of the injection.
        spread: take them evenly over the split, not its first ones.
    """
    reader, injection = datamodule.train_reader, datamodule.injection
    assert injection is not None
    few = len(reader) if count is None else min(len(reader), count)
    for index in np.linspace(0, len(reader) - 1, few).astype(int).tolist() if spread else range(few):
        frame = reader.read(index)
        yield frame, injection(frame, derive(seed, 0, injection.key(frame), "injection"))

"""Names and scenes of evaluated frames, which a metric knows by the digests of their ids alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import lightning.pytorch as pl
from torch import distributed

from lit.metrics.array_files import named_by_content

Found = TypeVar("Found")
Frames = TypeVar("Frames")


def leave_frames(
    trainer: pl.Trainer,
    name: str,
    names: Mapping[int, str],
    trace: tuple[Iterable[int], Found] | None,
    evaluator: Mapping[str, str],
    build: Callable[[tuple[str, ...], tuple[str, ...], Found, str], Frames],
    write: Callable[[Path, Frames], str],
) -> dict[str, str] | None:
    """Leave what an evaluation found in every frame beside the run's record; every rank has to ask.

    Args:
        trainer: of the run.
        name: of the file, to which its content's digest is added.
        names: sample ids by key, of this rank.
        trace: keys of the frames, and what the metric found in them; None where it traces nothing.
        evaluator: its name and version.
        build: makes of samples, their groups, what was found and the evaluator what is written.
        write: writes it and returns its SHA-256.

    Returns:
        File and SHA-256 on rank zero, else None.
    """
    known = gather_names(names)
    if trace is None or not trainer.is_global_zero or trainer.sanity_checking:
        return None
    keys, contents = trace
    samples = tuple(known[key] for key in keys)
    stated = f"{evaluator['name']} ({evaluator['version']})"
    path = Path(trainer.default_root_dir) / f"{name}.npz"
    checksum = write(path, build(samples, groups_of(trainer, samples), contents, stated))
    return {"file": named_by_content(path, checksum).name, "sha256": checksum}


def gather_names(names: Mapping[int, str]) -> dict[int, str]:
    """Sample ids by key, of all ranks; every rank has to ask."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return dict(names)
    shards: list[dict[int, str]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(shards, dict(names))
    return {key: name for shard in shards for key, name in shard.items()}


def groups_of(trainer: pl.Trainer, samples: Sequence[str]) -> tuple[str, ...]:
    """The drive or scene of each sample, as the data module's ``groups`` tells; else each is a scene of its own."""
    known: Mapping[str, str] = getattr(getattr(trainer, "datamodule", None), "groups", None) or {}
    return tuple(known.get(sample, sample) for sample in samples)

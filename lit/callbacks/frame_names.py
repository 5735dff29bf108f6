"""Names and scenes of evaluated frames, which a metric knows by the digests of their ids alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
from torch import distributed


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

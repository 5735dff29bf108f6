"""Integer keys of samples, by which padded repeats are recognised within and across processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.errors import InputError

UNKNOWN = -1  # key of a sample without an id: never a repeat


def sample_key(sample_id: str) -> int:
    """63 bits of the id's digest: tensors cannot hold strings, and processes need the same key."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little") >> 1


def sample_keys(sample_ids: Sequence[str] | Sequence[int] | Tensor | None, count: int) -> Tensor:
    """int64 keys (count,): integers are their own key, strings 63 bits of their digest, None gives :data:`UNKNOWN`.

    Raises:
        InputError: another number of ids than samples, or a negative integer.
    """
    if sample_ids is None:
        return torch.full((count,), UNKNOWN)
    if len(sample_ids) != count:
        raise InputError(f"{len(sample_ids)} sample ids for {count} images: expected one id an image")
    values = sample_ids.tolist() if isinstance(sample_ids, Tensor) else sample_ids
    keys = torch.tensor([_key(value) for value in values], dtype=torch.int64).reshape(-1)
    if count and int(keys.min()) < 0:
        raise InputError(f"sample id {int(keys.min())}: expected text, or integers from 0 on")
    return keys


def distinct(keys: Tensor) -> Tensor:
    """Positions (M,) of the first sample of every key, in the order of the keys, then of all without an id."""
    order = torch.argsort(keys, stable=True)
    ranked = keys[order]
    first = torch.ones_like(ranked, dtype=torch.bool)
    first[1:] = ranked[1:] != ranked[:-1]
    return torch.cat([order[first & (ranked != UNKNOWN)], order[ranked == UNKNOWN]])


def owned(per_rank: list[Tensor], rank: int) -> Tensor:
    """Which samples of a rank count there: each key belongs to its first occurrence over the ranks in turn.

    Args:
        per_rank: keys of every rank.
        rank: whose samples are asked for.

    Returns:
        Positions within ``per_rank[rank]``.
    """
    start = sum(len(keys) for keys in per_rank[:rank])
    kept = distinct(torch.cat(per_rank))
    mine = kept[(kept >= start) & (kept < start + len(per_rank[rank]))]
    return mine - start


def joined(parts: list[Tensor] | Tensor, empty: Tensor) -> Tensor:
    """A list state as one tensor, whether it is the list of the updates or the tensor that synchronising left."""
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else empty


def _key(value: str | int) -> int:
    return sample_key(value) if isinstance(value, str) else int(value)

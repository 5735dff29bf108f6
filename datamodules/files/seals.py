"""A seal in a file of tensors: a digest of what it holds, compared when the file is read.

An archive's own checksums tell damaged bytes. They do not tell a file that a tool read and saved anew with other
numbers in it; a checkpoint of this suite does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError

SEAL_KEY = "liftbench_seal"


def seal_of(values: Iterable[tuple[str, Any]]) -> str:
    """32 hexadecimal digits that stand for names, tensors, numbers and texts, in whatever order they come.

    Args:
        values: by their dotted names; what is neither tensor, number nor text does not count, nor does a seal.
    """
    lines = sorted(f"{name}: {line}" for name, value in values if name != SEAL_KEY and (line := _line(value)))
    return blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def verify_seal(content: Any, values: Iterable[tuple[str, Any]], path: Path) -> None:
    """Compare a file's content with its seal, where it has one.

    Raises:
        InputError: they differ.
    """
    if isinstance(content, Mapping) and SEAL_KEY in content and content[SEAL_KEY] != seal_of(values):
        raise InputError(
            f"{path}: differs from its seal, expected the checkpoint as the training wrote it; take an untouched copy, "
            f"or remove the key {SEAL_KEY} where the change is meant"
        )


def _line(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            return ""
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{value.dtype} {tuple(value.shape)} {blake2b(raw.data, digest_size=16).hexdigest()}"
    return repr(value) if type(value) in (bool, int, float, str) else ""  # subclasses may come back as their base

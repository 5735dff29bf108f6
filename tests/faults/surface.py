"""A place where the suite reads a file that somebody else, or a crash, may have touched."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

Plausible = Callable[[bytes, bytes], bool]


def never(original: bytes, damaged: bytes) -> bool:
    """The format tells any change: by a checksum, a hash, or a file that lists what belongs together."""
    return False


@dataclass(frozen=True)
class Surface:
    """One kind of file and its reader.

    Attributes:
        name: of the surface.
        make: writes a small valid input into a folder, by the suite's own writers where there are some.
        load: reads the folder through the public reader or the command, and returns the figures that come out.
        files: patterns of the files in the folder that are damaged.
        forms: kinds of damage, keys of :data:`tests.faults.mutations.FORMS`.
        plausible: whether (original bytes, damaged bytes) a damaged file is as good as any other of its format, so that
            no reader could tell; :func:`never` for the suite's own files.
        droppable: a file that is not there at all is no fault: nothing lists it.
        share: inputs in a thousand or so, in proportion.
    """

    name: str
    make: Callable[[Path], object]
    load: Callable[[Path], Any]
    files: tuple[str, ...]
    forms: tuple[str, ...]
    plausible: Plausible = never
    share: int = 20
    droppable: bool = False

    @property
    def ours(self) -> bool:
        """Whether a checksum can tell any change."""
        return self.plausible is never


def fingerprint(value: Any) -> str:
    """A hash of everything that a value holds: equal figures, equal hashes."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()[:16]


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(str(value.tolist()).encode() if value.dtype.kind in "OU" else np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(f"{{{key}:".encode("utf-8", "backslashreplace"))
            _feed(digest, value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        digest.update(f"[{len(value)}".encode())
        for item in sorted(value) if isinstance(value, set | frozenset) else value:
            _feed(digest, item)
    elif isinstance(value, msgspec.Struct):
        _feed(digest, msgspec.structs.asdict(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    else:
        digest.update(f"{type(value).__name__}:{value!r}".encode("utf-8", "backslashreplace"))

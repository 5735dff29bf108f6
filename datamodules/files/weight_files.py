"""Files of tensors (PyTorch's and safetensors), read without running code from them; damage is told by checksums.

The content decides the format, not the file's name. Names of tensors are texts, their numbers are finite, and none is
larger than the bytes that stand for it.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError, printable
from datamodules.files.archives import open_archive, verify_archive
from datamodules.files.seals import seal_of, verify_seal

MOST_VALUES = 2_000_000  # containers, numbers and tensors of one file
LARGE = 1 << 28  # bytes that a tensor may take beyond those in its file
HUGE = 1e30  # no weight of a network that works comes near it; a bit that fell over in an exponent goes beyond


def load_weights(path: str | Path, expected: str, allowed: Sequence[Any] = ()) -> Any:
    """The content of a file of tensors, on the CPU; see :func:`read_content`.

    Raises:
        InputError: as :func:`read_content`; or no tensor in it.
    """
    content = read_content(path, expected, allowed)
    if not any(isinstance(value, Tensor) for _, value, _ in _walk(content, path)):
        raise InputError(f"{path}: holds no tensor; expected {expected}")
    return content


def read_content(path: str | Path, expected: str, allowed: Sequence[Any] = ()) -> Any:
    """The content of a PyTorch or safetensors file, on the CPU, by the formats' restricted loaders.

    argparse.Namespace is let through: rosinality's training checkpoints keep their options in one, and it is inert.

    Args:
        path: the file.
        expected: what it should be, for messages.
        allowed: further types that its pickle may name, as ``torch.serialization.safe_globals`` takes them.

    Raises:
        InputError: missing, empty, damaged, a program (TorchScript), with objects beyond tensors and plain containers,
            with tensors that are no weights, or changed since it was sealed; names them.
    """
    path = Path(path)
    content = _safetensors(path, expected) if is_safetensors(path, expected) else _torch(path, expected, allowed)
    for name, value, owner in _walk(content, path):
        if isinstance(value, Tensor) and (problem := _problem(name, value, owner)):
            raise InputError(printable(f"{path}: {name[:120]} {problem}; expected {expected}"))
    verify_seal(content, _named(content, path), path)
    return content


def seal(content: Mapping[str, Any], path: str | Path) -> str:
    """The seal of what is about to be written; see :mod:`datamodules.files.seals`."""
    return seal_of(_named(content, path))


def read_state(path: str | Path, network: str, allowed: Sequence[Any] = ()) -> dict[str, Any]:
    """A state dict from a PyTorch or safetensors file, without running code from it.

    Raises:
        InputError: missing, or neither.
    """
    return state_of(read_content(path, f"weights of {network}", allowed), path, network)


def state_of(content: Any, path: str | Path, network: str) -> dict[str, Any]:
    """The state dict in the content of a file, alone or in a checkpoint; the prefix of a wrapper goes.

    Raises:
        InputError: there is none.
    """
    for _ in range(4):  # checkpoints in checkpoints
        inner = content.get("state_dict", content.get("model")) if isinstance(content, Mapping) else None
        if isinstance(inner, Mapping):
            content = inner
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected the state dict of {network}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def kind_mismatch(found: Tensor, wanted: Tensor) -> str:
    """Why the numbers of one tensor cannot stand for another's, such as whole ones for floats; empty if they can."""
    if (found.is_floating_point(), found.is_complex()) == (wanted.is_floating_point(), wanted.is_complex()):
        return ""
    return f"holds {found.dtype}, expected {wanted.dtype}"


def mismatch_in(found: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that cannot stand for the one of its name, and why; those that are not there pass."""
    for name, value in wanted.items():
        if isinstance(here := found.get(name), Tensor) and (problem := kind_mismatch(here, value)):
            return f"{name} {problem}"
    return ""


def blank_in(found: Mapping[str, Any]) -> str:
    """Name of the first filter bank that is zero throughout, which no training leaves, and so; empty without one."""
    for name, value in found.items():
        if isinstance(value, Tensor) and value.ndim == 4 and value.numel() and not bool(value.any()):
            return f"{name} holds zeros alone, expected weights of a convolution"
    return ""


def require_floats(state: Mapping[Any, Any], path: str | Path, expected: str) -> None:
    """Check that a network's state, all of whose numbers are floats, holds floats: converting others would hide it.

    Raises:
        InputError: names the first tensor that does not.
    """
    for name, value in state.items():
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise InputError(printable(f"{path}: {str(name)[:120]} holds {value.dtype}, expected floats; {expected}"))


def is_safetensors(path: Path, expected: str) -> bool:
    """Whether a file begins as a safetensors file does.

    Raises:
        InputError: it is missing, empty, a folder or cannot be read.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder, no file; expected {expected}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error
    length = int.from_bytes(head[:8], "little")
    return path.suffix == ".safetensors" or (head[8:] == b"{" and length <= path.stat().st_size)


def is_torchscript(path: Path, expected: str) -> bool:
    """Whether a file is a program: an archive with constants, which torch.save does not write.

    Raises:
        InputError: an archive that is damaged.
    """
    if not zipfile.is_zipfile(path):
        return False
    with open_archive(path, expected) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def refused_global(error: Exception) -> str:
    """What torch's loader objected to, in a few words on one line; its advice to drop the restriction is left out."""
    text = shortened(error, 4000)
    if match := re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported class ([\w.]+)", text):
        return f"the global {match[1] or match[2]}"
    said = text.split("WeightsUnpickler error: ")[-1].split(" Check the documentation")[0]
    return f"no readable weights ({type(error).__name__}{': ' if said else ''}{said[:100]})"


def shortened(error: Exception, length: int = 160) -> str:
    """What an exception says, on one line of printable characters."""
    return ascii(" ".join(str(error).split()))[1:-1][:length]


def _torch(path: Path, expected: str, allowed: Sequence[Any]) -> Any:
    if is_torchscript(path, expected):
        raise InputError(
            f"{path}: refused, a TorchScript archive is a program; expected {expected}, nothing of it was run; save "
            "the module's state_dict() instead"
        )
    if zipfile.is_zipfile(path):
        with open_archive(path, expected) as archive:
            verify_archive(archive, expected)
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *allowed]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip, key and end-of-file errors have no common base
        raise InputError(
            f"{path}: refused, it holds {refused_global(error)}; expected {expected}, nothing of it was run"
        ) from error


def _safetensors(path: Path, expected: str) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except Exception as error:  # missing files and damaged headers have no common base
        raise InputError(f"{path}: cannot be read ({shortened(error)}); expected {expected}") from error


def _walk(content: Any, path: str | Path) -> Iterator[tuple[str, Any, Any]]:
    """Every value in nested containers once, with its dotted name and its container, however often it is shared.

    Raises:
        InputError: too many of them.
    """
    waiting, seen, count = [("", content, None)], set(), 0
    while waiting:
        name, value, owner = waiting.pop()
        yield name, value, owner
        if isinstance(value, Mapping):
            items: list[tuple[Any, Any]] = list(value.items())
        elif isinstance(value, list | tuple | set | frozenset):
            items = list(enumerate(value))
        else:
            continue
        if id(value) not in seen:
            seen.add(id(value))
            count += len(items)
            if count > MOST_VALUES:
                raise InputError(f"{path}: holds more than {MOST_VALUES} values; expected weights of a network")
            waiting += [(f"{name}.{key}"[-200:].lstrip("."), item, value) for key, item in items]


def _named(content: Any, path: str | Path) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value, _ in _walk(content, path))


def _problem(name: str, value: Tensor, owner: Any) -> str:
    """Why a tensor is no weight; empty for one that is."""
    if (
        isinstance(owner, Mapping)
        and (odd := next((key for key in owner if not isinstance(key, str)), None)) is not None
    ):
        return f"stands beside the key {str(odd)[:40]}, a {type(odd).__name__}, where names are texts"
    if value.is_meta or value.layout != torch.strided or value.is_quantized:
        return f"is a tensor without plain numbers ({value.layout}, {value.device})"
    if value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), LARGE):
        return f"states the shape {tuple(value.shape)} over {value.untyped_storage().nbytes()} bytes"
    if not value.is_floating_point() or "mask" in name.rpartition(".")[2] or name.startswith("callbacks."):
        return ""  # a callback's best score may be one that nothing has reached yet
    if bool(value.isfinite().all()):
        most = float(value.abs().max()) if value.numel() else 0.0
        return f"holds {most:.3g}, expected numbers below {HUGE:g}" if most >= HUGE else ""
    return f"holds {'NaN' if bool(value.isnan().any()) else 'an infinity'}, expected finite numbers"

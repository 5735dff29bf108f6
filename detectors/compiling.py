"""``torch.compile`` as an option, in place: the names of weights, and so checkpoints, stay what they are."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch
from torch import nn

from datamodules.errors import InputError, closest


def compile_in_place(module: nn.Module, backend: str | None, device: torch.device) -> None:
    """Let the calls of a module go through a compiled form of its forward; a second call changes nothing.

    Copies of the module, as averages of weights are, are not compiled.

    Args:
        module: what is compiled, with all below it.
        backend: of ``torch.compile``: "inductor" for speed, "aot_eager" or "eager" to look for errors; None leaves
            the module as it is.
        device: where it will run.

    Raises:
        InputError: an unknown backend, or no compiler for what it writes.
    """
    if backend is None or module._compiled_call_impl is not None:
        return
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise InputError(f"compiled {backend}: expected one of {', '.join(known)}{closest(backend, known)}; or null")
    if backend == "inductor":
        missing = _missing_compiler(device)
        if missing:
            raise InputError(
                f"compiled inductor: needs {missing}, expected it on this machine; or set compiled to null"
            )
    module.compile(backend=backend)


def _missing_compiler(device: torch.device) -> str:
    """What inductor lacks on a machine; nothing where it has all."""
    if device.type == "cuda":
        return "" if find_spec("triton") else "the package triton"
    found = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))
    return "" if found else "a C++ compiler such as g++"

"""Weights into networks, strictly: every place gets its tensor, every tensor has its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from datamodules.errors import InputError
from datamodules.files.weight_files import kind_mismatch
from lit.weights.files import expecting, read_content, shortened

M = TypeVar("M", bound=nn.Module)
ALTERED = "weights of another shape than its settings say"


def fit_state(model: nn.Module, state: Any, path: str | Path, network: str, verdict: str = "") -> None:
    """Load a state dict that has to match exactly.

    Args:
        model: what is filled.
        state: its state dict; counters of batch normalisation may be left out.
        path: where it is from, for messages.
        network: what it should be of, for messages.
        verdict: what a mismatch means, such as :data:`ALTERED`; the mismatch itself follows in brackets.

    Raises:
        InputError: names the first key that is missing, unexpected, no tensor, of another shape or kind of number, or
            not finite.
    """
    if wrong := _mismatch(model.state_dict(), state):
        said = f"{verdict} ({wrong}); expected" if verdict else f"{wrong}; expected the state dict of"
        raise InputError(f"{path}: {said} {network}")
    model.load_state_dict(state, strict=False)


def _mismatch(own: Mapping[str, Tensor], state: Any) -> str:
    """What keeps a state dict from fitting, empty if nothing does."""
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__} in place of a state dict"
    for key, wanted in own.items():
        if key not in state:
            if not key.endswith("num_batches_tracked"):
                return f"key {key} is missing"
        elif not isinstance(found := state[key], Tensor):
            return f"key {key} is a {type(found).__name__}, expected a tensor"
        elif found.shape != wanted.shape:
            return f"{key} has the shape {tuple(found.shape)}, expected {tuple(wanted.shape)}"
        elif problem := kind_mismatch(found, wanted):
            return f"{key} {problem}"
        elif (
            not (found.is_meta or wanted.is_meta) and bool(wanted.isfinite().all()) and not bool(found.isfinite().all())
        ):
            return f"{key} holds numbers that are not finite"
    surplus = next((key for key in state if key not in own), None)
    return "" if surplus is None else f"key {str(surplus)[:80]} has no place"


def restore(build: Callable[..., M], path: str | Path, expected: str) -> M:
    """A module of a Lightning checkpoint in evaluation mode: built from its hyper-parameters, with its weights.

    Args:
        build: the class.
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: as :func:`read_content`; or of another module, or weights that do not match its own settings.
    """
    content = read_content(path, expected)
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("hyper_parameters", "state_dict")]
    settings, state = parts
    if not isinstance(settings, dict) or not isinstance(state, dict):
        raise InputError(f"{path}: no checkpoint of a training; expected {expected}")
    with expecting(path, expected):
        try:
            module = build(**{name: value for name, value in settings.items() if not str(name).startswith("_")})
        except TypeError as error:
            raise InputError(f"{path}: made from other settings ({shortened(error)}); expected {expected}") from error
    fit_state(module, state, path, expected, ALTERED)
    return module.eval()

"""Files of pretrained weights: found, told apart, read without running code, and matched to a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from datamodules.errors import InputError
from lit.weights.torch_files import load_weights, shortened


def require_file(path: str | None, network: str, source: str) -> Path:
    """The weights file of a network.

    Raises:
        InputError: none is given, or it is not there; says in words where it can be had.
    """
    if path is None:
        raise InputError(f"{network} needs a file of weights, nothing is downloaded: {source}")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; expected weights of {network}: {source}")
    return Path(path)


def digest(path: Path) -> str:
    """First 12 hex digits of a file's SHA-256, which tell one set of weights from another."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 22):
            found.update(block)
        return found.hexdigest()[:12]


def read_state(path: Path, network: str) -> dict[str, Any]:
    """A state dict from a PyTorch or safetensors file, without running code from it.

    Raises:
        InputError: missing, or neither.
    """
    expected = f"weights of {network}"
    state = _safetensors(path, expected) if path.suffix == ".safetensors" else load_weights(path, expected)
    while isinstance(state, dict) and isinstance(state.get("state_dict", state.get("model")), dict):
        state = state.get("state_dict", state.get("model"))
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected the state dict of {network}")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _safetensors(path: Path, expected: str) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except Exception as error:  # missing files and damaged headers have no common base
        raise InputError(f"{path}: cannot be read ({shortened(error)}); expected {expected}") from error


def fit_state(model: nn.Module, state: dict[str, Any], path: Path, network: str) -> None:
    """Load a state dict that has to match exactly.

    Raises:
        InputError: names the first key that is missing, unexpected, or of another shape.
    """
    own = model.state_dict()
    for key in own:
        if key not in state and not key.endswith("num_batches_tracked"):
            raise InputError(f"{path}: key {key} is missing; expected the state dict of {network}")
        if key in state and tuple(state[key].shape) != tuple(own[key].shape):
            shapes = f"{tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
            raise InputError(f"{path}: {key} has the shape {shapes} of {network}")
    if surplus := next((key for key in state if key not in own), None):
        raise InputError(f"{path}: key {surplus} is not one of {network}; expected its state dict")
    model.load_state_dict(state, strict=False)  # num_batches_tracked may be left out

"""Classifiers from timm: any of its models, from ImageNet weights, a file, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from datamodules.errors import InputError
from datamodules.files.weight_files import blank_in, mismatch_in, read_state, shortened

OURS = "network."  # before each name in a checkpoint of the suite's classifier
CHOICES = "timm (its pretrained weights, downloaded once), a file with timm's state dict, or none (random weights)"


def build_classifier(name: str, options: dict[str, Any], weights: str | None, classes: int) -> nn.Module:
    """A timm model with so many classes.

    Args:
        name: of the model.
        options: further arguments of ``timm.create_model``.
        weights: "timm", the path of a file (timm's, or ``last.ckpt`` of a training of
            :class:`lit.recognition.image_classifier.ImageClassifier`), or "none". The last layer starts anew where the
            file has other classes.
        classes: how many.

    Raises:
        InputError: no such model, option or file, no choice of weights, or weights that do not fit.
    """
    if weights is None:
        raise InputError(f"weights null with network {name!r}: expected {CHOICES}; set model.weights")
    try:
        model: nn.Module = timm.create_model(name, pretrained=weights == "timm", num_classes=classes, **options)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        said = shortened(error)
        raise InputError(f"network {name!r} with options {options}: {said}; see timm.list_models()") from error
    except Exception as error:  # the hub, its cache and the network fail in types without a common base
        if weights != "timm":
            raise
        raise InputError(
            f"weights timm: those of {name!r} cannot be fetched ({type(error).__name__}: {shortened(error, 100)}), "
            f"expected {CHOICES}; set model.weights"
        ) from error
    if weights not in ("timm", "none"):
        _load(model, Path(weights), name)
    return model


def _load(model: Any, path: Path, name: str) -> None:
    """Fill a model from a state dict file.

    Raises:
        InputError: no such file, weights of another model, of another kind of numbers, or a layer of zeros.
    """
    if not path.is_file():
        raise InputError(f"weights {path} does not exist: expected {CHOICES}, here for {name!r}")
    state, own = read_state(path, name), model.state_dict()
    if state and all(key.startswith(OURS) for key in state):
        state = {key.removeprefix(OURS): value for key, value in state.items()}
    heads = model.pretrained_cfg.get("classifier") or ()
    last = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    fitting = {key: state[key] for key in own if getattr(state.get(key), "shape", None) == own[key].shape}
    if absent := [key for key in own if key not in fitting and not key.startswith(last)]:
        raise InputError(
            f"weights {path}: of another model, no fitting {absent[0]!r} of {name!r}; use that model's own weights"
        )
    if problem := mismatch_in(fitting, own) or blank_in(fitting):
        raise InputError(f"weights {path}: {problem}; use that model's own weights")
    model.load_state_dict(fitting, strict=False)

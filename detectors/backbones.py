"""Backbones from timm: any model with feature maps, from ImageNet weights, a file, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from datamodules.errors import InputError
from datamodules.files.weight_files import blank_in, mismatch_in, read_state, shortened

CHOICES = "timm (ImageNet weights, downloaded once), a file with timm's state dict, or none (random weights)"
OWN = ("pretrained", "features_only", "out_indices", "checkpoint_path")  # of timm.create_model, not for options


def build_backbone(name: str, options: dict[str, Any], weights: str | None, stride: int) -> tuple[nn.Module, list[int]]:
    """A timm model that yields its feature maps from ``stride`` on, and their channels.

    Args:
        name: of the timm model.
        options: further arguments of ``timm.create_model``.
        weights: "timm" for its pretrained weights, the path of a file, or "none" for random ones.
        stride: input pixels a cell of the finest map.

    Raises:
        InputError: no such model, options or stride, no choice of weights, or weights that do not fit.
    """
    if weights is None:
        raise InputError(
            f"backbone_weights null: from noise {name!r} learns far less than from ImageNet, expected a choice of "
            f"{CHOICES}; set model.detector.backbone_weights"
        )
    if given := [key for key in OWN if key in options]:
        raise InputError(
            f"backbone_options {given[0]}: not an option of the network itself, expected widths and layers; "
            f"set model.detector.backbone_weights to {CHOICES}"
        )
    features = _create(name, options, {})
    strides = features.feature_info.reduction()
    if stride not in strides:
        raise InputError(f"stride {stride}: backbone {name!r} has {', '.join(map(str, strides))}; choose one of these")
    # timm counts the maps of some models from a finer one than it returns: ask it for the numbers
    levels = tuple(features.feature_info.out_indices[strides.index(stride) :])
    if weights == "timm":
        model = _pretrained(name, options, levels)
    else:
        model = _create(name, options, {"out_indices": levels})
        if weights != "none":
            _load(model, Path(weights), name)
    return model, list(model.feature_info.channels())


def _create(name: str, options: dict[str, Any], more: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=False, features_only=True, **options, **more)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        text = str(error).splitlines()[0]
        raise InputError(f"backbone {name!r} with options {options}: {text}; see timm.list_models()") from error


def _pretrained(name: str, options: dict[str, Any], levels: tuple[int, ...]) -> Any:
    """The model with timm's own ImageNet weights, from its cache or the network.

    Raises:
        InputError: there are none, they do not fit the options, or they cannot be fetched.
    """
    cure = "give a file with timm's state dict, or none, as model.detector.backbone_weights"
    try:
        return timm.create_model(name, pretrained=True, features_only=True, out_indices=levels, **options)
    except RuntimeError as error:  # no such weights, or of other shapes
        raise InputError(
            f"backbone_weights timm: no weights for {name!r} with options {options} ({shortened(error)}); {cure}"
        ) from error
    except Exception as error:  # the hub, its cache and the network fail in types without a common base
        raise InputError(
            f"backbone_weights timm: the weights of {name!r} cannot be fetched ({type(error).__name__}: "
            f"{shortened(error, 100)}), expected a network or timm's cache; {cure}"
        ) from error


def _load(model: nn.Module, path: Path, name: str) -> None:
    """Fill a backbone from a state dict file; the classifier's keys may be there and are left out.

    Raises:
        InputError: no such file, weights of another backbone, of another kind of numbers, or a layer of zeros.
    """
    if not path.is_file():
        raise InputError(
            f"backbone_weights {path} does not exist: expected {CHOICES}, here a file with the state dict of {name!r}"
        )
    state = read_state(path, name)
    # timm joins the first two parts of some keys with an underscore in a feature model
    renamed = dict(state) | {_flat(key, model): value for key, value in state.items()}
    own = model.state_dict()
    absent = [key for key in own if getattr(renamed.get(key), "shape", None) != own[key].shape]
    if absent:
        raise InputError(
            f"backbone_weights {path}: of another backbone, no fitting {absent[0]!r} of {name!r}; use that model's own "
            "weights"
        )
    fitting = {key: renamed[key] for key in own}
    if problem := mismatch_in(fitting, own) or blank_in(fitting):
        raise InputError(f"backbone_weights {path}: {problem}; use that model's own weights")
    model.load_state_dict(fitting)


def _flat(key: str, model: nn.Module) -> str:
    parts = key.split(".")
    joined = "_".join(parts[:2])
    return ".".join([joined, *parts[2:]]) if joined in model._modules else key

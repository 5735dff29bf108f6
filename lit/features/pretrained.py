"""timm and open_clip networks as feature extractors, with weights from local files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError, closest
from lit.features.extractors import FrozenExtractor
from lit.weights.files import digest, expecting, read_state, require_file
from lit.weights.fitting import fit_state


class TimmExtractor(FrozenExtractor):
    """Any timm image model: its pooled features before the classifier, and the classifier's logits.

    The whole image is resized to the model's input size with antialiasing, neither cropped nor padded, and normalised
    as its configuration says.

    Args:
        model: timm's name, such as ``resnet50.a1_in1k``.
        weights: state dict, PyTorch or safetensors; with or without the classifier.

    Raises:
        InputError: unknown model, or weights that are missing or of another model.
    """

    def __init__(self, model: str, weights: str | None) -> None:
        import timm

        if not timm.is_model(model):
            raise InputError(f"timm has no model '{model}'{closest(model.split('.')[0], timm.list_models())}")
        source = "the model's page on the Hugging Face hub has model.safetensors; download it once and name it here"
        path = require_file(weights, f"timm's {model}", source)
        state = read_state(path, f"timm's {model}")
        network: Any = timm.create_model(model, pretrained=False)
        head = network.default_cfg.get("classifier")
        without = isinstance(head, str) and f"{head}.weight" not in state
        if without:
            network = timm.create_model(model, pretrained=False, num_classes=0)
        fit_state(network, state, path, f"timm's {model}")
        config = timm.data.resolve_model_data_config(network)
        layer = network.get_classifier()
        classes = 0 if without or not isinstance(layer, nn.Linear) else layer.out_features
        size, mode = config["input_size"][1:], _mode(config["interpolation"])
        dims = int(getattr(network, "head_hidden_size", None) or network.num_features)
        super().__init__(f"timm-{model}-{mode}{size[0]}", digest(path), dims, classes)
        self.network: Any = network
        self.preprocess = _Preprocess(size, mode, config["mean"], config["std"])
        self.freeze()

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled features, and logits where the model has a linear classifier."""
        maps = self.network.forward_features(self.preprocess(pixels))
        features = self.network.forward_head(maps, pre_logits=True)
        return features, self.network.get_classifier()(features) if self.classes else None


class OpenClipExtractor(FrozenExtractor):
    """The image tower of any open_clip model: its projected embedding before normalisation.

    Args:
        model: open_clip's name, such as ``ViT-B-32``.
        weights: checkpoint of the whole model.
        random: take fixed random weights instead, which compare with no published number.

    Raises:
        InputError: unknown model, or weights that are missing or of another model.
    """

    def __init__(self, model: str, weights: str | None, random: bool = False) -> None:
        network, version = random_open_clip(model) if random else read_open_clip(model, weights)
        config = network.visual.preprocess_cfg
        size = config["size"] if isinstance(config["size"], (tuple, list)) else (config["size"],) * 2
        mode = _mode(config["interpolation"])
        told = version if isinstance(version, str) else digest(version)
        super().__init__(f"open_clip-{model}-{mode}{size[0]}", told, 0)
        self.network = network.visual
        self.preprocess = _Preprocess(size, mode, config["mean"], config["std"])
        self.freeze()
        self.dims = self.both(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))[0].shape[1]

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Image embeddings; there are no logits."""
        found = self.network(self.preprocess(pixels))
        return found[0] if isinstance(found, tuple) else found, None


def read_open_clip(model: str, weights: str | None) -> tuple[Any, Path]:
    """Both towers of an open_clip model with weights from a file, and that file.

    Raises:
        InputError: see :class:`OpenClipExtractor`.
    """
    open_clip = _open_clip_with(model)
    source = "the model's page on the Hugging Face hub has open_clip_pytorch_model.bin; download it once"
    path = require_file(weights, f"open_clip's {model}", source)
    state = read_state(path, f"open_clip's {model}")
    # Neither tower may fetch weights of its own, nor a text tower its tokenizer's.
    network: Any = open_clip.create_model(model, load_weights=False, pretrained_text=False)
    verdict = f"not the weights of open_clip's {model}"
    with expecting(path, f"weights of open_clip's {model}"):
        state = open_clip.factory.convert_state_dict(network, state)
    fit_state(network, state, path, f"open_clip's {model}", verdict)
    return network, path


def random_open_clip(model: str, seed: int = 0) -> tuple[Any, str]:
    """Both towers of an open_clip model with random weights, and what tells them apart.

    Raises:
        InputError: unknown model.
    """
    open_clip = _open_clip_with(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.create_model(model, load_weights=False, pretrained_text=False), f"random:{seed}"


def _open_clip_with(model: str) -> Any:
    """The package, when it has the model."""
    import open_clip  # type: ignore[import-untyped]  # ships no type information

    if model not in open_clip.list_models():
        raise InputError(f"open_clip has no model '{model}'{closest(model, open_clip.list_models())}")
    return open_clip


class _Preprocess(nn.Module):
    """Images in [0, 255] to normalised floats of the network's input size."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: Sequence[int], mode: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.size, self.mode = (int(size[0]), int(size[1])), mode
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = pixels.float() / 255
        if pixels.shape[2:] != self.size:
            scaled = F.interpolate(scaled, self.size, mode=self.mode, antialias=True).clamp(0, 1)
        return (scaled - self.mean) / self.std


def _mode(interpolation: str) -> str:
    """torch's antialiased filter for a configuration's: bilinear, else bicubic (also for "random" and "lanczos")."""
    return "bilinear" if interpolation == "bilinear" else "bicubic"

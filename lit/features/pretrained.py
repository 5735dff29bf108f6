"""timm and open_clip networks as feature extractors, with weights from local files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError, closest
from lit.features.extractors import FrozenExtractor
from lit.weights.files import digest, expecting, read_content, read_state, require_file, shortened, state_of
from lit.weights.fitting import ALTERED, fit_state

OWN = "own"  # the name of a model that the suite has trained
OWN_CLIP = "the CLIP of conf/experiment/clip_studio.yaml"


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
        self.preprocess = Preprocess(size, mode, config["mean"], config["std"])
        self.freeze()

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled features, and logits where the model has a linear classifier."""
        maps = self.network.forward_features(self.preprocess(pixels))
        features = self.network.forward_head(maps, pre_logits=True)
        return features, self.network.get_classifier()(features) if self.classes else None


class OpenClipExtractor(FrozenExtractor):
    """The image tower of any open_clip model: its projected embedding before normalisation.

    Args:
        model: open_clip's name, such as ``ViT-B-32``; a checkpoint of the suite's own CLIP says itself what it is.
        weights: checkpoint of the whole model.
        random: take fixed random weights instead, which compare with no published number.

    Raises:
        InputError: unknown model, or weights that are missing or of another model.
    """

    def __init__(self, model: str, weights: str | None, random: bool = False) -> None:
        network, version = random_open_clip(model) if random else read_open_clip(model, weights)
        preprocess = clip_preprocess(network)
        told = version if isinstance(version, str) else digest(version)
        name = OWN if hasattr(network, "architecture") else model
        super().__init__(f"open_clip-{name}-{preprocess.mode}{preprocess.size[0]}", told, 0)
        self.network, self.preprocess = network.visual, preprocess
        self.freeze()
        self.dims = self.both(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))[0].shape[1]

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Image embeddings; there are no logits."""
        found = self.network(self.preprocess(pixels))
        return found[0] if isinstance(found, tuple) else found, None


def read_open_clip(model: str, weights: str | None) -> tuple[Any, Path]:
    """Both towers of an open_clip model with weights from a file, and that file.

    Args:
        model: open_clip's name; a checkpoint of the suite's own CLIP brings its architecture, whatever the name.
        weights: the file.

    Raises:
        InputError: see :class:`OpenClipExtractor`; or a checkpoint of another training.
    """
    expected = f"open_clip's {model}"
    content = None
    if weights is not None and Path(weights).is_file():
        content = read_content(weights, f"weights of {expected}")
        settings = content.get("hyper_parameters") if isinstance(content, dict) else None
        if isinstance(settings, dict) and "pytorch-lightning_version" in content:
            if not isinstance(settings.get("architecture"), dict):
                raise InputError(f"{weights}: a checkpoint of another training; expected {OWN_CLIP}, or {expected}")
            network = build_clip(settings["architecture"])
            own = state_of(content, weights, OWN_CLIP).items()
            state = {key.removeprefix("network."): value for key, value in own if key.startswith("network.")}
            fit_state(network, state, weights, OWN_CLIP, ALTERED)
            return network, Path(weights)
    open_clip = _open_clip_with(model)
    source = "the model's page on the Hugging Face hub has open_clip_pytorch_model.bin; download it once"
    path = require_file(weights, expected, f"{source}, or train a small one with conf/experiment/clip_studio.yaml")
    state = state_of(content, path, expected)
    # Neither tower may fetch weights of its own, nor a text tower its tokenizer's.
    network = open_clip.create_model(model, load_weights=False, pretrained_text=False)
    verdict = f"not the weights of {expected}"
    with expecting(path, f"weights of {expected}"):
        state = open_clip.factory.convert_state_dict(network, state)
    fit_state(network, state, path, expected, verdict)
    return network, path


def build_clip(architecture: dict[str, Any]) -> Any:
    """open_clip's CLIP of an architecture in open_clip's own words, with weights from torch's generator.

    Args:
        architecture: ``embed_dim``, ``vision_cfg`` and ``text_cfg`` as in open_clip's model configurations.

    Raises:
        InputError: a key that open_clip does not know, or sizes that do not fit together.
    """
    from open_clip.model import CLIP, set_model_preprocess_cfg  # type: ignore[import-untyped]  # no type information
    from open_clip.transform import PreprocessCfg  # type: ignore[import-untyped]  # likewise

    try:
        network: Any = CLIP(**architecture)
    except (ArithmeticError, AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"architecture {architecture}: {shortened(error)}; expected embed_dim, vision_cfg and text_cfg as in "
            "open_clip's model configurations"
        ) from error
    set_model_preprocess_cfg(network, asdict(PreprocessCfg(size=network.visual.image_size)))
    network.architecture = architecture
    return network


def clip_preprocess(network: Any) -> Preprocess:
    """What an open_clip model does to pictures first."""
    config = network.visual.preprocess_cfg
    size = config["size"] if isinstance(config["size"], (tuple, list)) else (config["size"],) * 2
    return Preprocess(size, _mode(config["interpolation"]), config["mean"], config["std"])


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


class Preprocess(nn.Module):
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

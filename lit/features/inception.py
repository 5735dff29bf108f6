"""The Inception network of FID (TensorFlow's classify_image graph of 2015-12-05) from a local file of weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cleanfid.resize import build_resizer  # type: ignore[import-untyped]  # ships no type information
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
    FeatureExtractorInceptionV3,
)
from torch_fidelity.interpolate_compat_tensorflow import (  # type: ignore[import-untyped]
    interpolate_bilinear_2d_like_tensorflow1x,
)

from datamodules.errors import InputError
from datamodules.files.weight_files import is_torchscript
from lit.features.extractors import FrozenExtractor
from lit.weights.files import digest, read_state, require_file
from lit.weights.fitting import fit_state
from lit.weights.official.inception import TRUNK, torch_fidelity_state
from lit.weights.official.torchscript import read_torchscript

SIZE, DIMS, LOGITS = 299, 2048, 1008
NETWORK = "the FID Inception network"
RESIZES = ("torchfidelity", "cleanfid")
SOURCE = (
    "torch-fidelity's release page has weights-inception-2015-12-05-6726825d.pth, "
    "NVIDIA's StyleGAN2-ADA metrics folder has inception-2015-12-05.pt; either will do"
)


class InceptionExtractor(FrozenExtractor):
    """Pool3 features (2048) and unbiased logits (1008) of the FID Inception network.

    Reads torch-fidelity's state dict, and the tensors of NVIDIA's TorchScript file. The logits leave the bias out, as
    the original Inception score does.

    Args:
        weights: the file.
        resize: "torchfidelity": bilinear without antialiasing as TensorFlow 1 (what published FID used);
            "cleanfid": Pillow's antialiased bicubic on floats (Parmar et al. 2022).

    Raises:
        InputError: unknown resize, or a file that is missing or holds something else.
    """

    head: Tensor

    def __init__(self, weights: str | None, resize: str = RESIZES[0]) -> None:
        if resize not in RESIZES:
            raise InputError(f"resize '{resize}': expected {' or '.join(RESIZES)}")
        path = require_file(weights, NETWORK, SOURCE)
        trunk, head = _read(path)
        super().__init__(f"fid-inception-{resize}", digest(path), DIMS, LOGITS)
        self.resize = resize
        self.trunk = trunk
        self.register_buffer("head", head)
        self.freeze()

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pool3 features, and logits without bias."""
        features = self.trunk((self.resized(pixels) - 128) / 128).flatten(1)
        return features, F.linear(features, self.head)

    def resized(self, pixels: Tensor) -> Tensor:
        """Floats (B, 3, 299, 299) in [0, 255] of uint8 images (B, 3, H, W)."""
        if self.resize == "torchfidelity":
            return interpolate_bilinear_2d_like_tensorflow1x(pixels.float(), size=(SIZE, SIZE), align_corners=False)
        resizer = build_resizer("clean")  # made here: an attribute could not be pickled
        stacked = np.stack([resizer(image) for image in pixels.permute(0, 2, 3, 1).cpu().numpy()])
        return torch.from_numpy(stacked).to(pixels.device).permute(0, 3, 1, 2).contiguous()


class _Unfilled(FeatureExtractorInceptionV3):
    """The network as its constructor leaves it when there is nothing in its file."""

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> Any:
        """Load what there is."""
        return super().load_state_dict(state, strict) if state else None


def _read(path: Path) -> tuple[nn.Module, Tensor]:
    """The network up to pool3, and the (1008, 2048) weight of its last layer."""
    nothing = io.BytesIO()  # the constructor reads a file, and unpickles it without care
    torch.save({}, nothing)
    nothing.seek(0)
    network = _Unfilled("inception", ["2048"], feature_extractor_weights_path=nothing)
    state = _state(path, network)
    weight = state.get("fc.weight")
    if not isinstance(weight, Tensor) or tuple(weight.shape) != (LOGITS, DIMS):
        found = f"fc.weight {tuple(weight.shape)}" if isinstance(weight, Tensor) else "no fc.weight"
        hint = f"torch-fidelity's {LOGITS} classes; torchvision's inception_v3 is another network"
        raise InputError(f"{path}: {found}, expected ({LOGITS}, {DIMS}) of {hint}")
    fit_state(network, state, path, "weights-inception-2015-12-05", "not torch-fidelity's Inception state dict")
    return nn.Sequential(*(getattr(network, name) for name in TRUNK)), weight.float()


def _state(path: Path, network: nn.Module) -> dict[str, Any]:
    """torch-fidelity's state dict, or what NVIDIA's TorchScript file holds under its names; the program is not run."""
    if not is_torchscript(path, f"weights of {NETWORK}"):
        return read_state(path, NETWORK)
    tensors = read_torchscript(path, f"weights of {NETWORK}")
    if not any(key.startswith("layers.") for key in tensors):
        raise InputError(f"{path}: a TorchScript file without 'layers'; expected NVIDIA's inception-2015-12-05.pt")
    return torch_fidelity_state(tensors, network.state_dict())

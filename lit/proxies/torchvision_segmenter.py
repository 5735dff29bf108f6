"""Segmenters of torchvision with weights from a file, and the choice between them and the suite's own.

``torchvision:NAME:PATH`` names one: a semantic model of torchvision.models.segmentation and its state dict, for example
``torchvision:deeplabv3_resnet50:deeplabv3_resnet50_coco-cd0a2569.pth``. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model, list_models, segmentation

from datamodules.errors import InputError, closest
from lit.proxies.segmentation import PIXEL_MEAN, PIXEL_STD, Segmenter
from lit.weights.files import expecting, read_state
from lit.weights.fitting import fit_state

PREFIX = "torchvision:"
FORM = "torchvision:NAME:PATH, or torchvision:NAME:PATH:CLASS,CLASS,... for weights of other classes than VOC's"
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
HEADS = ("classifier.4.weight", "classifier.low_classifier.weight")  # of FCN and DeepLab, of LRASPP
LEAST_SIDE = 520  # what torchvision brings the shorter side to for these weights
CHUNK = 4  # images at a time: features at an eighth of 520 x 520 pixels take some 100 MB an image


class TorchvisionSegmenter(nn.Module):
    """A semantic model of torchvision behind the interface of :class:`lit.proxies.segmentation.Segmenter`, evaluating.

    Args:
        name: such as "deeplabv3_resnet50".
        path: file with its state dict; an auxiliary classifier in it is left out.
        classes: names in the order of the network's outputs; None for the 21 of VOC, which torchvision's weights have.
        least_side: smaller images are enlarged until their shorter side has so many pixels.

    Attributes:
        classes: see above.

    Raises:
        InputError: no such model or file, weights of another model, or of another number of classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, path: str | Path, classes: Sequence[str] | None = None, least_side: int = LEAST_SIDE
    ) -> None:
        super().__init__()
        if name not in (known := list_models(module=segmentation)):
            raise InputError(f"segmenter {name}: expected one of {', '.join(known)}{closest(name, known)}")
        network = f"torchvision's {name}"
        self.classes, self.least_side = list(classes or VOC_CLASSES), least_side
        state = read_state(Path(path), network)
        with expecting(path, f"the state dict of {network}"):
            state = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
            found = next((len(state[key]) for key in HEADS if key in state), len(self.classes))
            if found != len(self.classes):
                given = "VOC has 21" if classes is None else f"{len(self.classes)} are named"
                raise InputError(f"{path}: weights of {found} classes, {given}; give {FORM}")
            self.network = get_model(name, weights=None, weights_backbone=None, num_classes=found)
            fit_state(self.network, state, Path(path), network)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities (B, classes, H, W) in [0, 1] of uint8 RGB images (B, 3, H, W)."""
        return torch.cat([self._probabilities(chunk) for chunk in images.split(CHUNK)])

    def _probabilities(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        scale = self.least_side / min(height, width)
        x = images.to(self.mean.device).float()
        if scale > 1:
            x = F.interpolate(x, (round(height * scale), round(width * scale)), mode="bilinear")
        likely: Tensor = self.network((x - self.mean) / self.std)["out"].softmax(1)
        return F.interpolate(likely, (height, width), mode="bilinear", antialias=True) if scale > 1 else likely


AnySegmenter = Segmenter | TorchvisionSegmenter


def load_segmenter(source: str | Path) -> AnySegmenter:
    """A segmenter in evaluation mode.

    Args:
        source: checkpoint of our own, or torchvision:NAME:PATH, see the module.

    Raises:
        InputError: see :meth:`Segmenter.load` and :class:`TorchvisionSegmenter`; or a source of another form.
    """
    if not str(source).startswith(PREFIX):
        return Segmenter.load(source)
    name, path, classes = _parts(source)
    return TorchvisionSegmenter(name, path, classes, LEAST_SIDE)


def segmenter_file(source: str | Path) -> Path:
    """The file behind a source of :func:`load_segmenter`.

    Raises:
        InputError: a source of another form.
    """
    return _parts(source)[1] if str(source).startswith(PREFIX) else Path(source)


def _parts(source: str | Path) -> tuple[str, Path, list[str] | None]:
    """Name, file and class names."""
    parts = str(source).removeprefix(PREFIX).split(":", 2)
    names = [name.strip() for name in parts[2].split(",")] if len(parts) == 3 else None
    if len(parts) < 2 or not all(parts) or (names and (not all(names) or len(set(names)) < len(names))):
        raise InputError(f"segmenter {source}: expected {FORM}")
    return parts[0], Path(parts[1]), names

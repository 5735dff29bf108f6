"""What a detector is to the rest of the suite."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from datamodules.errors import InputError
from datamodules.scene import Batch, Objects

Outputs = dict[str, Tensor]


@runtime_checkable
class Detector(Protocol):
    """A network with its loss and its decoding; training code knows nothing else about it.

    Implementations are ``nn.Module`` subclasses.
    """

    def __call__(self, images: Tensor, projections: Tensor) -> Outputs:
        """Run the network.

        Args:
            images: (B, 3, H, W) float, normalised with ImageNet's statistics.
            projections: (B, 3, 4) camera frame in metres to pixels of exactly these images.
        """
        ...

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Weighted scalar losses by name; training minimises their sum.

        What a loss divides by is counted over all processes that train together, which call this in step: the mean of
        their gradients is the gradient of one process with the whole batch.
        """
        ...

    def decode(self, outputs: Outputs, batch: Batch) -> list[Objects]:
        """Predictions of each frame, on the host, with scores, in the order of falling score."""
        ...


def require_learning(network: nn.Module) -> None:
    """Check that a training can change what the network computes in all its branches.

    mmdetection3d's ResNets begin with residual branches whose last normalisation has the scale 0, and freeze all
    normalisation: without weights from a file each such branch adds nothing, for ever.

    Raises:
        InputError: branches are frozen at zero.
    """
    dead = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.GroupNorm)
        and layer.weight is not None
        and not layer.weight.requires_grad
        and not bool(layer.weight.any())
        and not bool(layer.bias.any())
    ]
    if dead:
        raise InputError(
            f"{len(dead)} residual branches are zero and frozen for ever (first {dead[0]}): the network starts without "
            "weights, expected ImageNet's or a detector's; set model.detector.backbone_weights or checkpoint to a file"
        )

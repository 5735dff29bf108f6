"""StyleGAN2's mapping network: latents, and classes where there are any, to style rows.

Source: Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019; classes as in NVIDIA's
stylegan2-ada-pytorch (Karras et al., NeurIPS 2020), whose numbers the parameters hold.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.layers.equalised import EqualLinear


def unit_mean_square(x: Tensor) -> Tensor:
    """Rows (B, C) brought to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """Latent z, and a class, to style row w.

    Args:
        z_dim: width of z.
        w_dim: width of w.
        layers: equalised linear layers.
        lr_multiplier: of their learning rate.
        c_dim: classes, or length of the vectors that condition; 0 for an unconditional network.
        class_label: the class that is meant where none is given.
        average: keep a mean style ``w_avg``, which a generator truncates towards.

    Raises:
        InputError: no such class.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int = 512,
        w_dim: int = 512,
        layers: int = 8,
        lr_multiplier: float = 0.01,
        c_dim: int = 0,
        class_label: int | None = None,
        average: bool = True,
    ) -> None:
        super().__init__()
        self.c_dim: int = c_dim
        self.class_label: int | None = None
        if class_label is not None:
            self.choose(class_label)
        self.embed = EqualLinear(c_dim, w_dim, activate=False) if c_dim else None
        widths = [z_dim + (w_dim if c_dim else 0), *[w_dim] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_multiplier) for a, b in pairwise(widths))
        if average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def choose(self, class_label: int) -> None:
        """Take this class where none is given.

        Raises:
            InputError: no such class.
        """
        if not 0 <= class_label < self.c_dim:
            known = f"expected 0 to {self.c_dim - 1}" if self.c_dim else "expected none, the generator has no classes"
            raise InputError(f"class label {class_label}: {known}")
        self.class_label = class_label

    def forward(self, z: Tensor, class_label: int | Tensor | None = None) -> Tensor:
        """Style rows (B, w_dim) of latents (B, z_dim), which are brought to unit mean square first.

        Args:
            z: latents.
            class_label: class of all, (B,) int64 the class of each, or (B, c_dim) float a vector of each, for
                example a pose; None for the network's own class.

        Raises:
            InputError: a network of classes is told none, or one without is told one.
        """
        w = unit_mean_square(z)
        if self.embed is not None:
            w = torch.cat([w, unit_mean_square(self.embed(self._condition(class_label, w)))], 1)
        elif class_label is not None:
            raise InputError(f"class label {class_label}: expected none, the generator has no classes")
        for layer in self.layers:
            w = layer(w)
        return w

    def _condition(self, class_label: int | Tensor | None, like: Tensor) -> Tensor:
        """(B, c_dim) in the type of ``like`` (B, ...): vectors as they are, classes as one of c_dim."""
        chosen = self.class_label if class_label is None else class_label
        if chosen is None:
            raise InputError(
                f"a generator of {self.c_dim} classes: expected a class; choose one with "
                "`python -m lit prepare weights --class-label N`"
            )
        if isinstance(chosen, Tensor) and chosen.is_floating_point():
            return chosen.to(like.dtype)
        labels = torch.as_tensor(chosen, device=like.device).expand(len(like))
        wrong = labels[(labels < 0) | (labels >= self.c_dim)]
        if len(wrong):
            raise InputError(f"class label {int(wrong[0])}: expected 0 to {self.c_dim - 1}")
        return F.one_hot(labels, self.c_dim).to(like.dtype)

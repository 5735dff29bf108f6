"""Losses of adversarial training: non-saturating logistic loss, R1, path length.

Sources: Goodfellow et al. 2014; Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018
(R1); Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (path length, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean of -log sigmoid(real) - log(1 - sigmoid(fake)), of logits of any shape, in full precision."""
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Mean of -log sigmoid(fake): the non-saturating loss."""
    return F.softplus(-fake_logits.float()).mean()


def r1_penalty(real_logits: Tensor, *images: Tensor) -> Tensor:
    """Mean over the batch of the squared norm of the logits' gradient at real images.

    Args:
        real_logits: logits of ``images``, one or more an image.
        images: (B, ...) that require a gradient, one tensor or several that are judged together (a picture, the same
            at a lower resolution, its label map), whose squared norms add up.

    Returns:
        The penalty without its weight gamma / 2; differentiable.
    """
    gradients = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return torch.stack([gradient.square().flatten(1).sum(1).mean() for gradient in gradients]).sum()


def r1_at(judge: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """:func:`r1_penalty` of ``judge(*images)`` at real images (B, ...)."""
    leaves = [image.detach().requires_grad_() for image in images]
    return r1_penalty(judge(*leaves), *leaves)


def path_length(images: Tensor, latents: Tensor, mean: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Path lengths and their penalty.

    Args:
        images: (B, C, H, W), generated from ``latents``.
        latents: (B, rows, w_dim) that require a gradient.
        mean: scalar, the running mean of lengths; the caller moves it towards the mean of the returned lengths.
        noise: (B, C, H, W) standard normal; drawn when None.

    Returns:
        The penalty (scalar, without its weight; differentiable): mean squared deviation of the lengths from ``mean``;
        and the lengths (B,): norm of the gradient of the image's projection on noise / sqrt(H * W), root mean square
        over the rows of a latent.
    """
    height, width = images.shape[-2:]
    direction = torch.randn_like(images) if noise is None else noise
    projected = (images * direction).sum() / math.sqrt(height * width)
    (gradient,) = torch.autograd.grad(projected, latents, create_graph=True)
    lengths = gradient.square().sum(-1).mean(-1).sqrt()
    return (lengths - mean).square().mean(), lengths

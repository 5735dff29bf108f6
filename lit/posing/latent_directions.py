"""Directions in W along which a StyleGAN2 generator changes one thing, found without labels: SeFa and GANSpace."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.networks.layers.synthesis import SynthesisBlock, SynthesisNetwork
from lit.networks.stylegan2 import StyleGAN2Generator


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions, the strongest first.

    Attributes:
        vectors: (K, w_dim) unit vectors, largest component positive.
        strength: (K,) SeFa: eigenvalues; GANSpace: standard deviations of W along them.
    """

    vectors: Tensor
    strength: Tensor


def row_styles(synthesis: SynthesisNetwork) -> list[Tensor]:
    """Per row of a W+ latent the style weights (channels, w_dim) of the layers it feeds.

    A block's to_rgb shares its row with the next block's first convolution; as in SeFa it counts only for the last row,
    which feeds nothing else.
    """
    styles: list[Tensor] = []
    blocks = [block for block in synthesis.blocks if isinstance(block, SynthesisBlock)]
    for block in blocks:
        styles += [layer.affine.weight.detach() for layer in (block.conv0, block.conv1) if layer is not None]
    return [*styles, blocks[-1].to_rgb.affine.weight.detach()]


def sefa(generator: StyleGAN2Generator, rows: range | None = None, count: int = 20) -> Directions:
    """SeFa (Shen and Zhou, CVPR 2021): eigenvectors of the stacked, normalised style weights of some layers.

    Args:
        generator: any.
        rows: rows of the latent whose layers count; None for all.
        count: directions.

    Raises:
        InputError: rows outside the latent.
    """
    styles = row_styles(generator.synthesis)
    chosen = range(len(styles)) if rows is None else rows
    if not len(chosen) or min(chosen) < 0 or max(chosen) >= len(styles):
        raise InputError(f"rows {chosen}: expected some of the generator's 0 to {len(styles) - 1}; choose others")
    stacked = torch.cat([styles[row] for row in chosen]).double()
    unit = stacked / stacked.norm(dim=1, keepdim=True).clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(unit.t() @ unit)
    return _directions(vectors.t().flip(0)[:count], values.flip(0)[:count])


def ganspace(generator: StyleGAN2Generator, samples: int = 10_000, count: int = 20, seed: int = 0) -> Directions:
    """GANSpace (Harkonen et al., NeurIPS 2020): principal components of W.

    Args:
        generator: any.
        samples: draws of z.
        count: directions.
        seed: of the draws.
    """
    device = next(generator.parameters()).device
    z = torch.from_numpy(derive(seed, "ganspace").standard_normal((samples, generator.z_dim))).float().to(device)
    with torch.no_grad():
        w = generator.mapping(z).double()
    centred = w - w.mean(0)
    values, vectors = torch.linalg.eigh(centred.t() @ centred / (samples - 1))
    return _directions(vectors.t().flip(0)[:count], values.flip(0)[:count].clamp_min(0).sqrt())


def _directions(vectors: Tensor, strength: Tensor) -> Directions:
    """Signs fixed, so that two machines agree on them."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return Directions((vectors * largest.sign()).float(), strength.float())

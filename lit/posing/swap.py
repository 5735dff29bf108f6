"""Which rows of a W+ latent hold the pose: exchange some with another sample and look where the object points now."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.codes import pictures
from lit.proxies.pose_regressor import PoseRegressor, azimuth_error

VERSION = "1"  # of the figures; changes with how they are computed


@dataclass(frozen=True)
class PoseSwap:
    """What the exchange of rows does to the pose; angles in degrees, over ``pairs`` pairs of samples.

    Attributes:
        pose_layers: rows [0, pose_layers) count as the pose's, the later ones as those of shape and paint.
        shared_pose: mean azimuth error between a sample and itself with the later rows of another one: small when the
            split is right.
        shared_shape: the same with the early rows of another one: near that of two samples when the split is right.
        unrelated: the same between two samples.
        shared_pose_median: median of ``shared_pose``'s errors.
        shared_pose_elevation: mean elevation error under shared pose rows.
        shared_shape_elevation: mean elevation error under shared shape rows.
        follows: share of exchanges after which the azimuth is nearer to the sample that gave the early rows.
        pairs: pairs.
    """

    pose_layers: int
    shared_pose: float
    shared_shape: float
    unrelated: float
    shared_pose_median: float
    shared_pose_elevation: float
    shared_shape_elevation: float
    follows: float
    pairs: int


@torch.no_grad()
def measure_pose_swap(
    generator: StyleGAN2Generator,
    regressor: PoseRegressor,
    pose_layers: int,
    pairs: int = 256,
    seed: int = 0,
    truncation: float = 1.0,
    batch: int = 32,
) -> PoseSwap:
    """Exchange the later rows within pairs of samples.

    Args:
        generator: in evaluation mode; images go to the regressor at the generator's own resolution.
        regressor: tells the pose of an image.
        pose_layers: rows that stay.
        pairs: pairs of samples.
        seed: of their latents.
        truncation: of their styles.
        batch: pairs a pass.

    Raises:
        InputError: the split leaves one side without rows, or no pairs.
    """
    if not 0 < pose_layers < generator.rows:
        raise InputError(f"pose_layers {pose_layers}: the generator has {generator.rows} rows, expected 1 to one less")
    if pairs < 1:
        raise InputError(f"pairs {pairs}: expected at least 1")
    z = torch.randn(2, pairs, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    early = torch.arange(generator.rows)[:, None] < pose_layers
    poses: list[Tensor] = []
    for start in range(0, pairs, batch):
        first, second = (generator.latents(side[start : start + batch], truncation) for side in z)
        # columns: first, second, first's pose rows with second's others, second's pose rows with first's others
        latents = (first, second, torch.where(early, first, second), torch.where(early, second, first))
        poses.append(torch.stack([regressor.pose(pictures(generator, latent)) for latent in latents]))
    first, second, crossed, other = torch.cat(poses, 1)  # (pairs, 2) each
    kept = azimuth_error(first[:, 0], crossed[:, 0])
    return PoseSwap(
        pose_layers,
        shared_pose=float(kept.mean()),
        shared_shape=float(azimuth_error(first[:, 0], other[:, 0]).mean()),
        unrelated=float(azimuth_error(first[:, 0], second[:, 0]).mean()),
        shared_pose_median=float(kept.median()),
        shared_pose_elevation=float((first[:, 1] - crossed[:, 1]).abs().mean()),
        shared_shape_elevation=float((first[:, 1] - other[:, 1]).abs().mean()),
        follows=float((kept < azimuth_error(second[:, 0], crossed[:, 0])).float().mean()),
        pairs=pairs,
    )

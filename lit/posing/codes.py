"""Poses that a StyleGAN2 can show: latents whose early rows hold them, and the camera that each of them means."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.files.atomic_files import write_atomically
from lit.networks.image_range import to_pixels
from lit.networks.stylegan2 import StyleGAN2Generator

CHUNK = 32  # images generated at a time


@dataclass(frozen=True)
class PoseCodes:
    """K poses, among which the views of one car are chosen.

    Attributes:
        id: what they come from, for people.
        latents: (K, rows, w_dim) latents; the later rows count for nothing.
        projection: (K, 3, 4) from the object's canonical cube to pixels.
        dims: (3,) length, height, width in metres of any object shown in these poses.
        silhouettes: (K, S, S) bool of an object of known outline in these poses, or None.
    """

    id: str
    latents: Tensor
    projection: np.ndarray
    dims: np.ndarray
    silhouettes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.latents)


@torch.no_grad()
def random_car(
    generator: StyleGAN2Generator, random: np.random.Generator, device: torch.device, truncation: float = 1.0
) -> Tensor:
    """(1, rows, w_dim) latents of a car in a random pose."""
    z = torch.from_numpy(random.standard_normal((1, generator.z_dim), "f4"))
    return generator.latents(z.to(device), truncation)


def posed(poses: Tensor, car: Tensor, pose_layers: int) -> Tensor:
    """(K, rows, w_dim) latents of one car (1, rows, w_dim) in the poses of others (K, rows, w_dim)."""
    latents = car.expand(len(poses), -1, -1).clone()
    latents[:, :pose_layers] = poses[:, :pose_layers]
    return latents


def keep(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays to an ``.npz`` that is complete or not there."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stubs take a name for allow_pickle
    write_atomically(path, buffer.getvalue())


@torch.no_grad()
def pictures(generator: StyleGAN2Generator, latents: Tensor) -> Tensor:
    """(K, 3, S, S) uint8 images of latents (K, rows, w_dim) under the generator's stored noise."""
    return torch.cat([to_pixels(generator.synthesis(chunk, noise="const")) for chunk in latents.split(CHUNK)])

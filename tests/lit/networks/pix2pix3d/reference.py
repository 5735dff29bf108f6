"""Reference answers of pix2pix3D's official networks with small random weights, where somebody has them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.rendering.camera_march import CameraMarch
from lit.weights.official.pix2pix3d_names import discriminator_state, generator_state

FOLDER = Path(os.environ.get("LIFTBENCH_ORACLES", "/nonexistent")) / "pix2pix3d"
CASES = ("edge", "seg")
CLASSES = {"edge": 1, "seg": 6}
SIZES: dict[str, dict[str, Any]] = {
    "edge": {"labels": "edges", "render_size": 64, "z_dim": 64, "pose_condition": False, "box": 1.6}
    | {"channel_base": 4096, "channel_max": 48},
    "seg": {"render_size": 32, "z_dim": 48, "channel_base": 2048, "channel_max": 32},
}
MARCH: dict[str, tuple[Any, ...]] = {"edge": (0.1, 2.6, 16, 16, True), "seg": (2.25, 3.3, 16, 16)}


def require() -> None:
    """Skip where there are no reference answers."""
    if not FOLDER.is_dir():
        pytest.skip("LIFTBENCH_ORACLES names no folder of reference answers")


@lru_cache
def arrays(name: str) -> dict[str, Tensor]:
    """All arrays of a file."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def generator(case: str) -> Pix2Pix3DGenerator:
    """Our network with the official weights; every entry has found its place."""
    network = Pix2Pix3DGenerator(
        CameraMarch(*MARCH[case]), 128, classes=CLASSES[case], w_dim=64, encoder_base=2048, encoder_max=32,
        raw_after_first_block=True, **SIZES[case],
    )  # fmt: skip
    network.load_state_dict(generator_state(arrays(f"{case}_G_state"), "reference"))
    return network.eval()


def discriminator(case: str, kind: str) -> StyleGAN2Discriminator:
    """ "D", which judges images, or "Ds", which judges images with labels."""
    channels = 3 if kind == "D" else 3 + CLASSES[case]
    base, most, group = (4096, 48, 4) if case == "edge" else (2048, 32, 2)
    network = StyleGAN2Discriminator(128, base, most, group, channels, channels, 25, 256.0)
    network.load_state_dict(discriminator_state(arrays(f"{case}_{kind}_state"), "reference"))
    return network


def labels_of(case: str, stored: Tensor) -> Tensor:
    """Label maps as our network takes them, of stored ones (B, 1, R, R)."""
    return stored.float() if case == "edge" else stored[:, 0].long()


def far(found: Tensor, wanted: Tensor) -> float:
    """Largest absolute difference."""
    assert found.shape == wanted.shape
    return float((found.detach() - wanted).abs().max())

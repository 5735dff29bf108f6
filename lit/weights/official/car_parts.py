"""The 32 car parts of DatasetGAN (Zhang et al., CVPR 2021) in the order of Lift3D's part logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.errors import InputError, closest

CAR_PARTS = (
    *("background", "back bumper", "bumper", "car body", "right headlight", "left headlight", "back door", "fender"),
    *("front door", "grille", "back handle", "front handle", "hood", "front licence plate", "back licence plate"),
    *("logo", "mirror", "roof", "running board", "right taillight", "left taillight", "back wheel", "front wheel"),
    *("trunk", "back wheelhub", "front wheelhub", "back spoke", "front spoke", "back door window", "back windshield"),
    *("front door window", "windshield"),
)


def part_indices(names: Sequence[str]) -> list[int]:
    """Indices of parts given by name or number.

    Raises:
        InputError: neither.
    """
    found = []
    for name in names:
        if name not in CAR_PARTS and not (name.isdigit() and int(name) < len(CAR_PARTS)):
            raise InputError(f"part '{name}': expected 0-{len(CAR_PARTS) - 1} or a name{closest(name, CAR_PARTS)}")
        found.append(int(name) if name.isdigit() else CAR_PARTS.index(name))
    return found


def part_colours(count: int = len(CAR_PARTS)) -> np.ndarray:
    """(count, 3) uint8 colours for label maps: black, then hues a golden section apart."""
    index = np.arange(count)
    hue, value = (index * 0.618034) % 1.0, 0.65 + 0.35 * (index % 3) / 2
    channels = [np.clip(np.abs((hue + shift) % 1.0 * 6 - 3) - 1, 0, 1) for shift in (0.0, 2 / 3, 1 / 3)]
    colours = np.stack(channels, -1) * value[:, None] * 255
    colours[0] = 0
    return colours.round().astype(np.uint8)

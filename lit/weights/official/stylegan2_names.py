"""Names of StyleGAN2 parameters in NVIDIA's PyTorch files, and what they are called in this suite."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from datamodules.errors import InputError

BLOCK_KEY = re.compile(r"b(\d+)\.(?:(const)|(conv[01]|torgb)\.(.+))")
FILTER = "resample_filter"


def synthesis_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A synthesis network's state under our names.

    Kernels need no change: ours keeps NVIDIA's convention. The constant gets a leading axis; the low-pass filters,
    which are part of our code, are compared and left out.

    Args:
        state: names such as ``b8.conv0.affine.weight``.
        source: the file, for messages.

    Raises:
        InputError: a name of another architecture, or another filter.
    """
    renamed = {}
    for key, value in state.items():
        if key.endswith(FILTER):
            check_filter(value, 1 / 64, key, source)
            continue
        match = BLOCK_KEY.fullmatch(key)
        if match is None:
            raise InputError(f"{source}: synthesis.{key} is no parameter of StyleGAN2's skip generator, config F")
        resolution, constant, layer, rest = match.groups()
        if constant:
            renamed["constant"] = value.float()[None]
        else:
            block = f"blocks.{int(resolution).bit_length() - 3}"
            renamed[f"{block}.{'to_rgb' if layer == 'torgb' else layer}.{rest}"] = value.float()
    return renamed


def mapping_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A mapping network's state (``fc0.weight``, ``w_avg``) under our names."""
    return {re.sub(r"^fc(\d+)\.", r"layers.\1.", key): value.float() for key, value in state.items()}


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def block_widths(state: Mapping[str, Tensor], source: str) -> dict[int, int]:
    """Channels by resolution of a synthesis network's state (NVIDIA's names).

    Raises:
        InputError: it has no blocks b4, b8, ...
    """
    widths = {
        int(key[1:].split(".")[0]): int(value.shape[0])
        for key, value in state.items()
        if re.fullmatch(r"b\d+\.conv1\.weight", key)
    }
    if 4 not in widths or sorted(widths) != [4 << i for i in range(len(widths))]:
        raise InputError(f"{source}: holds no StyleGAN2 synthesis (blocks b4, b8, ...; found {sorted(widths)})")
    return widths


def check_filter(value: Tensor, scale: float, key: str, source: str) -> None:
    """Refuse another low-pass filter than StyleGAN2's, normalised by 1/64 or for doubling by four times as much.

    Raises:
        InputError: names the key.
    """
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = torch.outer(row, row) * scale
    if value.shape != expected.shape or not torch.allclose(value.float(), expected, atol=1e-6):
        raise InputError(f"{source}: {key} is another low-pass filter than StyleGAN2's [1, 3, 3, 1]; not supported")

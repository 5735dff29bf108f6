"""The rule behind the widths of a StyleGAN2 network, from the widths that a file has."""

from __future__ import annotations

from collections.abc import Mapping

from datamodules.errors import InputError


def channel_rule(widths: Mapping[int, int], source: str) -> tuple[int, int]:
    """``channel_base`` and ``channel_max`` such that resolution r has ``min(channel_base // r, channel_max)`` channels.

    Args:
        widths: channels by resolution.
        source: the file, for messages.

    Raises:
        InputError: no such numbers exist.
    """
    most = max(widths.values())
    finest = max(widths)
    base = widths[finest] * finest
    if wrong := [size for size, width in widths.items() if min(base // size, most) != width]:
        raise InputError(
            f"{source}: {widths[wrong[0]]} channels at resolution {wrong[0]}, expected {min(base // wrong[0], most)}"
            f" (StyleGAN2's min({base} / resolution, {most})); this network has another shape"
        )
    return base, most

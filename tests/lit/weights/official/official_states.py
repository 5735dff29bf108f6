"""Random weights under the official names and shapes, made for tests."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = {
    "resolution": 32,
    "z_dim": 12,
    "w_dim": 16,
    "mapping_layers": 3,
    "channel_base": 256,
    "channel_max": 24,
}
SIZES = (4, 8, 16, 32)
WIDTHS = {size: min(SMALL["channel_base"] // size, SMALL["channel_max"]) for size in SIZES}
ROW = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(ROW, ROW) / 64


def nvidia_synthesis(
    draw: torch.Generator, widths: dict[int, int], w_dim: int, image_channels: int, prefix: str = ""
) -> dict[str, Tensor]:
    """A synthesis network's state."""

    def normal(*shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=draw) * scale + mean

    state, before = {f"{prefix}b4.const": normal(widths[4], 4, 4)}, 0
    for size, width in widths.items():
        block = f"{prefix}b{size}"
        state[f"{block}.resample_filter"] = FILTER.clone()
        for layer, inputs in (("conv0", before), ("conv1", width)):
            if not inputs:
                continue
            state[f"{block}.{layer}.weight"] = normal(width, inputs, 3, 3)
            state[f"{block}.{layer}.bias"] = normal(width, scale=0.3)
            state[f"{block}.{layer}.noise_strength"] = normal(scale=0.3)
            state[f"{block}.{layer}.noise_const"] = normal(size, size)
            state[f"{block}.{layer}.resample_filter"] = FILTER.clone()
            state[f"{block}.{layer}.affine.weight"] = normal(inputs, w_dim)
            state[f"{block}.{layer}.affine.bias"] = normal(inputs, scale=0.2, mean=1.0)
        state[f"{block}.torgb.weight"] = normal(image_channels, width, 1, 1)
        state[f"{block}.torgb.bias"] = normal(image_channels, scale=0.2)
        state[f"{block}.torgb.affine.weight"] = normal(width, w_dim)
        state[f"{block}.torgb.affine.bias"] = normal(width, scale=0.2, mean=1.0)
        before = width
    return state


def nvidia_state(seed: int = 0, classes: int = 0) -> dict[str, Tensor]:
    """A small StyleGAN2 generator's state in NVIDIA's layout, of so many classes."""
    draw = torch.Generator().manual_seed(seed)
    state = nvidia_synthesis(draw, WIDTHS, SMALL["w_dim"], 3, "synthesis.")
    inputs = SMALL["z_dim"]
    for index in range(SMALL["mapping_layers"]):
        state[f"mapping.fc{index}.weight"] = torch.randn(SMALL["w_dim"], inputs, generator=draw) * 100
        state[f"mapping.fc{index}.bias"] = torch.randn(SMALL["w_dim"], generator=draw) * 30
        inputs = SMALL["w_dim"]
    state["mapping.w_avg"] = torch.randn(SMALL["w_dim"], generator=draw)
    if classes:
        width = SMALL["w_dim"]
        state["mapping.fc0.weight"] = torch.randn(width, SMALL["z_dim"] + width, generator=draw) * 100
        state["mapping.embed.weight"] = torch.randn(width, classes, generator=draw)
        state["mapping.embed.bias"] = torch.randn(width, generator=draw) * 0.3
    return state


def rosinality_state(seed: int = 0) -> dict[str, Tensor]:
    """A small generator's state in rosinality's layout, with its buffers."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=draw) * scale + mean

    w_dim, state, inputs = SMALL["w_dim"], {}, SMALL["z_dim"]
    for index in range(1, SMALL["mapping_layers"] + 1):
        state[f"style.{index}.weight"] = normal(w_dim, inputs, scale=100)
        state[f"style.{index}.bias"] = normal(w_dim, scale=30)
        inputs = w_dim
    state["input.input"] = normal(1, WIDTHS[4], 4, 4)
    layers = [("conv1", WIDTHS[4], WIDTHS[4], 4, False)]
    images = [("to_rgb1", WIDTHS[4])]
    for number, size in enumerate(SIZES[1:]):
        layers.append((f"convs.{2 * number}", WIDTHS[size // 2], WIDTHS[size], size, True))
        layers.append((f"convs.{2 * number + 1}", WIDTHS[size], WIDTHS[size], size, False))
        images.append((f"to_rgbs.{number}", WIDTHS[size]))
    for index, (name, before, width, size, up) in enumerate(layers):
        state[f"{name}.conv.weight"] = normal(1, width, before, 3, 3)
        state[f"{name}.conv.modulation.weight"] = normal(before, w_dim)
        state[f"{name}.conv.modulation.bias"] = normal(before, scale=0.2, mean=1.0)
        state[f"{name}.noise.weight"] = normal(1, scale=0.3)
        state[f"{name}.activate.bias"] = normal(width, scale=0.3)
        state[f"noises.noise_{index}"] = normal(1, 1, size, size)
        if up:
            state[f"{name}.conv.blur.kernel"] = FILTER * 4
    for name, width in images:
        state[f"{name}.conv.weight"] = normal(1, 3, width, 1, 1)
        state[f"{name}.conv.modulation.weight"] = normal(width, w_dim)
        state[f"{name}.conv.modulation.bias"] = normal(width, scale=0.2, mean=1.0)
        state[f"{name}.bias"] = normal(1, 3, 1, 1, scale=0.2)
        if name != "to_rgb1":
            state[f"{name}.upsample.kernel"] = FILTER * 4
    return state

"""StyleGAN2's forward pass written a second time, from the official layouts of weights, operator by operator.

Modulated weights in a grouped convolution, resampling by explicit zero insertion and filtering: slow, and nothing of it
is shared with the suite's network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

FILTER = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
State = Mapping[str, Tensor]


def upfirdn(x: Tensor, up: int, padding: tuple[int, int], gain: float) -> Tensor:
    """Zero insertion, padding on both axes alike, and a true convolution with the filter."""
    batch, channels, height, width = x.shape
    inserted = x.new_zeros(batch, channels, height * up, width * up)
    inserted[:, :, ::up, ::up] = x
    inserted = F.pad(inserted, (*padding, *padding))
    kernel = (FILTER * gain).flip(0, 1).expand(channels, 1, 4, 4)
    return F.conv2d(inserted, kernel, groups=channels)


def grouped(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Convolve every sample with weights of its own (B, O, I, K, K)."""
    batch, outputs = weight.shape[:2]
    joined = x.reshape(1, -1, *x.shape[2:])
    return F.conv2d(joined, weight.flatten(0, 1), padding=padding, groups=batch).unflatten(1, (batch, outputs))[0]


def modulated(weight: Tensor, style: Tensor, demodulate: bool) -> Tensor:
    """Weights (B, O, I, K, K) of styles (B, I)."""
    own = weight[None] * style[:, None, :, None, None]
    if demodulate:
        own = own * (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    return own


def nvidia_layer(state: State, name: str, x: Tensor, w: Tensor, up: bool, bound: float = math.inf) -> Tensor:
    """One synthesis layer with constant noise; ``bound`` is the official conv_clamp."""
    affine = state[f"{name}.affine.weight"]
    style = w @ (affine / math.sqrt(affine.shape[1])).T + state[f"{name}.affine.bias"]
    weight = modulated(state[f"{name}.weight"], style, demodulate=True)
    # after doubling a true convolution, hence the turned kernel
    x = grouped(upfirdn(x, 2, (3, 2), 4.0), weight.flip(3, 4), 0) if up else grouped(x, weight, 1)
    x = x + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
    x = F.leaky_relu(x + state[f"{name}.bias"].view(1, -1, 1, 1), 0.2) * math.sqrt(2)
    return torch.minimum(x.abs(), torch.tensor(bound)) * x.sign()


def nvidia_image(state: State, name: str, x: Tensor, w: Tensor, bound: float = math.inf) -> Tensor:
    """One layer to RGB."""
    affine, weight = state[f"{name}.affine.weight"], state[f"{name}.weight"]
    style = w @ (affine / math.sqrt(affine.shape[1])).T + state[f"{name}.affine.bias"]
    own = modulated(weight, style / math.sqrt(weight.shape[1]), demodulate=False)
    image = grouped(x, own, 0) + state[f"{name}.bias"].view(1, -1, 1, 1)
    return torch.minimum(image.abs(), torch.tensor(bound)) * image.sign()


def nvidia_styles(state: State, z: Tensor, layers: int, truncation: float, labels: list[int] | None = None) -> Tensor:
    """Mapping network; the styles (B, w_dim) of z and, in a network of classes, of one class each."""
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    if labels is not None:
        table = state["mapping.embed.weight"] / math.sqrt(state["mapping.embed.weight"].shape[1])
        embedded = torch.stack([table[:, label] + state["mapping.embed.bias"] for label in labels])
        w = torch.cat([w, embedded / (embedded.square().mean(1, keepdim=True) + 1e-8).sqrt()], 1)
    for index in range(layers):
        weight = state[f"mapping.fc{index}.weight"]
        w = w @ (weight * 0.01 / math.sqrt(weight.shape[1])).T + state[f"mapping.fc{index}.bias"] * 0.01
        w = F.leaky_relu(w, 0.2) * math.sqrt(2)
    average = state["mapping.w_avg"]
    return average + truncation * (w - average)


def nvidia_forward(
    state: State,
    z: Tensor,
    resolution: int,
    layers: int,
    truncation: float = 1.0,
    bound: float = math.inf,
    labels: list[int] | None = None,
) -> Tensor:
    """Images of z from a state in NVIDIA's layout, noise_mode "const"."""
    w = nvidia_styles(state, z, layers, truncation, labels)
    x = state["synthesis.b4.const"].expand(len(z), -1, -1, -1)
    x = nvidia_layer(state, "synthesis.b4.conv1", x, w, False, bound)
    image = nvidia_image(state, "synthesis.b4.torgb", x, w, bound)
    size = 8
    while size <= resolution:
        x = nvidia_layer(state, f"synthesis.b{size}.conv0", x, w, True, bound)
        x = nvidia_layer(state, f"synthesis.b{size}.conv1", x, w, False, bound)
        image = upfirdn(image, 2, (2, 1), 4.0) + nvidia_image(state, f"synthesis.b{size}.torgb", x, w, bound)
        size *= 2
    return image


def rosinality_layer(state: State, name: str, x: Tensor, w: Tensor, up: bool, noise: Tensor) -> Tensor:
    """One styled convolution of rosinality's: scaled weights, a transposed convolution and a blur for doubling."""
    affine, weight = state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.weight"][0]
    style = F.linear(w, affine / math.sqrt(affine.shape[1]), state[f"{name}.conv.modulation.bias"])
    own = modulated(weight / math.sqrt(weight[0].numel()), style, demodulate=True)
    if up:
        batch, outputs, inputs = own.shape[:3]
        kernel = own.transpose(1, 2).reshape(batch * inputs, outputs, 3, 3)
        x = F.conv_transpose2d(x.reshape(1, -1, *x.shape[2:]), kernel, stride=2, groups=batch)
        x = upfirdn(x.unflatten(1, (batch, outputs))[0], 1, (1, 1), 4.0)
    else:
        x = grouped(x, own, 1)
    x = x + state[f"{name}.noise.weight"] * noise
    return F.leaky_relu(x + state[f"{name}.activate.bias"].view(1, -1, 1, 1), 0.2) * math.sqrt(2)


def rosinality_image(state: State, name: str, x: Tensor, w: Tensor, before: Tensor | None) -> Tensor:
    """One layer to RGB, added to the doubled image so far."""
    affine, weight = state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.weight"][0]
    style = F.linear(w, affine / math.sqrt(affine.shape[1]), state[f"{name}.conv.modulation.bias"])
    image = grouped(x, modulated(weight / math.sqrt(weight[0].numel()), style, demodulate=False), 0)
    image = image + state[f"{name}.bias"]
    return image if before is None else image + upfirdn(before, 2, (2, 1), 4.0)


def rosinality_forward(state: State, z: Tensor, layers: int) -> Tensor:
    """Images of z from a state in rosinality's layout, with its stored noise."""
    w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for index in range(1, layers + 1):
        weight = state[f"style.{index}.weight"]
        w = F.linear(w, weight * (0.01 / math.sqrt(weight.shape[1])))
        w = F.leaky_relu(w + state[f"style.{index}.bias"] * 0.01, 0.2) * math.sqrt(2)
    x = state["input.input"].repeat(len(z), 1, 1, 1)
    x = rosinality_layer(state, "conv1", x, w, False, state["noises.noise_0"])
    image = rosinality_image(state, "to_rgb1", x, w, None)
    index = 0
    while f"convs.{index}.conv.weight" in state:
        x = rosinality_layer(state, f"convs.{index}", x, w, True, state[f"noises.noise_{index + 1}"])
        x = rosinality_layer(state, f"convs.{index + 1}", x, w, False, state[f"noises.noise_{index + 2}"])
        image = rosinality_image(state, f"to_rgbs.{index // 2}", x, w, image)
        index += 2
    return image

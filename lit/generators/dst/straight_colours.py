"""An autoencoder that begins with the colours of its pictures, reduced to the latents' size, in its latents.

From random weights the small AutoencoderKL learns brightness first, and hue hardly ever: paint covers few pixels of a
picture, hues of different pictures cancel out as long as the latents do not tell them apart, and group normalisation
takes away what is constant over a picture. So its weights begin where colours pass straight through: some channels of
every layer carry each input channel and its negative, no residual adds to them, and the last layers read the difference
(silu(a) - silu(-a) = a). A constant among them keeps the normalisation from dividing by a picture's own contrast.
All weights are free from the first step on, and nothing differs in form from any other AutoencoderKL.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from datamodules.errors import InputError

CONSTANT = 4.0  # of the carried channels: beside it pixels hardly change what normalisation divides by
LOG_VARIANCE = -4.0  # of the latents at first: an eighth of the pixels' range


def carried(inputs: int) -> int:
    """Channels that carry ``inputs`` of a picture: each and its negative, and a constant likewise."""
    return 2 * inputs + 2


@torch.no_grad()
def begin_with_colours(network: AutoencoderKL) -> None:
    """Change a new network's weights so that decoding its latents gives the reduced picture.

    Raises:
        InputError: a group of normalised channels is too small for the carried ones, or there are more input channels
            than latents.
    """
    inputs, config = network.config["in_channels"], network.config
    count, least = carried(inputs), min(config["block_out_channels"]) // config["norm_num_groups"]
    if least < count or inputs > config["latent_channels"]:
        raise InputError(
            f"model.straight with {least} channels a group: expected at least {count}, so that {inputs} input channels "
            "pass; set model.groups lower, or model.straight false"
        )
    for part in (network.encoder, network.decoder):
        _carry_in(part.conv_in, inputs)
        for module in part.modules():
            _carry_on(module, count)
        _carry_out(part.conv_out, inputs, part.conv_out.in_channels // config["norm_num_groups"])
    network.encoder.conv_out.weight[config["latent_channels"] :] = 0
    network.encoder.conv_out.bias[config["latent_channels"] :] = LOG_VARIANCE
    for mixed in (network.quant_conv, network.post_quant_conv):
        mixed.weight.copy_(torch.eye(len(mixed.weight))[..., None, None])
        mixed.bias.zero_()


def _carry_in(conv: nn.Conv2d, inputs: int) -> None:
    """The first channels become inputs and their negatives, then a constant and its negative."""
    count = carried(inputs)
    signs = torch.tensor([1.0, -1.0])
    conv.weight[:count] = 0
    for number in range(inputs):
        conv.weight[2 * number : 2 * number + 2, number, 1, 1] = signs
    assert conv.bias is not None
    conv.bias[:count] = 0
    conv.bias[count - 2 : count] = CONSTANT * signs


def _carry_on(module: Any, count: int) -> None:
    """A block passes its first channels on as they are: halved in size by their mean, doubled by repetition."""
    kind = type(module).__name__
    if kind == "ResnetBlock2D":
        _clear(module.conv2, count)
        if module.conv_shortcut is not None:
            _pass(module.conv_shortcut, count, torch.ones(1, 1))
    elif kind == "Attention":
        _clear(module.to_out[0], count)
    elif kind == "Downsample2D":  # padded on the right and below: the other two taps are the four pixels
        taps = torch.zeros(3, 3)
        taps[:2, :2] = 0.25
        _pass(module.conv, count, taps)
    elif kind == "Upsample2D":
        taps = torch.zeros(3, 3)
        taps[1, 1] = 1.0
        _pass(module.conv, count, taps)


def _carry_out(conv: nn.Conv2d, inputs: int, size: int) -> None:
    """The first outputs become the differences of the carried pairs alone, as large as before the normalisation.

    Args:
        conv: the layer.
        inputs: carried channels of a picture.
        size: of a group of channels, the others of which are taken to have unit spread.
    """
    divisor = ((2 * CONSTANT**2 + size - carried(inputs)) / size) ** 0.5
    conv.weight[:inputs] = 0
    for number in range(inputs):
        conv.weight[number, 2 * number : 2 * number + 2, 1, 1] = torch.tensor([divisor, -divisor])
    assert conv.bias is not None
    conv.bias[:inputs] = 0


def _clear(layer: nn.Conv2d | nn.Linear, count: int) -> None:
    """Nothing goes to the first channels."""
    layer.weight[:count] = 0
    if layer.bias is not None:
        layer.bias[:count] = 0


def _pass(layer: nn.Conv2d, count: int, taps: Tensor) -> None:
    """The first channels become themselves, summed with ``taps``."""
    _clear(layer, count)
    for number in range(count):
        layer.weight[number, number] = taps

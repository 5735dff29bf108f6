"""StyleGAN2 checkpoints of rosinality/stylegan2-pytorch: a dict with ``g_ema`` and, if converted, ``latent_avg``.

The layers compute what NVIDIA's compute and store the same numbers (its converter has flipped the kernels of
TensorFlow's up-convolutions and added 1 to the modulation biases): only names, and axes of length 1, differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.weight_files import require_floats
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.weights.fitting import fit_state
from lit.weights.official.channel_rule import channel_rule
from lit.weights.official.stylegan2_names import check_filter

EXPECTED = "rosinality's StyleGAN2 generator"
LAYERS = re.compile(r"(conv1|convs\.\d+)\.(.+)")
IMAGES = re.compile(r"(to_rgb1|to_rgbs\.\d+)\.(.+)")
PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}


def is_rosinality(content: Any) -> bool:
    """Whether the content of a PyTorch file is such a checkpoint."""
    return isinstance(content, dict) and isinstance(content.get("g_ema"), dict)


def stylegan2_of_rosinality(content: dict[str, Any], path: str | Path) -> StyleGAN2Generator:
    """The generator of a checkpoint's ``g_ema``, in evaluation mode; its size follows from the tensors' shapes.

    Args:
        content: the checkpoint.
        path: where it is from, for messages.

    Raises:
        InputError: keys or shapes that are no such generator's; no style average to truncate towards is not an error
            (w_avg is estimated from 4096 draws then).
    """
    state = {str(key).removeprefix("module."): value for key, value in content["g_ema"].items()}
    for key in ("input.input", "style.1.weight", "conv1.conv.weight"):
        if not isinstance(state.get(key), Tensor):
            raise InputError(f"{path}: g_ema.{key} is missing; expected {EXPECTED}")
    widths = {4: state["conv1.conv.weight"].shape[1]}
    while isinstance(found := state.get(f"convs.{2 * len(widths) - 1}.conv.weight"), Tensor):
        widths[4 << len(widths)] = found.shape[1]
    base, most = channel_rule(widths, str(path))
    w_dim, z_dim = state["style.1.weight"].shape
    generator = StyleGAN2Generator(
        resolution=max(widths),
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=len([key for key in state if re.fullmatch(r"style\.\d+\.weight", key)]),
        channel_base=base,
        channel_max=most,
    )
    average = content.get("latent_avg")
    if average is not None and not isinstance(average, Tensor):
        raise InputError(f"{path}: latent_avg is a {type(average).__name__}, expected a tensor; give {EXPECTED}")
    require_floats({**state, "latent_avg": average}, path, f"give {EXPECTED}")
    renamed = renamed_state(state, str(path))
    renamed["mapping.w_avg"] = (
        average.reshape(-1).float() if isinstance(average, Tensor) else torch.zeros(generator.w_dim)
    )
    noises = {key: value for key, value in generator.state_dict().items() if key.endswith("noise_const")}
    if not noises.keys() & renamed.keys():  # older files hold no constant noise; ours stays then
        renamed.update(noises)
    fit_state(generator, renamed, Path(path), EXPECTED)
    if not isinstance(average, Tensor):
        estimate_average(generator)
    return generator.eval()


def renamed_state(state: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """A rosinality generator's state under our names.

    Raises:
        InputError: a key that the network does not have.
    """
    renamed = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: g_ema.{key[:80]} is a {type(value).__name__}, expected a tensor")
        value = value.float()
        if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", key):
            renamed[f"mapping.layers.{int(match[1]) - 1}.{match[2]}"] = value
        elif key == "input.input":
            renamed["synthesis.constant"] = value
        elif match := re.fullmatch(r"noises\.noise_(\d+)", key):
            renamed[f"synthesis.{_layer(int(match[1]))}.noise_const"] = value.reshape(value.shape[-2:])
        elif (match := LAYERS.fullmatch(key)) and match[2] in PARTS:
            number = 0 if match[1] == "conv1" else int(match[1].split(".")[1]) + 1
            renamed[f"synthesis.{_layer(number)}.{PARTS[match[2]]}"] = _squeezed(match[2], value)
        elif (match := IMAGES.fullmatch(key)) and match[2] in PARTS:
            block = 0 if match[1] == "to_rgb1" else int(match[1].split(".")[1]) + 1
            renamed[f"synthesis.blocks.{block}.to_rgb.{PARTS[match[2]]}"] = _squeezed(match[2], value)
        elif key.endswith(".kernel"):
            check_filter(value, 1 / 16, key, path)
        else:
            raise InputError(f"{path}: g_ema.{key[:80]} is no parameter of {EXPECTED}")
    return renamed


def estimate_average(generator: StyleGAN2Generator, draws: int = 4096) -> None:
    """Set ``w_avg`` to the mean style of ``draws`` latents of a fixed seed, in place."""
    z = torch.randn(draws, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        generator.mapping.w_avg.copy_(generator.mapping(z).mean(0))


def _layer(number: int) -> str:
    """Our name of the ``number``-th convolution: 0 is the one at 4 x 4, then two a block."""
    return "blocks.0.conv1" if number == 0 else f"blocks.{(number + 1) // 2}.conv{(number + 1) % 2}"


def _squeezed(part: str, value: Tensor) -> Tensor:
    if part == "conv.weight":
        return value[0]
    return value.reshape(()) if part == "noise.weight" else value.reshape(-1) if part.endswith("bias") else value

"""NVIDIA's TorchScript file of the FID Inception network, under the names of torch-fidelity's state dict.

NVIDIA's module names its layers as TensorFlow's graph does (mixed_4/tower_1/conv_2), torch-fidelity's as torchvision
does (Mixed_6b.branch7x7dbl_3); both compute the same, batch normalisation with epsilon 0.001 and without a scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

TRUNK = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
UNBRANCHED, POOLED = {"branch1x1": ""}, {"branch_pool": "tower_2_"}
TOWERS = {  # by the block's stage: a branch's place in TensorFlow's block
    "5": {**UNBRANCHED, "branch5x5": "tower_", "branch3x3dbl": "tower_1_", **POOLED},
    "6a": {"branch3x3": "", "branch3x3dbl": "tower_"},
    "6": {**UNBRANCHED, "branch7x7": "tower_", "branch7x7dbl": "tower_1_", **POOLED},
    "7a": {"branch3x3": "tower_", "branch7x7x3": "tower_1_"},
    "7": {**UNBRANCHED, "branch3x3": "tower_", "branch3x3dbl": "tower_1_", **POOLED},
}
TENSORS = {
    "conv.weight": ("weight", "conv_weight"),
    "bn.weight": ("gamma", "bn_weight", "bn_gamma"),
    "bn.bias": ("beta", "bias", "bn_bias", "bn_beta"),
    "bn.running_mean": ("mean", "running_mean", "bn_running_mean", "bn_mean"),
    "bn.running_var": ("var", "running_var", "bn_running_var", "bn_var"),
}


def torch_fidelity_state(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of NVIDIA's file under torch-fidelity's names; what has no place keeps its own name.

    Args:
        tensors: as :func:`lit.weights.official.torchscript.read_torchscript` reads them.
        names: of torch-fidelity's state dict.
    """
    left = {key.replace(".", "_"): (key, value) for key, value in tensors.items()}  # towers: modules, or parts of names
    renamed: dict[str, Tensor] = {}
    for name in names:
        layer, tensor = ".".join(name.split(".")[:-2]), ".".join(name.split(".")[-2:])
        if layer and tensor in TENSORS:
            places = [f"layers_{graph_name(layer)}_{part}" for part in TENSORS[tensor]]
        else:
            places = [name.replace("fc.", "output_")]
        if place := next((place for place in places if place in left), None):
            renamed[name] = left.pop(place)[1]
    for name in [name for name in renamed if name.endswith("bn.bias")]:  # a scale of 1 is not written
        renamed.setdefault(name.removesuffix("bias") + "weight", torch.ones_like(renamed[name]))
    return renamed | {key: value for key, value in left.values() if not key.endswith("num_batches_tracked")}


def graph_name(layer: str) -> str:
    """TensorFlow's name of a convolution, such as mixed_4_tower_1_conv_2 for Mixed_6b.branch7x7dbl_3."""
    block, _, branch = layer.partition(".")
    blocks = [name for name in TRUNK if name.startswith(block[:5]) and "Pool" not in name]
    number = blocks.index(block)
    head = f"{'mixed' if branch else 'conv'}{f'_{number}' if number else ''}"
    match = re.fullmatch(r"(branch\w+?)(?:_(\d)([ab]?))?", branch)
    if match is None:
        return head
    family, step, half = match.groups()
    stage = block.removeprefix("Mixed_")
    towers = TOWERS[stage if stage in TOWERS else stage[0]]
    if half:
        return f"{head}_{towers[family]}mixed_conv{'_1' if half == 'b' else ''}"
    return f"{head}_{towers[family]}conv{f'_{int(step) - 1}' if step and step != '1' else ''}"

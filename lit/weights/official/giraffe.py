"""Weights of the authors' GIRAFFE and GIRAFFE HD, read into our networks.

GIRAFFE's file is a dict of module state dicts, flat below ``model`` or one a module (``generator_test`` is averaged);
GIRAFFE HD's holds ``g``, ``d``, ``g_ema``, optimisers, ``cur_itr`` and ``args``, an argparse namespace.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.giraffe_hd import GiraffeHDGenerator
from lit.weights.files import read_content
from lit.weights.fitting import fit_state

State = dict[str, Tensor]
FIELD = {
    "fc_in": "point_in",
    "fc_z": "shape_in",
    "blocks": "trunk",
    "fc_p_skips": "point_skips",
    "fc_z_skips": "shape_skips",
    "sigma_out": "density_out",
    "feat_view": "feature_in",
    "fc_z_view": "look_in",
    "fc_view": "view_in",
    "feat_out": "feature_out",
}
FIXED = re.compile(r"(^|\.)(kernel|f|camera_matrix)$")  # filter kernels and constants that our code holds as numbers


def official_name(name: str, hd: bool) -> str:
    """The authors' name of one of our generator's parameters or buffers; "" for those they do not have."""
    head, _, rest = name.partition(".")
    if head == "scene":
        kind, layer, tail = rest.split(".", 2)
        theirs = {ours: official for official, ours in FIELD.items()}[layer]
        part = "decoder" if kind == "field" else "background_generator"
        if not hd:
            return f"{part}.{theirs}.{tail}"
        group = "feat_layers" if layer in ("feature_in", "look_in", "view_in", "feature_out") else "dense_layers"
        return f"vol_generator.{part}.{group}.{theirs}.{tail}"
    if not hd:
        return "neural_renderer." + rest.replace("convs.", "conv_layers.").replace("to_rgb.", "conv_rgb.")
    if head in ("mapping", "background_mapping"):
        match = re.fullmatch(r"layers\.(\d+)\.(weight|bias)", rest)
        return f"styles.{int(head != 'mapping')}.{int(match[1]) + 1}.{match[2]}" if match else ""
    return _renderer_name({"front": "fg_renderer", "back": "bg_renderer", "refine": "refine_renderer"}[head], rest)


def _renderer_name(part: str, rest: str) -> str:
    """A StyleGAN2-type layer's name: our StyledConv and ModulatedConv against their StyledConv and ToRGB.

    Ours lie in blocks, theirs are numbered through; the refiner's have no blocks and no first layer apart.
    """
    match = re.fullmatch(r"(?:blocks\.(\d+)\.)?(conv0|conv1|convs\.\d+|to_rgb)\.(.+)", rest)
    assert match is not None, rest
    block, layer, tail = match.groups()
    if layer == "to_rgb":
        theirs = "to_rgb" if block is None else f"to_rgbs.{int(block) - 1}" if int(block) else "to_rgb1"
        bias = f"{part}.{theirs}.bias"
    else:
        number = int(layer.split(".")[1]) if block is None else 2 * int(block) - (layer == "conv0")
        theirs = f"convs.{number}" if block is None else f"convs.{number - 1}" if number else "conv1"
        bias = f"{part}.{theirs}.activate.bias"
        if tail == "noise_const":
            return f"{part}.noises.noise_{number}"
        if tail == "noise_strength":
            return f"{part}.{theirs}.noise.weight"
    inner = {"weight": "weight", "affine.weight": "modulation.weight", "affine.bias": "modulation.bias"}
    return bias if tail == "bias" else f"{part}.{theirs}.conv.{inner[tail]}"


def _official_shape(name: str, value: Tensor) -> tuple[int, ...]:
    if name.endswith("conv.weight"):
        return (1, *value.shape)
    if ".noises." in name:
        return (1, 1, *value.shape)
    if name.endswith("noise.weight"):
        return (1,)
    return (1, len(value), 1, 1) if re.search(r"to_rgb\w*(\.\d+)?\.bias$", name) else tuple(value.shape)


def load_official(generator: nn.Module, state: State, path: str | Path) -> None:
    """Put a state under the authors' names into a generator.

    Raises:
        InputError: a tensor is missing, is one too many, has another shape or is not finite; names the first.
    """
    hd, left = isinstance(generator, GiraffeHDGenerator), dict(state)
    own = generator.state_dict()
    for ours, value in own.items():
        name = official_name(ours, hd)
        if not name:
            continue
        found = left.pop(name, None)
        if not isinstance(found, Tensor):
            raise InputError(f"{path}: no tensor {name}; expected a checkpoint of the model's sizes, correct the model")
        wanted = _official_shape(name, value) if hd else tuple(value.shape)
        if tuple(found.shape) != wanted:
            raise InputError(
                f"{path}: {name} has shape {tuple(found.shape)}, the model expects {wanted}; correct its sizes"
            )
        own[ours] = found.view(value.shape)
    surplus = [name for name in left if not FIXED.search(name)]
    if surplus:
        raise InputError(f"{path}: tensor {surplus[0]} has no place in the model; correct its sizes")
    fit_state(generator, own, path, "a GIRAFFE or GIRAFFE HD checkpoint")


def official_state(path: str | Path) -> State:
    """The averaged generator's state in an official file of either model.

    Raises:
        InputError: no such file, refused, or of another kind.
    """
    content = read_content(path, "a GIRAFFE or GIRAFFE HD checkpoint")
    if isinstance(content, dict):
        averaged = content.get("g_ema", content.get("g"))
        if isinstance(averaged, dict):
            if "sigmoid_beta" in averaged:
                raise InputError(f"{path}: a network of Lift3D, expected a GIRAFFE checkpoint; correct the checkpoint")
            return averaged
        flat = content.get("model", content)
        for part in ("generator_test", "generator") if isinstance(flat, dict) else ():
            found = flat.get(part) or {
                str(n)[len(part) + 1 :]: v for n, v in flat.items() if str(n).startswith(f"{part}.")
            }
            if isinstance(found, dict) and found:
                return found
    keys = sorted(map(str, content))[:4] if isinstance(content, dict) else type(content).__name__
    raise InputError(f"{path}: holds {keys}; expected generator, generator_test or g_ema of a GIRAFFE checkpoint")

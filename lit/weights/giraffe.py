"""Weights of the authors' GIRAFFE and GIRAFFE HD: read into our networks, and written in their names.

GIRAFFE's file is a dict of module state dicts, flat below ``model`` or one a module (``generator_test`` is averaged);
GIRAFFE HD's holds ``g``, ``d``, ``g_ema``, optimisers, ``cur_itr`` and ``args``, an argparse namespace.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.fields.object_scene import SceneRanges
from lit.networks.giraffe import GiraffeGenerator
from lit.networks.giraffe_hd import GiraffeHDGenerator
from lit.weights.torch_files import load_weights

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


def to_official(generator: nn.Module) -> State:
    """The state of a generator under the authors' names and in their shapes."""
    hd, state = isinstance(generator, GiraffeHDGenerator), {}
    for ours, value in generator.state_dict().items():
        name = official_name(ours, hd)
        if not name:
            continue
        state[name] = value.view(_official_shape(name, value)) if hd else value
    return state


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
        InputError: a tensor is missing, is one too many, or has another shape; names the first.
    """
    hd, left = isinstance(generator, GiraffeHDGenerator), dict(state)
    own = generator.state_dict()
    for ours, value in own.items():
        name = official_name(ours, hd)
        if not name:
            continue
        found = left.pop(name, None)
        if found is None:
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
    generator.load_state_dict(own)


def official_state(path: str | Path) -> tuple[State, dict[str, Any]]:
    """The averaged generator's state in an official file of either model, and its options ({} for GIRAFFE).

    Raises:
        InputError: no such file, refused, or of another kind.
    """
    content = load_weights(path, "a GIRAFFE or GIRAFFE HD checkpoint")
    if isinstance(content, dict):
        if "g_ema" in content or "g" in content:
            options = content.get("args")
            state: State = content["g_ema" if "g_ema" in content else "g"]
            return state, dict(vars(options)) if options is not None else {}
        flat = content.get("model", content)
        for part in ("generator_test", "generator"):
            found: State = flat.get(part) or {
                n[len(part) + 1 :]: v for n, v in flat.items() if n.startswith(f"{part}.")
            }
            if found:
                return found, {}
    keys = sorted(map(str, content))[:4] if isinstance(content, dict) else type(content).__name__
    raise InputError(f"{path}: holds {keys}; expected generator, generator_test or g_ema of a GIRAFFE checkpoint")


def read_giraffe(path: str | Path, ranges: SceneRanges | None = None, size: int = 16) -> GiraffeGenerator:
    """An official GIRAFFE generator in evaluation mode, its sizes taken from its tensors.

    Args:
        path: the file.
        ranges: camera and boxes, which the file does not hold; None for the published cars.
        size: pixels a side of the feature image, which it does not hold either.
    """
    state, _ = official_state(path)
    steps = _count(state, r"neural_renderer\.conv_layers\.(\d+)\.weight", path)
    config = _field_sizes(state, "decoder.", "background_generator.", path)
    least = len(_tensor(state, f"neural_renderer.conv_layers.{steps - 1}.weight", path))
    generator = GiraffeGenerator(ranges, size * 2**steps, size, least=least, **config)
    load_official(generator, state, path)
    return generator.eval()


def read_giraffe_hd(path: str | Path) -> GiraffeHDGenerator:
    """An official GIRAFFE HD generator in evaluation mode, its sizes taken from its tensors and its options."""
    state, options = official_state(path)
    prefix = "vol_generator."
    inner = {re.sub(r"\.(dense|feat)_layers", "", n[len(prefix) :]): v for n, v in state.items() if prefix in n}
    config = _field_sizes(inner, "decoder.", "background_generator.", path)
    first = _tensor(state, "fg_renderer.conv1.conv.weight", path)
    size = int(_tensor(state, "fg_renderer.noises.noise_0", path).shape[-1])
    resolution = int(_tensor(state, "refine_renderer.noises.noise_0", path).shape[-1])
    last = _tensor(state, "refine_renderer.convs.0.conv.weight", path).shape[1]
    generator = GiraffeHDGenerator(
        ranges_of(options),
        resolution,
        size,
        share_height=bool(options.get("pos_share", True)),
        mask_in_foreground=len(_tensor(state, "fg_renderer.to_rgb1.bias", path)[0]) == 4,
        mapping_layers=_count(state, r"styles\.0\.(\d+)\.weight", path),
        mix=float(options.get("mix_prob", 0.5)),
        mix_row=int(options.get("eval_inj_idx", 4)),
        channel_base=int(last) * resolution,
        channel_max=int(first.shape[1]),
        **config,
    )
    load_official(generator, state, path)
    return generator.eval()


def ranges_of(options: dict[str, Any]) -> SceneRanges:
    """Camera and boxes of a GIRAFFE HD file's options; those of CompCars where it has none."""

    def pair(name: str, low: list[float], high: list[float]) -> Any:
        return tuple(options.get(f"{name}_min", low)), tuple(options.get(f"{name}_max", high))

    # Their elevation is v on the unit sphere, 1 - 2 v being the sine.
    heights = sorted(math.degrees(math.asin(1 - 2 * v)) for v in options.get("range_v", [0.41667, 0.5]))
    return SceneRanges(
        scale=pair("scale_range", [0.2, 0.16, 0.16], [0.25, 0.2, 0.2]),
        translation=pair("translation_range", [-0.22, -0.12, -0.06], [0.22, 0.12, 0.08]),
        turn=tuple(options.get("rotation_range", [0.0, 1.0])),
        elevation=(heights[0], heights[1]),
        field_of_view=float(options.get("fov", 10.0)),
    )


def _field_sizes(state: State, field: str, background: str, path: str | Path) -> dict[str, int]:
    shape, back = _tensor(state, f"{field}fc_z.weight", path), _tensor(state, f"{background}fc_z.weight", path)
    return {
        "z_dim": int(shape.shape[1]),
        "background_z_dim": int(back.shape[1]),
        "features": len(_tensor(state, f"{field}feat_out.weight", path)),
        "hidden": len(shape),
        "layers": _count(state, re.escape(field) + r"blocks\.(\d+)\.weight", path) + 1,
        "octaves": int(_tensor(state, f"{field}fc_in.weight", path).shape[1]) // 6,
        "background_hidden": len(back),
    }


def _tensor(state: State, name: str, path: str | Path) -> Tensor:
    if name not in state:
        raise InputError(f"{path}: no tensor {name}; expected the published generator of this model, give another file")
    return state[name]


def _count(state: State, pattern: str, path: str | Path) -> int:
    count = sum(re.fullmatch(pattern, name) is not None for name in state)
    if not count:
        raise InputError(f"{path}: no tensor like {pattern}; expected the published generator of this model")
    return count

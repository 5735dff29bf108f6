"""pix2pix3D's generator from its authors' pickles, from what ``prepare weights`` makes of them, and from our trainings.

The pickles are read as data (:mod:`lit.weights.official.restricted_pickle`); nothing of them is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.pix2pix3d.generator import POSE, Pix2Pix3DGenerator
from lit.networks.pix2pix3d.super_resolution import CLAMP, RELEASED
from lit.rendering.camera_march import CameraMarch
from lit.weights.files import expecting, read_content
from lit.weights.fitting import fit_state
from lit.weights.official.channel_rule import channel_rule
from lit.weights.official.nvidia import NetworkRecord, read_networks
from lit.weights.official.pix2pix3d_names import ENCODER, generator_state
from lit.weights.official.stylegan2_files import described_state, file_kind
from lit.weights.official.stylegan2_names import below, block_widths

EXPECTED = "pix2pix3D's generator (its authors' .pkl, .safetensors of `prepare weights`, or .ckpt of this suite)"
PROJECTOR = f"{ENCODER}projector.weight"


def network_of(config: Mapping[str, Any]) -> Pix2Pix3DGenerator:
    """A generator with random weights from its :attr:`Pix2Pix3DGenerator.config`."""
    settings = dict(config)
    march = CameraMarch(**settings.pop("march"))
    if settings.get("upsampler_widths") is not None:
        settings["upsampler_widths"] = tuple(settings["upsampler_widths"])
    return Pix2Pix3DGenerator(march, **settings)


def is_pix2pix3d(record: NetworkRecord) -> bool:
    """Whether a network of a pickle is pix2pix3D's generator: it has tri-planes and an encoder of label maps."""
    return PROJECTOR in record.state and "backbone.mapping.w_avg" in record.state


def read_pix2pix3d(path: str | Path) -> Pix2Pix3DGenerator:
    """A generator in evaluation mode, whatever the format; the content decides, not the name.

    Raises:
        InputError: no generator of pix2pix3D, damaged, refused for what it holds, or of sizes that do not fit.
    """
    path = Path(path)
    kind = file_kind(path, EXPECTED)
    with expecting(path, EXPECTED):
        if kind == "pickle":
            networks = read_networks(path)
            if "G_ema" not in networks:
                raise InputError(f"{path}: holds {', '.join(networks)} but no G_ema; expected {EXPECTED}")
            return pix2pix3d_of(networks["G_ema"], path)
        if kind == "safetensors":
            described, state = described_state(path)
            stated = described.get("config")
            given = stated if isinstance(stated, dict) else {}
            name = str(described.get("network"))
            record = NetworkRecord("G_ema", name, given.get("arguments", {}), state, settings=given.get("settings", {}))
            return pix2pix3d_of(record, path)
        content = read_content(path, EXPECTED)
        config, tensors = (content.get(key) if isinstance(content, dict) else None for key in ("network", "state_dict"))
        if not isinstance(config, dict) or not isinstance(tensors, dict):
            raise InputError(f"{path}: no checkpoint of conf/experiment/pix2pix3d_small.yaml; expected {EXPECTED}")
        return _fitted(config, below(tensors, "ema."), path)


def pix2pix3d_of(record: NetworkRecord, path: str | Path) -> Pix2Pix3DGenerator:
    """A generator with the weights of an official one, in evaluation mode; every tensor has to fit.

    Raises:
        InputError: another network, settings that this suite's network does not have, or tensors that do not fit.
    """
    if not is_pix2pix3d(record):
        raise InputError(f"{path}: {record.name} is a {record.kind}, expected {EXPECTED}")
    with expecting(path, EXPECTED):
        return _fitted(_config(record, path), generator_state(record.state, str(path)), path)


def _fitted(config: Mapping[str, Any], state: dict[str, Tensor], path: str | Path) -> Pix2Pix3DGenerator:
    """A generator of this configuration and state; sizes are compared before memory of the stated size is taken."""
    with torch.device("meta"):
        fit_state(network_of(config), {key: value.to("meta") for key, value in state.items()}, path, EXPECTED)
    network = network_of(config)
    fit_state(network, state, path, EXPECTED)
    return network.eval()


def _config(record: NetworkRecord, path: str | Path) -> dict[str, Any]:
    """Our constructor's arguments from the official ones, and where these say nothing from the tensors' shapes."""
    stated, state = record.arguments, record.state
    rendering = {**_dict(stated.get("rendering_kwargs")), **_dict(record.settings.get("rendering_kwargs"))}
    _check_settings(stated, rendering, path)
    resolution, classes = _whole(stated, "img_resolution", path), _whole(stated, "semantic_channels", path)
    w_dim = _whole(stated, "w_dim", path)
    widths = block_widths(below(state, "backbone.synthesis."), str(path))
    base, most = channel_rule(widths, str(path))
    encoder = below(state, ENCODER)
    sides = [int(key[1:].split(".")[0]) for key in encoder if key.endswith("conv0.weight")]
    downwards = {side: int(encoder[f"b{side}.conv0.weight"].shape[0]) for side in sides}
    encoder_base, encoder_max = channel_rule({**downwards, 4: int(state[PROJECTOR].shape[1])}, str(path))
    planes = int(state[f"backbone.synthesis.b{max(widths)}.torgb.weight"].shape[0])
    blocks = [int(state[f"superresolution.block{i}.conv1.weight"].shape[0]) for i in (0, 1)]
    if resolution not in RELEASED:
        raise InputError(f"{path}: pictures of {resolution} pixels; expected {', '.join(map(str, RELEASED))}")
    return {
        "march": _march(rendering, path),
        "resolution": resolution,
        "labels": "edges" if classes == 1 else "segmentation",
        "classes": classes,
        "render_size": _whole({"s": record.settings.get("neural_rendering_resolution", 64)}, "s", path),
        "z_dim": _whole(stated, "z_dim", path),
        "w_dim": w_dim,
        "mapping_layers": _whole({"num_layers": 8, **_dict(stated.get("mapping_kwargs"))}, "num_layers", path),
        "geometry_rows": int(state[PROJECTOR].shape[0]) // w_dim,
        "pose_condition": not rendering.get("c_gen_conditioning_zero") and rendering.get("c_scale", 0) == 1,
        "plane_resolution": max(widths),
        "plane_channels": planes // 3,
        "channel_base": base,
        "channel_max": most,
        "encoder_base": encoder_base,
        "encoder_max": encoder_max,
        "features": int(state["decoder.net.2.weight"].shape[0]) - 1,
        "box": float(rendering["box_warp"]),
        "upsampler_size": RELEASED[resolution][0],
        "upsampler_widths": tuple(blocks),
        "upsampler_clamp": CLAMP if stated.get("sr_num_fp16_res", 0) else None,
        "raw_after_first_block": True,
    }


def _march(rendering: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    numbers = [rendering.get(key) for key in ("ray_start", "ray_end")]
    if any(not isinstance(value, int | float) for value in numbers):
        raise InputError(f"{path}: states ray_start and ray_end as {ascii(numbers)[:60]}; expected two distances")
    return {
        "near": numbers[0],
        "far": numbers[1],
        "coarse": _whole(rendering, "depth_resolution", path),
        "fine": rendering.get("depth_resolution_importance", 0),
        "white": bool(rendering.get("white_back", False)),
    }


def _check_settings(stated: Mapping[str, Any], rendering: Mapping[str, Any], path: str | Path) -> None:
    """Refuse settings that change the numbers and that our network has no counterpart of."""
    wanted: dict[str, tuple[Any, Any]] = {
        "c_dim": (stated.get("c_dim"), POSE),
        "conv_clamp": (stated.get("conv_clamp"), None),
        "superresolution_noise_mode": (rendering.get("superresolution_noise_mode", "none"), "none"),
        "sr_antialias": (rendering.get("sr_antialias", True), True),
        "decoder_lr_mul": (rendering.get("decoder_lr_mul", 1.0), 1.0),
        "clamp_mode": (rendering.get("clamp_mode", "softplus"), "softplus"),
        "disparity_space_sampling": (rendering.get("disparity_space_sampling", False), False),
        "density_noise": (rendering.get("density_noise", 0), 0),
    }
    for key, (found, expected) in wanted.items():
        if found != expected:
            raise InputError(f"{path}: states {key} as {ascii(found)[:40]}; expected {expected}")
    scale = rendering.get("c_scale", 0)
    if not rendering.get("c_gen_conditioning_zero") and scale not in (0, 1):
        raise InputError(f"{path}: states c_scale as {ascii(scale)[:40]}; expected 0 or 1")


def _whole(stated: Mapping[str, Any], key: str, path: str | Path) -> int:
    value = stated.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 20:
        raise InputError(f"{path}: states {key} as {ascii(value)[:40]}; expected a whole number above 0")
    return value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

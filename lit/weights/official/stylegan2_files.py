"""StyleGAN2 generators from any file that holds one, and to safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.weights.files import expecting, read_content
from lit.weights.fitting import fit_state
from lit.weights.official.nvidia import clamp_bound, read_networks, stylegan2_of
from lit.weights.official.rosinality import is_rosinality, stylegan2_of_rosinality

FORMATS = "a StyleGAN2 generator (.pkl of NVIDIA, .pt of rosinality, .safetensors or .ckpt of this suite)"
FORMAT = "stylegan2"
DESCRIPTION = "liftbench"  # the entry in the metadata of our safetensors files
TORCH_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # the number that opens torch's files before version 1.6
ARGUMENTS = ("resolution", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "image_channels")


def read_stylegan2(
    path: str | Path, resolution: int | None = None, class_label: int | None = None
) -> StyleGAN2Generator:
    """A generator in evaluation mode, whatever the format; the content decides, not the name.

    Args:
        path: see :data:`FORMATS`.
        resolution: what it has to be, None for any.
        class_label: the class it draws where none is given; None for the file's own, if it has one.

    Raises:
        InputError: no generator, damaged, refused for what it holds, of another resolution, or without such a class.
    """
    path = Path(path)
    kind = file_kind(path)
    with expecting(path, FORMATS):
        if kind == "safetensors":
            generator = _of_safetensors(path)
        elif kind == "pickle":
            networks = read_networks(path)
            if "G_ema" not in networks:
                raise InputError(f"{path}: holds {', '.join(networks)} but no G_ema; expected {FORMATS}")
            generator = stylegan2_of(networks["G_ema"], path)
        else:
            generator = _of_torch(read_content(path, FORMATS), path)
    if class_label is not None:
        generator.choose(class_label)
    if resolution is not None and generator.config["resolution"] != resolution:
        raise InputError(
            f"{path}: a generator of resolution {generator.config['resolution']}, expected {resolution};"
            f" set the resolution to {generator.config['resolution']} or take another checkpoint"
        )
    return generator


def file_kind(path: Path, expected: str = FORMATS) -> str:
    """ "safetensors", "torch" or "pickle", by the first bytes.

    Raises:
        InputError: missing, or none of these.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")
    with path.open("rb") as file:
        head = file.read(64)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return "safetensors"
    if head[:4] == b"PK\x03\x04" or TORCH_MAGIC in head[:16]:
        return "torch"
    if head[:1] == b"\x80":
        return "pickle"
    raise InputError(f"{path}: neither a pickle nor a PyTorch or safetensors file; expected {expected}")


def write_stylegan2(path: str | Path, generator: StyleGAN2Generator) -> None:
    """Write a generator's weights and constructor arguments to a safetensors file, whole or not at all."""
    write_state(path, generator.state_dict(), FORMAT, generator.config)


def write_state(path: str | Path, state: Mapping[str, Tensor], network: str, config: dict[str, Any]) -> None:
    """Write tensors to a safetensors file, atomically.

    Args:
        path: target.
        state: the tensors.
        network: what they are, and
        config: with which arguments, both for the file's metadata.
    """
    from safetensors.torch import save

    plain = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    stated = {"network": network, "config": config}
    description = json.dumps(stated | {"sha256": state_digest(plain, stated)})
    write_atomically(path, save(plain, {DESCRIPTION: description}))  # one entry: equal content gives equal bytes


def state_digest(state: Mapping[str, Tensor], stated: Mapping[str, Any]) -> str:
    """SHA-256 of what a file states, and of its tensors with names, shapes and types: safetensors checks none of it."""
    found = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for key in sorted(state):
        value = state[key].contiguous()
        found.update(f"{key}:{value.dtype}:{tuple(value.shape)};".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def described_state(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What one of our safetensors files states, "network" and "config", and its tensors.

    Raises:
        InputError: damaged, not one of ours, or changed since it was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (the file is no mapping)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged safetensors file ({error}); expected {FORMATS}") from error
    try:
        description = json.loads(metadata.get(DESCRIPTION, "{}"))
    except ValueError as error:
        raise InputError(f"{path}: its description is no JSON ({error}); expected {FORMATS}") from error
    if not isinstance(description, dict) or "network" not in description:
        raise InputError(f"{path}: safetensors without our description of a generator; expected {FORMATS}")
    written = description.pop("sha256", None)
    if written not in (None, state_digest(state, description)):  # files of earlier versions have none
        raise InputError(f"{path}: differs from its checksum; expected {FORMATS}, copy it again or write it anew")
    return description, state


def _of_safetensors(path: Path) -> StyleGAN2Generator:
    description, state = described_state(path)
    if description["network"] != FORMAT:
        raise InputError(f"{path}: holds a {description['network']}; expected {FORMATS}")
    return _built(description.get("config"), state, path)


def _of_torch(content: Any, path: Path) -> StyleGAN2Generator:
    if is_rosinality(content):
        return stylegan2_of_rosinality(content, path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        state = {k.removeprefix("ema."): v for k, v in content["state_dict"].items() if k.startswith("ema.")}
        if state:
            return _built(content.get("hyper_parameters"), state, path)
    keys = (
        ", ".join(str(key)[:40] for key in list(content)[:6]) if isinstance(content, dict) else type(content).__name__
    )
    raise InputError(f"{path}: holds no generator ({keys}); expected {FORMATS}")


def _built(config: Any, state: dict[str, Any], path: Path) -> StyleGAN2Generator:
    """A generator of this configuration and state; sizes are compared before memory of the stated size is taken."""
    given: dict[str, Any] = {key: config[key] for key in ARGUMENTS if key in config} if isinstance(config, dict) else {}
    numbers = [value for value in given.values() if isinstance(value, int) and 0 < value < 1 << 20]
    if "resolution" not in given or len(numbers) != len(given) or given.get("mapping_layers", 8) > len(state):
        raise InputError(f"{path}: does not state the generator's sizes; expected {FORMATS}")
    if any(not isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: its state holds something else than tensors; expected {FORMATS}")
    given |= {"conv_clamp": clamp_bound(config.get("conv_clamp"), path), **_classes(config, path)}
    expected = f"a StyleGAN2 generator of resolution {given['resolution']}"
    with torch.device("meta"):
        fit_state(StyleGAN2Generator(**given), {key: value.to("meta") for key, value in state.items()}, path, expected)
    generator = StyleGAN2Generator(**given)
    generator.load_state_dict(state)
    return generator.eval()


def _classes(config: dict[str, Any], path: Path) -> dict[str, int | None]:
    """Number of classes and the chosen one; files of earlier versions have neither."""
    count, chosen = config.get("c_dim", 0), config.get("class_label")
    if any(not isinstance(value, int) or isinstance(value, bool) for value in (count, chosen or 0)):
        stated = f"c_dim {ascii(count)[:40]}, class_label {ascii(chosen)[:40]}"
        raise InputError(f"{path}: states {stated}; expected whole numbers")
    if not 0 <= count < 1 << 20:
        raise InputError(f"{path}: states {count} classes, expected 0 (none) or more")
    return {"c_dim": count, "class_label": chosen}

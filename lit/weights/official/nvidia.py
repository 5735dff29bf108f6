"""Network pickles of stylegan2-ada-pytorch, EG3D and pix2pix3D: read as data, StyleGAN2 turned into our network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from datamodules.errors import InputError
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.weights.files import expecting
from lit.weights.fitting import fit_state
from lit.weights.official.pickle_globals import Stub, plain
from lit.weights.official.restricted_pickle import read_pickle
from lit.weights.official.stylegan2_names import below, block_widths, mapping_state, synthesis_state

POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
SYNTHESIS = ("channel_base", "channel_max", "num_fp16_res", "fused_modconv_default")  # top level in stylegan3's files
EXPECTED = "an official generator (StyleGAN2's Generator with mapping and synthesis)"
MAX_DEPTH = 40  # modules inside modules
MAX_MODULES = 20_000
MAX_TENSORS = 20_000
MAX_NAME = 1000  # letters


@dataclass(frozen=True)
class NetworkRecord:
    """One network of a pickle, as data.

    Attributes:
        name: its key in the pickle, such as "G_ema".
        kind: class name, such as "Generator" or "TriPlaneGenerator".
        arguments: constructor arguments by name, plain types.
        state: parameters and persistent buffers under the official names: the ``state_dict()`` of the original.
        buffers: buffers that the original does not save with its state.
        settings: plain attributes of the network itself, such as EG3D's ``rendering_kwargs``.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    buffers: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """One line: class, size, and the arguments that shape it."""
        count = sum(value.numel() for value in self.state.values())
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments.items() if value not in ({}, None))
        return f"{self.name}: {self.kind}, {len(self.state)} tensors, {count} numbers ({shown[:300]})"


def read_networks(path: str | Path) -> dict[str, NetworkRecord]:
    """All networks of a pickle (G, D, G_ema, D_semantic, ...), by key.

    Raises:
        InputError: see :func:`read_pickle`; or it holds no network.
    """
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected the dict of networks of a network pickle")
    with expecting(path, "a network pickle"):
        networks = {str(key): _record(str(key), value, path) for key, value in content.items() if _is_network(value)}
    if not networks:
        keys = ", ".join(str(key)[:40] for key in list(content)[:8])
        raise InputError(f"{path}: holds no network (keys: {keys}); expected G_ema, G or D")
    return networks


def _is_network(value: Any) -> bool:
    return isinstance(value, Stub) and "_modules" in value.state


def _record(name: str, stub: Stub, path: str | Path) -> NetworkRecord:
    state, buffers = _gather(stub, path)
    given, positional = stub.state.get("_init_kwargs", {}), stub.state.get("_init_args", ())
    arguments = plain({**dict(zip(POSITIONAL, positional)), **given})
    settings = {
        key: plain(value)
        for key, value in stub.state.items()
        if isinstance(key, str)
        and not key.startswith("_")
        and isinstance(value, dict | str | int | float | list | tuple)
    }
    return NetworkRecord(name, stub.kind, arguments, state, buffers, settings)


def _gather(stub: Stub, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Saved and unsaved tensors of a network, named as ``state_dict()`` names them."""
    state: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for prefix, module in _modules(stub, path):
        hidden = module.state.get("_non_persistent_buffers_set", ())
        tensors = [(key, value, state) for key, value in module.state.get("_parameters", {}).items()]
        for key, value in module.state.get("_buffers", {}).items():
            tensors.append((key, value, buffers if key in hidden else state))
        for key, value, target in tensors:
            if isinstance(value, Tensor):
                if value.is_floating_point() and not bool(value.isfinite().all()):
                    raise InputError(f"{path}: {prefix}{key} holds numbers that are not finite; damaged?")
                target[f"{prefix}{key}"] = value
            elif value is not None:
                raise InputError(f"{path}: {prefix}{key} is a {type(value).__name__}, expected a tensor; damaged?")
        if len(state) + len(buffers) > MAX_TENSORS:
            raise InputError(f"{path}: a network of more than {MAX_TENSORS} tensors; damaged?")
    return state, buffers


def _modules(stub: Stub, path: str | Path) -> Iterator[tuple[str, Stub]]:
    """A network and the modules in it, with the prefixes of their tensors, a parent before its children.

    A module that several share comes once for each, as in ``state_dict()``: shared on every level they would take
    exponential time, so their number is bounded.
    """
    waiting, count = [("", stub, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        count += 1
        yield prefix, module
        children = [(key, child) for key, child in module.state.get("_modules", {}).items() if isinstance(child, Stub)]
        waiting += [(f"{prefix}{key}.", child, depth + 1) for key, child in reversed(children)]
        if depth > MAX_DEPTH or count + len(waiting) > MAX_MODULES or len(prefix) > MAX_NAME:
            raise InputError(
                f"{path}: modules nested deeper than {MAX_DEPTH}, or more than {MAX_MODULES} of them; damaged?"
            )


def stylegan2_of(record: NetworkRecord, path: str | Path) -> StyleGAN2Generator:
    """A StyleGAN2 generator with a record's weights, in evaluation mode.

    Its constructor arguments come from the record's; every tensor has to fit.

    Raises:
        InputError: another network, or tensors that do not fit.
    """
    if "mapping.w_avg" not in record.state or "synthesis.b4.const" not in record.state:
        raise InputError(f"{path}: {record.name} is a {record.kind}, expected {EXPECTED}")
    synthesis, mapping = below(record.state, "synthesis."), below(record.state, "mapping.")
    config = _config(record, path)
    _check_sizes(config, synthesis, mapping, path)
    generator = StyleGAN2Generator(**config, conv_clamp=_clamp(record.arguments, path))
    renamed = {f"mapping.{key}": value for key, value in mapping_state(mapping).items()}
    renamed |= {f"synthesis.{key}": value for key, value in synthesis_state(synthesis, str(path)).items()}
    fit_state(generator, renamed, Path(path), EXPECTED)
    return generator.eval()


def _config(record: NetworkRecord, path: str | Path) -> dict[str, int]:
    """Our constructor's arguments from NVIDIA's, with NVIDIA's defaults.

    stylegan2-ada-pytorch passes the synthesis network's arguments in a dict, stylegan3's repository beside the others.
    """
    top = record.arguments
    synthesis, mapping = {**top, **_dict(top.get("synthesis_kwargs"))}, _dict(top.get("mapping_kwargs"))
    if synthesis.get("activation", "lrelu") != "lrelu" or mapping.get("lr_multiplier", 0.01) != 0.01:
        raise InputError(f"{path}: {record.name} has other activations or learning rates than {EXPECTED}")
    config = {
        "resolution": top.get("img_resolution"),
        "z_dim": top.get("z_dim"),
        "w_dim": top.get("w_dim"),
        "mapping_layers": mapping.get("num_layers", 8),
        "channel_base": synthesis.get("channel_base", 32768),
        "channel_max": synthesis.get("channel_max", 512),
        "image_channels": top.get("img_channels", 3),
        "c_dim": top.get("c_dim", 0),
    }
    for key, value in config.items():
        least = 0 if key == "c_dim" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{path}: {record.name} states {key} as {ascii(value)[:40]}, expected a number >= {least}")
    return config


def clamp_bound(value: Any, path: str | Path) -> float | None:
    """A file's ``conv_clamp``: the bound on activations, or None for none.

    Raises:
        InputError: neither a positive number nor None.
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise InputError(f"{path}: states conv_clamp as {ascii(value)[:40]}, expected a positive number or none")
    return float(value)


def _clamp(arguments: dict[str, Any], path: str | Path) -> float | None:
    """The bound that a generator was built with; what is not stated is 256 in stylegan3's repository, none before."""
    nested = arguments.get("synthesis_kwargs")
    if isinstance(nested, dict):
        return clamp_bound(nested.get("conv_clamp"), path)
    newer = any(key in arguments for key in SYNTHESIS)
    return clamp_bound(arguments.get("conv_clamp", 256 if newer else None), path)


def _check_sizes(
    config: dict[str, int], synthesis: dict[str, Tensor], mapping: dict[str, Tensor], path: str | Path
) -> None:
    """Compare stated sizes with the tensors before anything of the stated size is allocated."""
    found = block_widths(synthesis, str(path))
    stated = {size: min(config["channel_base"] // size, config["channel_max"]) for size in found}
    if max(found) != config["resolution"] or found != stated:
        wrong = next((size for size in found if found[size] != stated[size]), max(found))
        raise InputError(
            f"{path}: states resolution {config['resolution']} with {stated[wrong]} channels at {wrong}, but its"
            f" tensors are of resolution {max(found)} with {found[wrong]} channels there; damaged or altered?"
        )
    layers = [value for key, value in mapping.items() if key.endswith("weight") and key.startswith("fc")]
    image = synthesis.get("b4.torgb.bias")
    embed = mapping.get("embed.weight")
    numbers = len(layers), *(layers[0].shape[::-1] if layers else ()), *(image.shape if image is not None else ())
    stated_embed = (config["w_dim"], config["c_dim"]) if config["c_dim"] else None
    wide = config["z_dim"] + (config["w_dim"] if config["c_dim"] else 0)  # the class stands beside z
    expected = config["mapping_layers"], wide, config["w_dim"], config["image_channels"]
    if numbers != expected or (None if embed is None else tuple(embed.shape)) != stated_embed:
        raise InputError(
            f"{path}: its mapping or image layers are not of the stated sizes {config}; damaged or altered"
        )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

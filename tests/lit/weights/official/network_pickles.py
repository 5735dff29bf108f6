"""Pickles as stylegan2-ada-pytorch and EG3D write them: persistent classes with their source text, made for tests."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

BUFFERS = ("w_avg", "resample_filter", "noise_const")


def reconstruct(meta: Any) -> None:
    """What a careless loader calls; here only a name to pickle."""
    raise AssertionError("the reader must not call this")


reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"


class EasyDict(dict):
    """A dict whose items read as attributes."""


EasyDict.__module__ = "dnnlib.util"


class OSGDecoder(nn.Module):
    """A network class outside the persistent ones."""


OSGDecoder.__module__ = "training.triplane"


class Persistent(nn.Module):
    """A module that pickles as NVIDIA's persistent classes do."""

    def __init__(self, kind: str, source: str, **arguments: Any) -> None:
        super().__init__()
        self._kind, self._source = kind, source
        self._init_args, self._init_kwargs = (), EasyDict(arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key not in ("_kind", "_source")}
        for key in ("_parameters", "_buffers", "_modules"):  # as older PyTorch versions keep them
            state[key] = OrderedDict(state[key])
        meta = EasyDict(type="class", version=6, module_src=self._source, class_name=self._kind, state=state)
        return reconstruct, (meta,), None


@contextmanager
def official_modules() -> Iterator[None]:
    """Lets pickle find the official names; they are gone afterwards, as on a user's machine."""
    added: dict[str, dict[str, Any]] = {
        "torch_utils.persistence": {"_reconstruct_persistent_obj": reconstruct},
        "dnnlib.util": {"EasyDict": EasyDict},
        "training.triplane": {"OSGDecoder": OSGDecoder},
    }
    names = [*added, "torch_utils", "dnnlib", "training"]
    for name in names:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__.update(added.get(name, {}))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def tree(kind: str, state: Mapping[str, Tensor], source: str, **arguments: Any) -> Persistent:
    """A persistent module with this state dict, submodules by the dots of its keys."""
    root = Persistent(kind, source, **arguments)
    for key, value in state.items():
        *path, name = key.split(".")
        module: nn.Module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, Persistent(f"Layer_{part}", source))
            module = module._modules[part]  # type: ignore[assignment]
        if name in BUFFERS:
            module.register_buffer(name, value)
        else:
            module.register_parameter(name, nn.Parameter(value))
    return root


def write_pickle(path: Path, content: Mapping[str, Any], protocol: int = 3) -> Path:
    """Pickle networks under the official names."""
    with official_modules():
        path.write_bytes(pickle.dumps(dict(content), protocol=protocol))
    return path


def stylegan2_pickle(
    path: Path,
    state: Mapping[str, Tensor],
    config: Mapping[str, int],
    marker: Path,
    flat: bool = False,
    clamp: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A generator as stylegan2-ada-pytorch saves it, whose source would create ``marker`` if it were run.

    Args:
        flat: pass the synthesis arguments beside the others, as stylegan3's repository does.
        clamp: how the synthesis network's ``conv_clamp`` is stated; None states the published 256.
        more: other constructor arguments.
    """
    source = f"open({str(marker)!r}, 'w').write('run')\nclass Generator: pass\n"
    synthesis = EasyDict(channel_base=config["channel_base"], channel_max=config["channel_max"], num_fp16_res=4)
    synthesis.update({"conv_clamp": 256} if clamp is None else clamp)
    arguments = {
        "z_dim": config["z_dim"],
        "c_dim": 0,
        "w_dim": config["w_dim"],
        "img_resolution": config["resolution"],
        "img_channels": 3,
        "mapping_kwargs": EasyDict(num_layers=config["mapping_layers"]),
        **(synthesis if flat else {"synthesis_kwargs": synthesis}),
        **more,
    }
    discriminator = tree("Discriminator", {"b4.out.weight": torch.zeros(1, 4)}, source, img_resolution=32)
    networks = {
        name: tree("Generator", {key: value * scale for key, value in state.items()}, source, **arguments)
        for name, scale in (("G", 0.5), ("G_ema", 1.0))
    }
    return write_pickle(
        path,
        {**networks, "D": discriminator, "training_set_kwargs": EasyDict(path="cars.zip"), "augment_pipe": None},
        protocol=2 if flat else 3,
    )

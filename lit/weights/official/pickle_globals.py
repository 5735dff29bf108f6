"""The globals that NVIDIA's network pickles name, and what stands for each: a builder of data, never the thing."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit.weights.files import refused_global

KEYS = (str, int, float, bool, bytes, type(None))
STUB_MODULES = ("torch.nn.modules.", "training.triplane", "training.triplane_cond", "training.volumetric_rendering.")
DTYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")
NUMBER = re.compile(r"[<>|=]?[biufc]\d{1,2}")


class Refused(Exception):
    """Something that a network pickle has no business holding; the message completes "the file holds ..."."""


class Stub:
    """An instance of a class that is not imported: its name and its attributes.

    Attributes:
        kind: class name.
        module: the module that names it; empty for a persistent class, whose module is source text in the file.
        state: the attributes, once the pickle has given them.
    """

    __slots__ = ("kind", "module", "state")

    def __init__(self, kind: str, module: str = "", state: dict[str, Any] | None = None) -> None:
        self.kind, self.module, self.state = kind, module, state if state is not None else {}


class _Dtype:
    """A NumPy number type on its way: its byte order comes later, as state."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code


class _Array:
    """A NumPy array on its way: shape, type and bytes come as state. ``value`` is read by :func:`plain`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0)


def checked_keys(values: Iterable[Any]) -> list[Any]:
    """Keys of dicts and sets, plain ones only: hashing a tuple nested a million times would end the process."""
    keys = list(values)
    if any(not isinstance(key, KEYS) for key in keys):
        raise Refused("a key of a dict or set that is no text or number")
    return keys


def dotted(module: Any, name: Any) -> str:
    """A global's name for a message: printable, one line, bounded."""
    text = ascii(f"{module}.{name}")[1:-1]
    return text if len(text) <= 100 else text[:100] + "..."


def find_global(module: Any, name: Any) -> Any:
    """What stands for ``module.name``: a builder, or a constant.

    Names are matched whole: an attribute path such as "Sequential.forward.__globals__" is in no table.

    Raises:
        Refused: not in the table.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("a global whose name is no text")
    if (module, name) in BUILDERS:
        return BUILDERS[module, name]
    if module == "torch" and name in DTYPES:
        return f"torch.{name}"  # a name is all that a reader needs
    inside = any(module.startswith(p) if p.endswith(".") else module == p for p in STUB_MODULES)
    if inside and name.isidentifier() and not name.startswith("_") and module.replace(".", "").isidentifier():
        return lambda *_: Stub(name, module)
    if module.startswith("dnnlib.tflib"):
        raise Refused(f"{dotted(module, name)}, a TensorFlow network (convert it with stylegan3's legacy.py first)")
    raise Refused(f"the global {dotted(module, name)}, which no StyleGAN2, EG3D or pix2pix3D pickle needs")


def set_state(target: Any, state: Any) -> None:
    """Give an object on the stack its state, the BUILD opcode: for stubs and numbers only."""
    if isinstance(target, Stub) and isinstance(state, dict):
        target.state = state
    elif (
        isinstance(target, _Dtype) and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "=")
    ):
        target.code = state[1] + target.code.lstrip("<>|=")
    elif isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, data = state
        target.value = np.frombuffer(data, _number(dtype)).reshape(shape, order="F" if fortran else "C").copy()
    elif not (isinstance(target, OrderedDict) and isinstance(state, dict)):  # a state dict's _metadata is not needed
        raise Refused(f"attributes set on a {type(target).__name__.strip('_').lower()}")


def _number(dtype: Any) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise Refused("an array without a number type")
    return np.dtype(dtype.code)


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or not NUMBER.fullmatch(code):
        raise Refused("an array of something else than numbers")
    return _Dtype(code)


def _scalar(dtype: Any, data: Any) -> Any:
    return np.frombuffer(data, _number(dtype), count=1)[0].item()


def _persistent(meta: Any) -> Stub:
    """A persistent class as its name and state; the source text that comes with it is dropped."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Refused("a persistent object without a class name")
    state = meta.get("state")
    return Stub(meta["class_name"], "", state if isinstance(state, dict) else {})


def _storage(data: Any) -> Any:
    """A tensor's storage, saved as a file inside the file; that one is read by torch's own restricted loader."""
    if not isinstance(data, bytes) or data[:2] == b"PK":  # always the legacy format; a zip could blow up
        raise Refused("a tensor storage in another form than torch's legacy one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols: what matters is refused
            storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Refused(f"inside a tensor storage {refused_global(error)}") from error
    if not isinstance(storage, torch.storage.TypedStorage):
        raise Refused(f"a {type(storage).__name__} in the place of a tensor storage")
    return storage


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor over a storage, which it may not overreach: torch would grow the storage to any size asked for."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, torch.storage.TypedStorage) or len(size) != len(stride):
        raise Refused("a tensor without a storage")
    if any(not isinstance(n, int) or n < 0 for n in numbers):
        raise Refused("a tensor of negative size")
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    count, last = 1, offset
    for n, step in zip(size, stride):
        count, last = count * n, last + max(n - 1, 0) * step
    if count > len(flat) or (count and last >= len(flat)):
        raise Refused(f"a tensor of {count} numbers over a storage of {len(flat)}")
    return flat.as_strided(size, stride, offset)


def _container(kind: Callable[[Iterable[Any]], Any]) -> Callable[..., Any]:
    return lambda values=(): kind(checked_keys(values) if kind in (set, frozenset) else values)


def _bytes(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise Refused("text in an unknown encoding")
    return text.encode("latin1")  # how protocol 2 writes bytes


def _mapping(pairs: Any = ()) -> OrderedDict[Any, Any]:
    pairs = [tuple(pair) for pair in (pairs.items() if isinstance(pairs, dict) else pairs)]
    checked_keys(pair[0] for pair in pairs)
    return OrderedDict(pairs)


BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _mapping,
    ("dnnlib.util", "EasyDict"): _mapping,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda kind="", *_: kind,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("_codecs", "encode"): _bytes,
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Array() for core in ("core", "_core")},
}
for _builtins in ("builtins", "__builtin__"):  # the latter from Python 2
    BUILDERS[_builtins, "dict"] = _mapping
    BUILDERS.update({(_builtins, kind.__name__): _container(kind) for kind in (set, frozenset, list, tuple)})


def plain(value: Any) -> Any:
    """A copy of a constructor argument in plain types, for records and messages; what is deep or odd becomes text."""
    return _plain(value, 6, [2000])


def _plain(value: Any, depth: int, budget: list[int]) -> Any:
    """``budget`` bounds the copy: lists that hold each other many times would fill the memory."""
    budget[0] -= 1
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, _Array) and value.value.size <= 64:
        return value.value.tolist()
    if depth and budget[0] > 0 and isinstance(value, dict):
        return {str(key): _plain(item, depth - 1, budget) for key, item in value.items()}
    if depth and budget[0] > 0 and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1, budget) for item in value]
    return f"<{value.kind}>" if isinstance(value, Stub) else f"<{type(value).__name__.strip('_').lower()}>"

"""Damage to files of weights: tensors of another type, shape or value, other keys, and pickles that would run code."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

MARKER = "LIFTBENCH_FAULTS_MARKER"  # environment variable: a file that only executed code would write


def saved(content: Any, **options: Any) -> bytes:
    """The bytes of a PyTorch file."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def tensors(content: Any) -> list[tuple[Any, Any]]:
    """Every place of a nested content that holds a tensor: its owner and key."""
    found: list[tuple[Any, Any]] = []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        found += [(content, key)] if isinstance(value, torch.Tensor) else tensors(value)
    return found


def on_tensor(change: Callable[[Any, Any, np.random.Generator], Any]) -> Callable[[bytes, np.random.Generator], bytes]:
    """A mutator from one that changes a drawn tensor's place in the content."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found = tensors(state)
        change(*found[int(rng.integers(len(found)))], rng)
        return saved(state)

    return mutate


def _filled(value: float) -> Callable[[bytes, np.random.Generator], bytes]:
    def change(owner: Any, key: Any, rng: np.random.Generator) -> None:
        changed = owner[key].clone().float()
        changed.view(-1)[int(rng.integers(changed.numel()))] = value
        owner[key] = changed

    return on_tensor(change)


def _replaced(make: Callable[[torch.Tensor], Any]) -> Callable[[bytes, np.random.Generator], bytes]:
    def change(owner: Any, key: Any, rng: np.random.Generator) -> None:
        owner[key] = make(owner[key])

    return on_tensor(change)


def _drop(owner: Any, key: Any, rng: np.random.Generator) -> None:
    del owner[key]


def _more(owner: Any, key: Any, rng: np.random.Generator) -> None:
    extra = [1, "x", torch.zeros(2), {}, None, torch.zeros(0)]
    owner[f"{key}.more" if isinstance(owner, dict) else 0] = extra[int(rng.integers(len(extra)))]


def _rename(owner: Any, key: Any, rng: np.random.Generator) -> None:
    owner[rng.choice(["module.", "x", "\x1b[31m"]) + str(key)] = owner.pop(key)


def _number_keys(content: bytes, rng: np.random.Generator) -> bytes:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return saved(dict(enumerate(state.values())))


def _whole(make: Callable[[Any], Any]) -> Callable[[bytes, np.random.Generator], bytes]:
    return lambda content, rng: saved(make(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)))


def _legacy(content: bytes, rng: np.random.Generator) -> bytes:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return saved(state, _use_new_zipfile_serialization=False)


KINDS = {
    "nan": _filled(float("nan")),
    "inf": _filled(float("inf")),
    "huge": _filled(1e38),
    "noise": _filled(0.123),
    "int": _replaced(lambda value: value.to(torch.int64)),
    "bool": _replaced(lambda value: value != 0),
    "half": _replaced(lambda value: value.half()),
    "double": _replaced(lambda value: value.double()),
    "complex": _replaced(lambda value: value.to(torch.complex64)),
    "quantised": _replaced(lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)),
    "sparse": _replaced(lambda value: value.to_sparse()),
    "meta": _replaced(lambda value: torch.empty_like(value, device="meta")),
    "expanded": _replaced(lambda value: torch.zeros(1).expand(value.shape)),
    "shape": _replaced(lambda value: value[None]),
    "flat": _replaced(lambda value: value.reshape(-1)[:-1]),
    "none": _replaced(lambda value: torch.zeros(0)),
    "list": _replaced(lambda value: value.tolist()),
    "text": _replaced(lambda value: "x"),
    "drop": on_tensor(_drop),
    "more": on_tensor(_more),
    "rename": on_tensor(_rename),
    "number-keys": _number_keys,
    "a-list": _whole(lambda state: [state]),
    "a-number": _whole(lambda state: 3),
    "a-tensor": _whole(lambda state: torch.zeros(3)),
    "nothing": _whole(lambda state: {}),
    "ordered": _whole(lambda state: OrderedDict(state)),
    "nested": _whole(lambda state: {"state_dict": state, "model": {"a": 1}}),
    "legacy": _legacy,
}


class _Runs:
    """A pickle of it runs a command when a careless reader loads it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _payload(rng: np.random.Generator) -> _Runs:
    marker = os.environ.get(MARKER, "/nonexistent/marker")
    calls = [
        (os.system, f"touch {marker}"),
        (eval, f"open({marker!r}, 'w')"),
        (exec, f"open({marker!r}, 'w')"),
        (open, marker, "w"),
        (os.mkdir, marker),
        (os.putenv, "A", "B"),
    ]
    function, *arguments = calls[int(rng.integers(len(calls)))]
    return _Runs(function, *arguments)  # type: ignore[arg-type]


def _foreign(content: bytes, rng: np.random.Generator) -> bytes:
    return pickle.dumps({"a": _payload(rng)}, protocol=int(rng.integers(0, 6)))


def _foreign_state(content: bytes, rng: np.random.Generator) -> bytes:
    return saved({"state_dict": {"a": torch.zeros(1), "b": _payload(rng)}})


@lru_cache(1)
def _scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), buffer)
    return buffer.getvalue()


def _deep(content: bytes, rng: np.random.Generator) -> bytes:
    return b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."


def _memo(content: bytes, rng: np.random.Generator) -> bytes:
    """Tuples of tuples: two to the power of sixty leaves in two hundred bytes."""
    return b"\x80\x02(K\x01t" + b"".join(bytes([0x71, n, 0x68, n, 0x86]) for n in range(60)) + b"."


PICKLES = {
    "foreign": _foreign,
    "foreign-state": _foreign_state,
    "script": lambda content, rng: _scripted(),
    "deep": _deep,
    "memo": _memo,
    "prefix": lambda content, rng: b"\x80\x02cos\nsystem\n(S'true'\ntR0" + content,
}

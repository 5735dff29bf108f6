"""Damage to JSON: values, types, keys, and what JSON's grammar leaves open."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.faults.mutations import rows

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, "", "nan", "x", "\x1b[31m", "\ud800", "../../etc/passwd", [], {}, [[]],
    float("nan"), float("inf"), float("-inf"), 1e308, 1e-320, 1e30, 1 << 31, 1 << 63, 1 << 70, 10**400, -(1 << 63),
    "1.5", "a" * 20_000, "two\nlines", "|", "NaN", [1, 2], {"a": 1},
)  # fmt: skip
Place = tuple[Any, Any]  # the owner and the key or index in it


def places(value: Any) -> list[Place]:
    """Every place of a document that holds a value."""
    found: list[Place] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(value, key), *places(inner)]
    return found


def dumped(value: Any) -> bytes:
    """The document as text; NaN, infinities and lone surrogates as Python writes them."""
    return json.dumps(value, indent=1).encode()


def on_place(change: Callable[[Any, Any, list[Place], np.random.Generator], Any]) -> Callable[..., bytes]:
    """A mutator from one that changes a parsed document at a drawn place."""

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        document = json.loads(content)
        found = places(document)
        shallow = [place for place in found if place[0] is document]  # half of the draws: the fields at the top
        chosen = shallow if rng.random() < 0.5 else found
        owner, key = chosen[int(rng.integers(len(chosen)))]
        change(owner, key, found, rng)
        return dumped(document)

    return mutate


def _value(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    owner[key] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])


def _delete(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    del owner[key]


def _double(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    if isinstance(owner, list):
        owner.insert(key, copy.deepcopy(owner[key]))
    else:
        owner[f"{key}2"] = copy.deepcopy(owner[key])


def _swap(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    other, place = found[int(rng.integers(len(found)))]
    owner[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(owner[key])


def _rename(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    if isinstance(owner, dict):
        owner[key.swapcase() if rng.random() < 0.5 else f"{key}_"] = owner.pop(key)
    else:
        owner[key] = [owner[key]]


def _nudge(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    numbers = [(o, k) for o, k in found if isinstance(o[k], int | float) and not isinstance(o[k], bool)]
    owner, key = numbers[int(rng.integers(len(numbers)))]
    owner[key] = owner[key] + 1 if isinstance(owner[key], int) else owner[key] * 1.01 + 0.01


def _deep(owner: Any, key: Any, found: list[Place], rng: np.random.Generator) -> None:
    owner[key] = "DEEP"


def _nested(content: bytes, rng: np.random.Generator) -> bytes:
    depth = int(rng.choice([500, 3000, 100_000]))
    return on_place(_deep)(content, rng).replace(b'"DEEP"', b"[" * depth + b"]" * depth)


def _repeated(content: bytes, rng: np.random.Generator) -> bytes:
    """An object with a key that stands twice, the second time with another value."""
    document = json.loads(content)
    found = [(owner, key) for owner, key in places(document) if isinstance(owner, dict)]
    owner, key = found[int(rng.integers(len(found)))]
    other = VALUES[int(rng.integers(len(VALUES)))] if rng.random() < 0.5 else found[0][0][found[0][1]]
    owner["REPEATED"] = copy.deepcopy(other)
    return dumped(document).replace(b'"REPEATED"', json.dumps(key).encode())


KINDS = {
    "value": on_place(_value),
    "value2": on_place(_value),
    "nudge": on_place(_nudge),
    "del": on_place(_delete),
    "dupitem": on_place(_double),
    "swap": on_place(_swap),
    "rename": on_place(_rename),
    "nested": _nested,
    "dupkey": _repeated,
    "bom": rows.KINDS["bom"],
    "utf16": rows.KINDS["utf16"],
    "latin1": rows.KINDS["latin1"],
    "nul": rows.KINDS["nul"],
    "comma": lambda content, rng: content.replace(b",", b",,", 1),
    "comment": lambda content, rng: b"// remark\n" + content,
    "scalar": lambda content, rng: dumped(VALUES[int(rng.integers(len(VALUES)))]),
    "wrapped": lambda content, rng: b"[" + content + b"]",
    "behind": lambda content, rng: content + b"{}",
}

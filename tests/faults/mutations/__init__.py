"""Damage by kind of file; every draw follows from the generator that is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.faults.mutations import archives, arrays, bytewise, documents, pictures, rows, states, yaml_text

Mutator = Callable[[bytes, np.random.Generator], bytes]
FORMS: Mapping[str, Mapping[str, Mutator]] = {
    "bytes": bytewise.KINDS,
    "text": rows.KINDS,
    "json": documents.KINDS,
    "yaml": yaml_text.KINDS,
    "zip": archives.KINDS,
    "npz": archives.MEMBERS,
    "npy": arrays.KINDS,
    "png": pictures.PNG,
    "jpeg": pictures.JPEG,
    "state": states.KINDS,
    "pickle": states.PICKLES,
}
PLACES = ("folder", "loop", "missing")  # instead of the file


@dataclass(frozen=True)
class Damage:
    """What is done to one file.

    Attributes:
        kind: name of the mutator, or one of :data:`PLACES`.
        content: bytes of the damaged file; None where something else stands in its place.
    """

    kind: str
    content: bytes | None


def damage(original: bytes, forms: Sequence[str], rng: np.random.Generator) -> Damage:
    """Damage a file: one of the forms, one of its kinds, twice in a while a second one on top."""
    if rng.random() < 0.01:
        return Damage(str(rng.choice(PLACES)), None)
    content, kinds = original, []
    for _ in range(1 + int(rng.random() < 0.05)):
        group = FORMS[str(rng.choice(list(forms)))]
        kind = str(rng.choice(list(group)))
        try:
            content = group[kind](content, rng)
        except Exception:
            content, kind = bytewise.bit(content, rng), f"{kind}-bit"  # nothing of that kind in this file
        kinds.append(kind)
    return Damage("+".join(kinds), content)

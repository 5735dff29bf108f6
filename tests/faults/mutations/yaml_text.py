"""Damage to YAML: values and keys as in JSON, and YAML's own anchors, tags and types."""

from __future__ import annotations

import json

import numpy as np
import yaml

from tests.faults.mutations import documents, rows
from tests.faults.mutations.rows import on_lines, on_text

SCALARS = (
    "&a [*a]", "*nowhere", "!!python/object/apply:os.system [true]", "!!binary aGk=", "2026-01-01", "0o17", "1:30", "~",
    "yes", "[]", "{}", "-1", ".nan", ".inf", "1e400", "'\\ud800'", '"\\ud800"', '"\\e[31m"', "../../x", "|", "? x",
    "1_000", "99999999999999999999", "'two\n\n lines'", "@x", "`x`", "%x", "[[[[", "!!set {a, b}", "<<: *x",
    "true", "conf/absent.yaml",
)  # fmt: skip


def _scalar(lines: list[str], at: int, rng: np.random.Generator) -> None:
    places = [number for number, line in enumerate(lines) if ": " in line]
    number = places[int(rng.integers(len(places)))]
    key = lines[number].split(": ")[0]
    lines[number] = f"{key}: {rng.choice(SCALARS)}"


def _indent(lines: list[str], at: int, rng: np.random.Generator) -> None:
    lines[at] = str(rng.choice([" ", "\t", "  - ", "- "])) + lines[at]


def _bomb(text: str, rng: np.random.Generator) -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return text + "\n" + "\n".join(levels) + ("\noptions: *a11\n" if rng.random() < 0.5 else "\nname: *a11\n")


def _as_json(kind: str) -> rows.Mutate:
    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        changed = documents.KINDS[kind](json.dumps(yaml.safe_load(content)).encode(), rng)
        return yaml.safe_dump(json.loads(changed), sort_keys=False).encode("utf-8", "backslashreplace")

    return mutate


def _repeat(lines: list[str], at: int, rng: np.random.Generator) -> None:
    places = [number for number, line in enumerate(lines) if line[:1].isalpha() and ":" in line]
    lines.append(lines[places[int(rng.integers(len(places)))]].split(":")[0] + ": {}")


KINDS = {
    "scalar": on_lines(_scalar),
    "scalar2": on_lines(_scalar),
    "indent": on_lines(_indent),
    "bomb": on_text(_bomb),
    "dupkey": on_lines(_repeat),
    **{kind: _as_json(kind) for kind in ("value", "value2", "del", "dupitem", "swap", "rename")},
    **{
        kind: rows.KINDS[kind]
        for kind in ("bom", "utf16", "latin1", "nul", "crlf", "cr", "nbsp", "u2028", "escape", "comment")
    },
    **{kind: rows.KINDS[kind] for kind in ("dropline", "dupline", "swapline", "tab", "token", "case")},
    "documents": lambda content, rng: content + b"\n---\na: 1\n",
    "scalar-only": lambda content, rng: b"just words\n",
    "nested": lambda content, rng: content + b"\nname: " + b"[" * 3000 + b"]" * 3000 + b"\n",
}

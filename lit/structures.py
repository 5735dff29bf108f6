"""Parts of JSON and YAML files as typed structures; what is wrong is one line with file, field and expectation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from datamodules.errors import InputError
from lit.arguments import closest


def structure(path: Path, place: str, content: Any, type_: Any, wanted: str = "") -> Any:
    """Convert plain values.

    Args:
        path: the file they come from, for the message.
        place: where in it they stand ("published.arms"); empty for the whole file.
        content: the values.
        type_: what they have to be; a :class:`msgspec.Struct` names its fields where a key is misspelt.
        wanted: what is expected, in place of the library's words.

    Raises:
        InputError: they are something else.
    """
    try:
        return msgspec.convert(content, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        problem, _, inner = str(error).partition(" - at `$")
    if wanted:
        raise InputError(f"{path}: {place} is {shortened(content)}, expected {wanted}")
    before = f"{place}." if place else ""
    if unknown := re.match("Object contains unknown field `(.*)`", problem, re.DOTALL):
        fields = msgspec.structs.fields(type_)
        known = [field.name for field in fields]
        hint = f"expected {', '.join(known)}{closest(unknown[1], known)}"
        raise InputError(f"{path}: unknown key {repr(before + unknown[1])[1:-1]}, {hint}")
    if missing := re.match("Object missing required field `(.*)`", problem):
        raise InputError(f"{path}: key {before}{missing[1]} is missing")
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", inner):
        content = content[name] if name else content[int(index)]
    field = (place + inner.rstrip("`")).lstrip(".") or "the file"
    if not problem.startswith("Expected"):  # what a structure says of itself
        raise InputError(f"{path}: {field}: {problem}")
    raise InputError(f"{path}: {field} is {shortened(content)}, {problem[0].lower()}{problem[1:]}")


def shortened(value: Any) -> str:
    """A value as Python writes it, at most 80 characters."""
    text = repr(value) if isinstance(value, str | int | float | list | type(None)) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."

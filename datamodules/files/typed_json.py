"""JSON and YAML that somebody else may have written: parsed into typed structures, or refused in one line.

A structure is a ``msgspec.Struct`` whose annotations say everything that can be checked in one place: types, ranges and
patterns (``msgspec.Meta``), and relations between fields (``__post_init__`` raising ValueError). Nothing is converted
silently: "3" is no number, 1.5 no count, and true neither. A key that stands twice is refused, because readers differ
in which of its values they believe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml
from msgspec import Meta

from datamodules.errors import InputError, closest, printable
from datamodules.files.checksums import verify
from datamodules.files.text_files import decoded

T = TypeVar("T")

Finite = Annotated[float, Meta(ge=-1e15, le=1e15)]  # a bound refuses NaN as well
Metres = Annotated[float, Meta(gt=0, le=1000)]
PRINTABLE = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*\Z"
FILE_NAME = r"^(?!\.)[^\x00-\x1f\x7f-\x9f\ud800-\udfff/\\]+\Z"
Text = Annotated[str, Meta(max_length=10_000, pattern=PRINTABLE)]
Identifier = Annotated[str, Meta(max_length=200, pattern=FILE_NAME)]
WORDS = {PRINTABLE: "that a terminal prints", FILE_NAME: "that names a file, without slashes"}
DEEPEST = 60  # levels of a YAML file
CLAUSE = r"[;\n]"  # what ends the first clause of an error's text
UNFIT = (msgspec.ValidationError, RecursionError, UnicodeError)  # the last from a lone surrogate


def read_json(path: str | Path, type_: type[T], expected: str) -> T:
    """Parse a JSON file.

    Args:
        path: the file; :func:`datamodules.files.text_files.decoded` says in which encodings.
        type_: what it has to hold.
        expected: what it should be and who writes it, for the messages: "an asset bank (`... predict` writes one)".

    Raises:
        InputError: it is missing, no JSON, or of another shape; the message names the file and the field.
    """
    return _read(path, type_, expected, "JSON", partial(json.loads, object_pairs_hook=_unique))


def parse_json(raw: bytes, path: str | Path, type_: type[T], expected: str) -> T:
    """As :func:`read_json`, of bytes that are already here: an archive's entry, which ``path`` names in messages."""
    return _read(path, type_, expected, "JSON", partial(json.loads, object_pairs_hook=_unique), raw)


def read_yaml(path: str | Path, type_: type[T], expected: str) -> T:
    """Parse a YAML file; as :func:`read_json`. Anchors' aliases are refused: a few of them unfold to any size."""
    return _read(path, type_, expected, "YAML", partial(yaml.load, Loader=_PlainLoader))


def structure(path: Path, place: str, content: Any, type_: Any, wanted: str = "") -> Any:
    """Convert a part of a file; each part has a call of its own where messages shall name its place.

    Args:
        path: the file, for the message.
        place: where in it the part stands ("published.arms"); empty for the whole file.
        content: the part as plain values.
        type_: what it has to be; a :class:`msgspec.Struct` names its fields where a key is misspelt.
        wanted: what is expected, in place of msgspec's words.

    Raises:
        InputError: it is something else.
    """
    try:
        return msgspec.convert(content, type_)
    except UNFIT as error:
        problem, inner = _complaint(error)
    if wanted:
        raise InputError(f"{path}: {place} is {quoted(content)}, expected {wanted}")
    before = f"{place}." if place else ""
    if unknown := re.match("Object contains unknown field `(.*)`", problem, re.DOTALL):
        known = [field.name for field in msgspec.structs.fields(type_)]
        hint = f"expected {', '.join(known)}{closest(unknown[1], known)}"
        raise InputError(f"{path}: unknown key {repr(before + unknown[1])[1:-1]}, {hint}")
    if missing := re.match("Object missing required field `(.*)`", problem):
        raise InputError(f"{path}: key {before}{missing[1]} is missing")
    where = inner.removeprefix("key in ").removeprefix("$")
    field = (place + where).lstrip(".") or "the file"
    if inner.startswith("key in "):
        raise InputError(f"{path}: a key of {field}: {problem[0].lower()}{problem[1:]}")
    for name, index in re.findall(r"\.(\w+)|\[(\d+|\.{3})\]", where):
        if index == "...":  # some value of a mapping: msgspec does not say whose
            break
        content = content[name] if name else content[int(index)]
    if not problem.startswith("Expected"):  # what a structure says of itself
        raise InputError(f"{path}: {field}: {problem}")
    raise InputError(f"{path}: {field} is {quoted(content)}, {problem[0].lower()}{problem[1:]}")


def quoted(value: Any) -> str:
    """A value as Python writes it, at most 80 characters."""
    text = repr(value) if isinstance(value, str | int | float | list | type(None)) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def _read(
    path: str | Path, type_: type[T], expected: str, form: str, parse: Callable[[str], Any], raw: bytes | None = None
) -> T:
    try:
        if raw is None:
            raw = Path(path).read_bytes()
            verify(Path(path), raw)
        content = parse(decoded(raw, path, expected))
    except InputError as error:
        raise InputError(printable(str(error))) from None
    except (FileNotFoundError, NotADirectoryError):
        problem = ": not found"
    except OSError as error:
        problem = f": cannot be read ({error.strerror})"
    except json.JSONDecodeError as error:
        problem = f": no valid {form} (line {error.lineno}: {error.msg})"
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        problem = f": no valid {form} ({line}{error.problem})"
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # encoding, doubled keys, endless digits or nesting
        problem = f": no valid {form} ({re.split(CLAUSE, str(error))[0]})"
    else:
        try:
            return msgspec.convert(content, type_)
        except UNFIT as error:
            said, place = _complaint(error)
            problem = (f", {place}" if place else "") + f": {said}"
    raise InputError(printable(f"{path}{problem}; expected {expected}"))


def _complaint(error: Exception) -> tuple[str, str]:
    """What does not fit, patterns in words, and where ("$.views[0]", or nothing)."""
    said, _, place = str(error).partition(" - at ")
    for pattern, words in WORDS.items():
        said = said.replace(f"matching regex {pattern!r}", words)
    return said, place.replace("`", "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return fields


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain data without what unfolds or hides: aliases and doubled keys are errors."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.peek_event().start_mark)
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "expected no aliases (*name)", self.peek_event().start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if isinstance(key, str) and key in keys[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep)

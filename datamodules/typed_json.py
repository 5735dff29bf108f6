"""JSON and YAML that somebody else may have written: parsed into typed structures, or refused in one line.

A structure is a ``msgspec.Struct`` whose annotations say everything that can be checked in one place: types, ranges and
patterns (``msgspec.Meta``), and relations between fields (``__post_init__`` raising ValueError). Nothing is converted
silently: "3" is no number, 1.5 no count, and true neither. A key that stands twice is refused, because readers differ
in which of its values they believe.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml
from msgspec import Meta

from datamodules.errors import InputError

T = TypeVar("T")

Finite = Annotated[float, Meta(ge=-1e15, le=1e15)]  # a bound refuses NaN as well
Metres = Annotated[float, Meta(gt=0, le=1000)]
Text = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]  # printable
Identifier = Annotated[str, Meta(max_length=200, pattern=r"^(?!\.)[^\x00-\x1f\x7f-\x9f\ud800-\udfff/\\]+\Z")]  # a file


def read_json(path: str | Path, type_: type[T], expected: str) -> T:
    """Parse a JSON file.

    Args:
        path: the file, in UTF-8.
        type_: what it has to hold.
        expected: what it should be and who writes it, for the messages: "an asset bank (`... predict` writes one)".

    Raises:
        InputError: it is missing, no JSON, or of another shape; the message names the file and the field.
    """
    path = Path(path)
    try:
        content = json.loads(_read(path, expected), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError) as error:  # another encoding, a doubled key, endless digits, endless nesting
        problem = str(error).split(";")[0]
    else:
        return _typed(path, content, type_, expected)
    raise InputError(_line(f"{path}: expected {expected}, found no valid JSON ({problem})"))


def read_yaml(path: str | Path, type_: type[T], expected: str) -> T:
    """Parse a YAML file; as :func:`read_json`. Anchors' aliases are refused: a few of them unfold to any size."""
    path = Path(path)
    try:
        content = yaml.load(_read(path, expected), _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        problem = f"{line}{error.problem}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(error).split("\n")[0]
    else:
        return _typed(path, content, type_, expected)
    raise InputError(_line(f"{path}: expected {expected}, found no valid YAML ({problem})"))


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        problem = "found no such file; correct the path"
    except OSError as error:
        problem = f"which cannot be read ({error.strerror})"
    raise InputError(f"{path}: expected {expected}, {problem}")


def _typed(path: Path, content: Any, type_: type[T], expected: str) -> T:
    try:
        return msgspec.convert(content, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        problem, _, place = str(error).partition(" - at ")
        where = f", {place.replace('`', '')}" if place else ""
    raise InputError(_line(f"{path}{where}: {problem}; expected {expected}"))


def _line(message: str) -> str:
    """One line that a terminal takes literally."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return fields


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain data without what unfolds or hides: aliases and doubled keys are errors."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "expected no aliases (*name)", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if isinstance(key, str) and key in keys[:number]:
                mark = node.value[number][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep)

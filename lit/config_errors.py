"""Turns jsonargparse's nested error reports into one line: the key, the value, what was expected, the closest match."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from lit.arguments import closest


def explain(message: str, options: Iterable[str]) -> str:
    """One line for the message of a parse error.

    Args:
        message: jsonargparse's message, often an indented tree over all members of a Union.
        options: every option the parser accepts, dotted ("trainer.max_steps"), for the closest match.
    """
    options = list(options)
    if unknown := re.search(r"(?:does not accept option|unrecognized arguments:) '?(?:--)?([\w.]+)", message):
        return f"option '{unknown[1]}' is not known{closest(unknown[1], options)}"
    if missing := re.search(r"File does not exist: '?([^'\n]+)'?", message):
        return missing_file(missing[1])
    lines = [line for line in message.splitlines() if line.strip()]
    key = ".".join(re.findall(r'Parser key "([^"]+)"', _first_branch(lines)))
    given = _given(lines, key)
    named = re.search(r"Problem with given class_path '([^']+)'", message)
    if named and (refused := re.search(r"Option '([^']+)' is not accepted", message)):
        owner = re.findall(r"class_path '([^']+)'", message[: refused.start()])[-1]
        hint = closest(refused[1], parameters(owner))
        return f"{key}: {owner.rsplit('.', 1)[-1]} has no option '{refused[1]}'{hint}"
    if absent := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        return f"{key}: no class '{absent[2]}' in {absent[1]}{closest(absent[2], members(absent[1]))}"
    if absent := re.search(r"No module named '([\w.]+)'", message):
        return f"{key}: no module '{absent[1]}'; check the class_path"
    if reason := re.findall(r"Problem with given class_path '([^']+)':\n *([^-\n][^\n]*)", message):
        owner, text = reason[-1]
        if not text.startswith(("Parser key", "Does not validate", "Expected a", "Problem with")):
            return f"{key}: {owner} cannot be used: {text}"
    if refused := re.search(r"Import path (\S+) does not implement protocol (\w+)", message):
        return f"{key}: {refused[1]} is no {refused[2]}; its methods must have the protocol's exact signatures"
    if isinstance(given, str) and re.search(r"\.ya?ml$", given) and not Path(given).is_file():
        return f"{key}: {missing_file(given)}"
    if expected := _expected(lines):
        return f"{key}: got {given!r}, expected {expected}"
    return f"{key}: {lines[-1].strip()}" if key else " ".join(line.strip() for line in lines)


def missing_file(path: str) -> str:
    """One line for a file that is not there, with the closest name beside it."""
    folder = Path(path).parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    where = f"; {folder} holds {len(names)} other files" if names else f"; the folder {folder} is empty or missing"
    return f"no file '{path}'{closest(Path(path).name, names) or where}"


def parameters(class_path: str) -> list[str]:
    """Names of the constructor's parameters of a class, base classes included; empty when it cannot be imported."""
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return []
    names: list[str] = []
    for base in inspect.getmro(found):
        names += [p for p in inspect.signature(base).parameters if p not in ("self", "args", "kwargs")]
    return names


def members(module: str) -> list[str]:
    """Public names of a module; empty when it cannot be imported."""
    try:
        return [name for name in dir(importlib.import_module(module)) if not name.startswith("_")]
    except ImportError:
        return []


def _first_branch(lines: list[str]) -> str:
    """The lines that lead to the first leaf: a second report at the same depth belongs to another Union member."""
    kept, depth = [], -1
    for line in lines:
        indent = len(line) - len(line.lstrip(" -"))
        if "Parser key" in line:
            if indent <= depth:
                break
            depth = indent
            kept.append(line)
    return "\n".join(kept)


def _given(lines: list[str], key: str) -> object:
    """The offending value, from the innermost ``Given value`` or ``Got value``."""
    for line in lines:
        if found := re.search(r"Got value: (.*)", line):
            return found[1]
    values = [found[1] for line in lines if (found := re.search(r"Given value: (.*)", line))]
    if not values:
        return key
    nested = re.search(r"NestedArg\(key='[^']*', val='?(.*?)'?\)$", values[0])
    return nested[1] if nested else values[0]


def _expected(lines: list[str]) -> str:
    """The types of the innermost level, joined with "or"."""
    leaves = [(len(line) - len(line.lstrip(" -")), line) for line in lines if "Expected a" in line]
    if not leaves:
        return ""
    deepest = max(depth for depth, _ in leaves)
    texts = [re.sub(r"\. Got value.*", "", line.split("Expected a", 1)[1]) for d, line in leaves if d == deepest]
    names = [
        re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", text).strip(" n.").replace("NoneType", "null") for text in texts
    ]
    return " or ".join(dict.fromkeys(re.sub(r"^NoneType$", "null", name) for name in names))

"""Turns jsonargparse's chains of errors into one line: the key, the value, what was expected, the closest match.

Each level of a configuration raises from the one below, down to what went wrong; what a level knows only its message
says. Of a Union's members only the first is in the chain, the others stand in the message.
"""

from __future__ import annotations

import importlib
import inspect
import re
from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from datamodules.errors import InputError, closest

PROBLEM, UNION = "Problem with given class_path", "Does not validate against any of the Union"


def explain(message: str, error: BaseException | None, options: Iterable[str]) -> str:
    """One line for a parse error.

    Args:
        message: jsonargparse's message.
        error: what it was raised from, if anything.
        options: every option the parser accepts, dotted ("trainer.max_steps"), for the closest match.
    """
    chain = [(each, str(each).strip("\n- ")) for each in causes(error)] or [(Exception(), message)]
    keys = [text.split('"')[1] for each, text in chain if type(each) is TypeError and text.startswith("Parser key")]
    classes = [number for number, (_, text) in enumerate(chain) if text.startswith(PROBLEM)]
    key, (leaf, text) = ".".join(keys), chain[-1]
    owner = chain[classes[-1]][1].split("'")[1] if classes else ""
    if unknown := re.search(r"ption '([\w.]+)' ?(?:is not accepted)?$|unrecognized arguments: -*([\w.]+)", text):
        name = unknown[1] or unknown[2]
        if not owner:
            return f"option '{name}' is not known{closest(name, options)}"
        return f"{key}: {owner.rsplit('.', 1)[-1]} has no option '{name}'{closest(name, parameters(owner))}"
    if text.startswith("File does not exist"):
        return missing_file(text.split("'")[1])
    if isinstance(leaf, AttributeError) and isinstance(leaf.obj, ModuleType):
        public = [member for member in dir(leaf.obj) if not member.startswith("_")]
        return f"{key}: no class '{leaf.name}' in {leaf.obj.__name__}{closest(str(leaf.name), public)}"
    if isinstance(leaf, ModuleNotFoundError):
        return f"{key}: no module '{leaf.name}'; check the class_path"
    if classes and not isinstance(chain[classes[-1] + 1][0], ArgumentError):
        return f"{key}: {owner} cannot be used: {' '.join(chain[classes[-1] + 1][1].split())}"
    if "does not implement protocol" in text:
        words = text.split()
        return f"{key}: {words[2]} is no {words[-1]}; its methods must have the protocol's exact signatures"
    return unexpected(key, [text for _, text in chain[classes[-1] if classes else 0 :]])


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__


def unexpected(key: str, texts: list[str]) -> str:
    """One line for a value of another type.

    Args:
        key: the option.
        texts: messages of the errors below the option's class, innermost last.
    """
    level = max((number for number, text in enumerate(texts) if text.startswith(UNION)), default=len(texts) - 1)
    given = re.split(r"Given value: |Got value: ", texts[level])[-1]
    if given.endswith((".yaml", ".yml")) and not Path(given).is_file():
        return f"{key}: {missing_file(given)}"
    if not key or "Expected a" not in texts[-1]:
        said = texts[0] if not key else texts[min(level + 1, len(texts) - 1)]
        return ": ".join(filter(None, [key, " ".join(said.split("\nSubclass types expect")[0].split())]))
    wanted = [line.split("Expected a ")[1] for line in texts[level].splitlines() if "Expected a " in line]
    lines = [text.split(". Got value")[0] for text in wanted]
    names = [line.split("'")[1].rsplit(".", 1)[-1] if line.startswith("<class") else line for line in lines]
    expected = " or ".join(dict.fromkeys("null" if name == "NoneType" else name for name in names))
    return f"{key}: got {given!r}, expected {expected}"


@contextmanager
def one_line_refusals() -> Iterator[None]:
    """Around the building of a configuration's objects: what a constructor refuses becomes one line.

    Raises:
        InputError: the constructor's own, which jsonargparse wraps in lines of its own, or one that tells its error.
    """
    from lightning.pytorch.utilities.exceptions import MisconfigurationException  # messages alone do without torch

    try:
        yield
    except (ValueError, ImportError, MisconfigurationException) as error:
        refused = next((each for each in causes(error) if isinstance(each, InputError)), None)
        raise refused or InputError(construction(error)) from error


def construction(error: BaseException) -> str:
    """One line for what a constructor raised, among the lines that jsonargparse and Lightning put around it."""
    text = str(error)
    if found := re.search(rf"{PROBLEM} '([^']*)':\s*(.+)", text):  # of a Union's members the one that was meant
        return f"{found[1]}: {found[2].strip()}"
    return " ".join(text.split()) or type(error).__name__


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

"""One word chooses the command: lists what there is, names the closest to a misspelt one, imports what is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from datamodules.errors import InputError, closest

Targets = Mapping[str, tuple[str, str]]  # word: its function's path below the commands' package, what it does


def chosen(command: str, about: str, targets: Targets, argv: list[str]) -> Callable[..., int] | None:
    """The function that the first argument names; None after a call for help, which is printed.

    Args:
        command: the words before, as the user types them ("prepare"); empty at the top.
        about: what the command is for.
        targets: what the first argument may be; only the module of the one that is asked for is imported.
        argv: the arguments.

    Raises:
        InputError: for an unknown word.
    """
    before = f"{command} " if command else ""
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, targets))
        lines = [f"  {name:<{width}}  {text}" for name, (_, text) in targets.items()]
        tail = f"python -m lit {before}COMMAND --help lists a command's options."
        print("\n".join([f"usage: python -m lit {before}COMMAND ...\n\n{about}\n\ncommands:", *lines, "", tail]))
        return None
    if argv[0] not in targets:
        expected = f"expected one of {', '.join(targets)}{closest(argv[0], targets)}"
        raise InputError(f"no command '{before}{argv[0]}': {expected}")
    module, _, function = targets[argv[0]][0].rpartition(".")
    package = f"lit.commands.{command}" if command else "lit"
    return getattr(importlib.import_module(f"{package}.{module}"), function)


def dispatch(command: str, about: str, targets: Targets, argv: list[str]) -> int:
    """Run what :func:`chosen` finds with the arguments that follow. Returns the exit status."""
    run = chosen(command, about, targets, argv)
    return 0 if run is None else run(argv[1:])

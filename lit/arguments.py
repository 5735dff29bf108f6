"""Command line arguments of the suite's own commands: argparse whose errors are one line with the closest match."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from datamodules.errors import InputError, closest


class Arguments(argparse.ArgumentParser):
    """An argument parser that raises :class:`InputError` where argparse would print its usage and exit."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"python -m lit {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise one line: what was wrong, the closest option, and where the full list is.

        Raises:
            InputError: always.
        """
        hint = ""
        if unknown := re.match(r"unrecognized arguments: (\S+)", message):
            hint = closest(unknown[1].split("=")[0], self._option_string_actions)
        elif choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            hint = closest(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise InputError(f"{message}{hint} ({self.prog} --help lists every option)")


def positive(text: str) -> int:
    """An integer >= 1, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got '{text}', expected an integer >= 1")
    return int(text)

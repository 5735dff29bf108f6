"""Command line arguments of the suite's own commands: argparse whose errors are one line with the closest match."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

from datamodules.cluster.ray_cluster import CLUSTER
from datamodules.errors import InputError, closest

if TYPE_CHECKING:
    import torch


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


def usable_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        InputError: no such device, or none that works here.
    """
    import torch  # --help stays quick

    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not usable here; expected cpu, or cuda with a working GPU") from error
    return device


class OnCluster(argparse.Action):
    """Names the cluster in the environment, which carries it to wherever work is shared out."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        os.environ[CLUSTER] = str(values)


def add_workers(parser: argparse.ArgumentParser, processes: bool = True) -> None:
    """Add the options that say who shares the work: ``--workers`` here, or ``--ray``; the bytes are the same.

    Args:
        parser: of a command that renders or samples.
        processes: False leaves ``--workers`` out.
    """
    if processes:
        about = "processes (default: one a core)"
        parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help=about)
    where = "HOST:PORT of a cluster, auto for this machine's, or local to start one; same bytes, other workers"
    parser.add_argument("--ray", action=OnCluster, default=argparse.SUPPRESS, metavar="ADDRESS", help=where)

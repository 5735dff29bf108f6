"""The progress bar of every long command: what is done, how far it is, how long it took and will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Thing = TypeVar("Thing")


def progress_bar(console: Console | None = None, disable: bool = False) -> Progress:
    """A bar to add tasks to; without a console on standard error, and gone when done, for results go to the other."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    place = console or Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=place, transient=console is None, disable=disable)


def track(things: Iterable[Thing], title: str, disable: bool = False) -> Iterator[Thing]:
    """Things one after the other, a bar beside them; their number is shown when they have a length."""
    with progress_bar(disable=disable) as bar:
        yield from bar.track(things, description=title)

"""How benches and evaluations tell their figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lit.results import write_output


def report(title: str, figures: dict[str, Any], out: str | Path | None, shown: dict[str, Any] | None = None) -> None:
    """Print figures (only ``shown``, if given) as a table and, given ``out``, write them as JSON."""
    table = Table("figure", "value", title=title)
    for key, value in (figures if shown is None else shown).items():
        if isinstance(value, list):
            for index, entry in enumerate(value):
                table.add_row(f"{key} {index}", _cell(entry))
        else:
            table.add_row(key, _cell(value))
    tell(table, figures, out)


def warned(evaluate: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The figures of an evaluation, and the texts of its warnings, which stand better below them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figures = evaluate()
    return figures, [str(warning.message) for warning in caught]


def tell(table: Table, figures: dict[str, Any], out: str | Path | None, warnings_: Sequence[str] = ()) -> None:
    """Print a table and what there is to warn of and, given ``out``, write the table's figures as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    Console().print(table)
    if out:
        write_output(out, figures)
    for text in warnings_:
        Console().print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # an evaluator
        return f"{value['name']}, {value['version']}"
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)

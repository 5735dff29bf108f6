"""How benches and evaluations tell their figures."""

from __future__ import annotations

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


def tell(table: Table, figures: dict[str, Any], out: str | Path | None) -> None:
    """Print a table and, given ``out``, write its figures as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    Console().print(table)
    if out:
        write_output(out, figures)


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # an evaluator
        return f"{value['name']}, {value['version']}"
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)

"""How a bench tells its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lit.results import write_json


def report(title: str, figures: dict[str, Any], out: str | Path | None) -> None:
    """Print figures as a table and, given ``out``, write them as JSON."""
    table = Table("figure", "value", title=title)
    for key, value in figures.items():
        table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if out is not None:
        write_json(Path(out), figures)

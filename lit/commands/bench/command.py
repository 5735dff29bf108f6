"""``python -m lit bench render|inject|loader|evaluate``: each prints a table and can write its figures as JSON."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from lit.arguments import Arguments, closest

MODULES = {
    "render": "lit.commands.bench.render",  # voxel and field renderers against a two-pass reference
    "inject": "lit.commands.bench.loader",  # pasting is measured inside the loader, where it costs
    "loader": "lit.commands.bench.loader",
    "evaluate": "lit.commands.bench.evaluate",  # KITTI evaluator on a validation split's worth of files
}


def report(title: str, figures: dict[str, Any], out: str | Path | None) -> None:
    """Print figures as a table and, given ``out``, write them as JSON."""
    from rich.console import Console
    from rich.table import Table

    from lit.results import write_json

    table = Table("figure", "value", title=title)
    for key, value in figures.items():
        table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if out is not None:
        write_json(Path(out), figures)


def main(argv: list[str]) -> int:
    """Dispatch to the bench that is asked for."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m lit bench {'|'.join(MODULES)} [--out FILE.json]\n\n{__doc__}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in MODULES:
        raise InputError(f"bench {name}: expected one of {', '.join(MODULES)}{closest(name, MODULES)}")
    parser = Arguments(f"bench {name}", f"Measures {name} on this machine.")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.json", help="also write the figures here")
    options = parser.parse_args(rest)
    importlib.import_module(MODULES[name]).run(options.out)
    return 0

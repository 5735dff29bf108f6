"""Options of the commands that write a folder."""

from __future__ import annotations

import os
from pathlib import Path

from lit.arguments import Arguments, positive


def writer(command: str, description: str) -> Arguments:
    """The options that all commands share which write a folder."""
    parser = Arguments(command, description)
    parser.add_argument("--root", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    return parser

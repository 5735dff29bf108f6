"""A posed image set as others write it: schema 1, without checksums."""

from __future__ import annotations

import json
from pathlib import Path


def foreign_set(folder: Path) -> Path:
    """Turn a set of our own into one of theirs."""
    (folder / "checksums.json").unlink()
    index = folder / "posed.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "schema": 1}))
    return folder

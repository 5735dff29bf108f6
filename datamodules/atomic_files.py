"""Files that are either complete or absent, whatever happens to the process that writes them."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Write beside the target and rename, so that a killed process leaves the old file or the new one, never a part.

    Args:
        path: target; missing folders above it are made.
        data: the whole content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # only there when writing failed, on a full disk for example

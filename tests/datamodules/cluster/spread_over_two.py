"""What the test of a cluster's workers does, in a process of its own: ``python -m ... FOLDER``, over $LIFTBENCH_RAY."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from datamodules.objects.studio import write_posed_images
from datamodules.processes import run_jobs

WANTED: dict[str, Any] = {"objects": 5, "views": 3, "size": 16, "seed": 3}
WORKERS = 2


def picky(number: int) -> int:
    """Three times the number, unless it is seven."""
    if number == 7:
        raise InputError("number 7: expected another one")
    return 3 * number


def main(folder: Path) -> None:
    """Write the posed set, then say what the picky jobs gave, and what they refused."""
    write_posed_images(folder, **WANTED, workers=WORKERS)
    print(run_jobs(picky, range(6), WORKERS, False, "numbers"))
    try:
        run_jobs(picky, range(9), WORKERS, False, "numbers")
    except InputError as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

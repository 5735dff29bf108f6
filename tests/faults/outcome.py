"""What became of one damaged file."""

from __future__ import annotations

import io
import os
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from lit.cli import one_line
from tests.faults.mutations.states import MARKER
from tests.faults.surface import fingerprint

LONGEST = 600  # characters of a message
BAD = ("silent", "traceback", "hang")
COLUMNS = ("refused", "same", "told", "allowed", *BAD)


@dataclass(frozen=True)
class Outcome:
    """How a load ended.

    Attributes:
        verdict: ``refused`` in one line; ``same`` figures; ``told``: other figures, and a warning that says so;
            ``allowed``: other figures, where the format cannot tell; ``silent``: where it could; ``traceback``: any
            other exception, a dead process, an unfit message, executed code; ``hang``: too long or too much memory.
        detail: the message, or the exception.
    """

    verdict: str
    detail: str = ""

    def plain(self) -> dict[str, str]:
        """For a pipe."""
        return asdict(self)


@dataclass(frozen=True)
class Loaded:
    """A load that ended well: a hash of its figures, and the warnings it gave."""

    figures: str
    warned: frozenset[str]


def attempt(load: Callable[[Path], Any], folder: Path) -> Loaded | Outcome:
    """Load a folder, quietly."""
    said = io.StringIO()
    marker = Path(os.environ.get(MARKER, "/nonexistent/marker"))
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            redirect_stderr(said),
            redirect_stdout(io.StringIO()) as out,
        ):
            warnings.simplefilter("always")
            figures = fingerprint(load(folder))
    except InputError as error:
        result: Loaded | Outcome = refusal(one_line(error))
    except SystemExit as stop:
        text = said.getvalue().strip().split("\n")[-1]
        result = refusal(text) if stop.code == 2 else Outcome("traceback", f"SystemExit {stop.code}: {text}"[:300])
    except MemoryError:
        result = Outcome("hang", "MemoryError")
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        result = Outcome("traceback", f"{type(error).__name__} at {place}: {ascii(str(error))[:200]}")
    else:
        lines = [line for line in (out.getvalue() + said.getvalue()).split("\n") if "warning" in line.lower()]
        result = Loaded(figures, frozenset([*(str(entry.message) for entry in caught), *lines]))
    if marker.exists():
        marker.rmdir() if marker.is_dir() else marker.unlink()
        return Outcome("traceback", "code from the file was executed")
    return result


def refusal(text: str) -> Outcome:
    """Whether a message is one printable line of a bearable length."""
    if not text.isprintable() or len(text) > LONGEST:
        return Outcome(
            "traceback", f"message of {len(text)} characters, printable: {text.isprintable()}: {text[:200]!a}"
        )
    return Outcome("refused", text)


def judge(result: Loaded | Outcome, reference: Loaded, tolerable: Callable[[], bool]) -> Outcome:
    """Compare with the load of the whole file.

    Args:
        result: of the damaged file.
        reference: of the whole file.
        tolerable: whether the format cannot tell; asked only where the figures differ.
    """
    if isinstance(result, Outcome):
        return result
    if result.figures == reference.figures:
        return Outcome("same")
    if news := result.warned - reference.warned:
        return Outcome("told", min(news)[:LONGEST])
    return Outcome("allowed") if tolerable() else Outcome("silent")

"""The command line: dispatches lazily, so that ``--help`` and a misspelt command answer without importing torch."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from datamodules.errors import InputError, printable
from datamodules.processes import end_with_caller
from lit import ROOT
from lit.commands.dispatch import chosen

TRAINER = "trainer_cli.run"  # takes its own name as well
TARGETS = {
    "fit": (TRAINER, "train a generator or a detector from a configuration file, then evaluate it"),
    "validate": (TRAINER, "evaluate a checkpoint on the validation split"),
    "test": (TRAINER, "evaluate a checkpoint on the test split and write result files"),
    "predict": (TRAINER, "run a checkpoint: a generator bakes an asset bank, a detector writes result files"),
    "prepare": ("commands.prepare.main", "check a data set, write a synthetic one, or turn a checkpoint into data"),
    "show": ("commands.show.main", "pictures of banks, injected frames and generated objects; films and meshes"),
    "edit": ("commands.edit.main", "draw on a generated object at any view, in a browser"),
    "evaluate": ("commands.evaluate.main", "score result files against labels"),
    "sweep": ("commands.sweep.main", "run a grid of experiments, one process and one folder a run"),
    "leaderboard": ("commands.leaderboard.main", "rank recorded runs: table, CSV, Markdown, JSON and one HTML page"),
    "results": ("commands.results.main", "pack a sweep's raw records, and recompute published figures from them"),
    "bench": ("commands.bench.main", "measure speed beside a named reference"),
    "demo": ("commands.demo.main", "the whole chain on a small world, in minutes"),
}
HOME = re.compile(r"(?:^|(?<==))~(?=/|$)")
MOST_LETTERS = 600  # of an error's line
ABOUT = "Does this synthetic-object augmentation make a 3D detector better?"


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after ``python -m lit``; ``sys.argv`` when None.

    Returns:
        The exit status: 0, 1 for a failed run, 2 for bad input (after one line on stderr), 130 when interrupted, 141
        when nobody reads the output any more (what a shell says of a program that SIGPIPE ended).
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = [HOME.sub(lambda found: os.path.expanduser(found[0]), word) for word in words]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few letters is no reason to stop
    try:
        end_with_caller()
        check_packages()
        run = chosen("", ABOUT, TARGETS, arguments)
        status = 0 if run is None else run(arguments if TARGETS[arguments[0]][0] == TRAINER else arguments[1:])
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # or the interpreter complains at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (InputError, OSError) as error:
        if os.environ.get("LIFTBENCH_DEBUG"):
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except SystemExit as exit_:  # argparse after --help, Lightning after an interrupt
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def check_packages() -> None:
    """Check that the three package names mean this repository (PyPI has other packages named lit and detectors).

    Raises:
        InputError: when one resolves elsewhere.
    """
    for name in ("lit", "detectors", "datamodules"):
        spec = importlib.util.find_spec(name)
        places = [Path(p).resolve() for p in (spec.submodule_search_locations or [])] if spec else []
        if ROOT / name not in places:
            found = f"resolves to {places[0]}" if places else "is not found"
            raise InputError(f"package '{name}' {found}, expected {ROOT / name}; run python -m lit from {ROOT}")


def one_line(error: BaseException) -> str:
    """The message of an error as one line of at most 600 letters, whose beginning and end say the most.

    Unwraps errors that a DataLoader worker passed on with its traceback; says which file the system refused.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        lines = [f"{error.filename or 'the system'}: {error.strerror}; choose another place, or make room or access"]
    if lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        lines = [lines[-1].split(": ", 1)[-1]]
    text = printable(" ".join(" ".join(lines).split())).replace("|", "\\x7c")  # which would part a table's cells
    return text if len(text) <= MOST_LETTERS else f"{text[:400]} ... {text[5 - MOST_LETTERS + 400 :]}"

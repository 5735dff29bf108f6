"""Damages files and loads them in a process of its own, under limits; a process that hangs is replaced."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import torch

from datamodules.randomness import derive
from tests.faults.mutations import Damage, damage
from tests.faults.mutations.states import MARKER
from tests.faults.outcome import Loaded, Outcome, attempt, judge
from tests.faults.surface import Surface

SECONDS = 20.0  # a load
BYTES = 4 << 30  # of address space on top of what the process has at its start
RESIDENT = 1 << 30  # more resident memory than before


@dataclass(frozen=True)
class Case:
    """One damaged input: its number, the file in the surface's folder, the kind of damage, and what became of it."""

    number: int
    file: str
    kind: str
    outcome: Outcome


class Bench:
    """A surface's folder, whole between two loads.

    Args:
        surface: the surface.
        folder: where it is written, or lies already.
        check: load it whole, for what comes out to be compared with; else the folder is only looked at.
    """

    def __init__(self, surface: Surface, folder: Path, check: bool = True) -> None:
        self.surface, self.folder, self.kept = surface, folder / "input", folder / "whole"
        if not self.kept.exists():
            self.folder.mkdir(parents=True)
            surface.make(self.folder)
            self.load_reference(self.folder)  # readers may unpack something beside their files
            shutil.copytree(self.folder, self.kept, symlinks=True)
        found = {path for pattern in surface.files for path in self.kept.glob(pattern) if path.is_file()}
        self.files = [self.folder / path.relative_to(self.kept) for path in sorted(found)]
        assert self.files, f"{surface.name}: no file matches {surface.files}"
        if check:
            self.restore()
            self.reference = self.load_reference(self.folder)

    def load_reference(self, folder: Path) -> Loaded:
        """The whole folder's figures.

        Raises:
            RuntimeError: the reader refuses it.
        """
        found = attempt(self.surface.load, folder)
        if isinstance(found, Outcome):
            raise RuntimeError(f"{self.surface.name}: the whole input gives {found}")
        return found

    def restore(self) -> None:
        """Make the folder whole again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.kept, self.folder, symlinks=True)

    def original(self, file: Path) -> bytes:
        """The bytes of a file before any damage."""
        return (self.kept / file.relative_to(self.folder)).read_bytes()

    def try_damage(self, file: Path, change: Damage) -> Outcome:
        """Damage one file, load, and restore it."""
        before = self.original(file)
        place(file, change)
        try:
            result = attempt(self.surface.load, self.folder)
        finally:
            if file.is_dir() and not file.is_symlink():
                file.rmdir()
            else:
                file.unlink(missing_ok=True)
            place(file, Damage("", before))
        return judge(result, self.reference, lambda: self.tolerable(before, change))

    def tolerable(self, before: bytes, change: Damage) -> bool:
        """Whether no reader could tell."""
        if change.content is None:
            return self.surface.droppable and change.kind == "missing"
        return self.surface.plausible(before, change.content)


def place(file: Path, change: Damage) -> None:
    """Put the damaged content, or something that is no file, in the place of a file."""
    if change.content is not None:
        file.write_bytes(change.content)
        stamp = time.time_ns()  # the file system's own clock stands still for milliseconds: caches would see no change
        os.utime(file, ns=(stamp, stamp))
        return
    file.unlink()
    if change.kind == "folder":
        file.mkdir()
    elif change.kind == "loop":
        file.symlink_to(file.name)


def drawn(bench: Bench, seed: int, number: int) -> tuple[Path, Damage]:
    """The file and the damage of an input; the same for the same seed and number."""
    rng = derive(seed, "faults", bench.surface.name, str(number))
    file = bench.files[int(rng.integers(len(bench.files)))]
    return file, damage(bench.original(file), bench.surface.forms, rng)


def _serve(surface: Surface, folder: Path, seed: int, start: int, stop: int, pipe: Connection) -> None:
    """Try inputs ``start`` to ``stop`` and send a line each; runs in a child process."""
    os.setpgid(0, 0)
    silence()
    try:
        bench = Bench(surface, folder)
        limit_memory()
        for number in range(start, stop):
            file, change = drawn(bench, seed, number)
            pipe.send(json.dumps({"file": str(file.relative_to(bench.folder)), "kind": change.kind}))
            highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            outcome = bench.try_damage(file, change)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - highest) * 1024
            if grown > RESIDENT:
                outcome = Outcome("hang", f"{grown >> 20} MiB")
            pipe.send(json.dumps(outcome.plain()))
    except Exception:  # of this harness; the parent raises it
        pipe.send(json.dumps({"broken": traceback.format_exc()}))
    pipe.close()


def silence() -> None:
    """One thread, and nothing on the terminal: decoders in C write where they like."""
    torch.set_num_threads(1)
    cv2.setNumThreads = lambda nthreads: None  # in a forked process it may wait for a lock for ever
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)


def limit_memory() -> None:
    """Refuse this process more than :data:`BYTES` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run_surface(surface: Surface, seed: int, inputs: int, folder: Path) -> Iterator[Case]:
    """Try so many inputs of a surface.

    Args:
        surface: the surface.
        seed: of all draws.
        inputs: their number.
        folder: to work in; it is left for :func:`drawn` to show an input again.
    """
    os.environ[MARKER] = str(folder / "executed")
    cv2.setNumThreads(0)  # before the fork: a child would wait for threads that it does not have
    context, number = multiprocessing.get_context("fork"), 0
    while number < inputs:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_serve, args=(surface, folder, seed, number, inputs, theirs), daemon=True)
        child.start()
        theirs.close()
        try:
            first = True
            while number < inputs:
                announced = _line(ours, SECONDS * (9 if first else 1))
                if not announced or "broken" in announced:
                    raise RuntimeError(f"{surface.name}, input {number}: {announced and announced['broken']}")
                found, first = _line(ours, SECONDS), False
                if found and "broken" in found:
                    raise RuntimeError(f"{surface.name}, input {number}: {found['broken']}")
                if found is None:
                    outcome = Outcome("hang", f"over {SECONDS:g} s")
                elif not found:
                    child.join()
                    outcome = Outcome("traceback", f"the process ended with {child.exitcode}")
                else:
                    outcome = Outcome(**found)
                yield Case(number, announced["file"], announced["kind"], outcome)
                number += 1
                if not found:
                    break
        finally:
            end_group(child.pid)
            child.join()
            ours.close()


def _line(pipe: Connection, seconds: float) -> dict[str, str] | None:
    """The next message; an empty one when the process is gone, None when it takes too long."""
    if not pipe.poll(seconds):
        return None
    try:
        return dict(json.loads(pipe.recv()))
    except EOFError:
        return {}


def end_group(pid: int | None) -> None:
    """Kill a child and what it started."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def workplace(surface: Surface) -> Iterator[Path]:
    """A fresh folder for a surface; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place) / surface.name
        folder.mkdir()
        yield folder


def in_child(surface: Surface, folder: Path, original: bytes | None, file: str | None, change: Damage) -> Outcome:
    """Try one damage in a process of its own.

    Args:
        surface: the surface.
        folder: to work in.
        original: bytes that stand in the place of the surface's own file, undamaged; None keeps its own.
        file: the file's path in the surface's folder; None is the first one.
        change: what is done to it.
    """
    os.environ[MARKER] = str(folder / "executed")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_try_one, args=(surface, folder, original, file, change, theirs), daemon=True)
    child.start()
    theirs.close()
    found = _line(ours, 10 * SECONDS)
    end_group(child.pid)
    child.join()
    if found is None:
        return Outcome("hang", f"over {10 * SECONDS:g} s")
    return Outcome(**found) if found else Outcome("traceback", f"the process ended with {child.exitcode}")


def _try_one(
    surface: Surface, folder: Path, original: bytes | None, file: str | None, change: Damage, pipe: Connection
) -> None:
    os.setpgid(0, 0)
    silence()
    try:
        bench = Bench(surface, folder)
        target = bench.folder / file if file else bench.files[0]
        if original is not None and original != bench.original(target):
            (bench.kept / target.relative_to(bench.folder)).write_bytes(original)
            bench.restore()
            bench.reference = bench.load_reference(bench.folder)
    except RuntimeError as error:  # its original is not as this surface's own, so there is nothing to compare with
        pipe.send(json.dumps(Outcome("unfit", str(error)[:300]).plain()))
        return
    limit_memory()
    pipe.send(json.dumps(bench.try_damage(target, change).plain()))

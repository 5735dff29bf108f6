"""``python -m tests.faults.kill``: kills commands at random moments, looks at what they left, and lets them finish.

    python -m tests.faults.kill --kills 200 --seed 0 [--job NAME ...]

After each kill: nothing half-written may be read as whole, and no process of the command may be alive three seconds
later. After a few kills the same command runs to its end, and what it leaves must equal what a run leaves that was
never killed: no temporary file or work folder more. Temporary files of the system lie on another file system,
where there is one. Exit status 1 where anything of that fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from datamodules.randomness import derive
from lit import ROOT
from tests.faults.kill_jobs import JOBS, Final, Job, litter

TOKEN = "LIFTBENCH_KILL_TOKEN"
GRACE = 3.0  # seconds for children to notice that their parent is gone
SLOWEST = 600.0  # seconds for a command to end
MOST = 5  # kills before a command may end
COLUMNS = ("kills", "passes", "half", "orphans", "unequal", "litter", "failed")
ELSEWHERE = Path("/dev/shm")  # a file system in memory


class Killed:
    """A job's passes: each a fresh folder, a few kills, and a run to the end.

    Args:
        job: the job.
        place: for its folders.
        shared: inputs that jobs read.
        rng: draws the moments.
        temporary: the commands' folder of temporary files.
    """

    def __init__(self, job: Job, place: Path, shared: Path, rng: np.random.Generator, temporary: Path) -> None:
        self.job, self.place, self.shared, self.rng, self.temporary = job, place, shared, rng, temporary
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.passes = 0
        folder = self.fresh()
        started = time.monotonic()
        if error := self.finish(folder):
            raise RuntimeError(f"{job.name}: never killed and yet {error}")
        self.seconds = time.monotonic() - started
        self.reference, self.litter = job.final(folder), litter(folder)

    def fresh(self) -> Path:
        """A new folder with what the command reads; the folders of all passes have one name."""
        folder = self.place / self.job.name / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.job.setup(folder, self.shared)
        return folder

    def run(self, kills: int) -> None:
        """So many kills, :data:`MOST` a pass at most."""
        while self.counts["kills"] < kills:
            folder = self.fresh()
            self.passes += 1
            before = self.job.found(folder)
            for _ in range(min(int(self.rng.integers(1, MOST + 1)), kills - self.counts["kills"])):
                self.kill_once(folder, before)
            self.counts["passes"] += 1
            if error := self.finish(folder):
                self.note("failed", error)
                continue
            if (left := self.left(folder)) != self.reference:
                self.note("unequal", difference(left, self.reference))
            if extra := sorted({*litter(folder)} - {*self.litter}):
                self.note("litter", ", ".join(extra[:4]))

    def left(self, folder: Path) -> Final:
        """What stands at the end; the error where it cannot be read."""
        try:
            return self.job.final(folder)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def kill_once(self, folder: Path, before: Final) -> None:
        """Start, kill at a random moment, and look."""
        moment = float(self.rng.uniform(0.15 if self.rng.random() < 0.9 else 0, 1.02)) * self.seconds
        token, process = self.start(folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        process.kill()
        process.wait()
        self.counts["kills"] += 1
        what = f"pass {self.passes}, killed after {moment:.1f} s"
        if alive := outlived(token):
            self.note("orphans", f"{what}: {len(alive)} alive, such as {alive[0]}")
        try:
            found = self.job.found(folder)
        except Exception as error:
            self.note("half", f"{what}: {type(error).__name__}: {error}")
            return
        wrong = [k for k, v in found.items() if v != self.reference.get(k) and v != before.get(k)]
        if wrong or not set(before) <= set(found):
            self.note("half", f"{what}: {(wrong or sorted(set(before) - set(found)))[:3]}")

    def finish(self, folder: Path) -> str:
        """Let the command end; what went wrong, or nothing."""
        token, process = self.start(folder)
        try:
            status = process.wait(SLOWEST)
        except subprocess.TimeoutExpired:
            process.kill()
            status = -1
        end(processes(token))
        said = (folder / "said.txt").read_text(errors="replace").strip().split("\n")[-1]
        return "" if status == 0 else f"exit status {status}: {said[:300]}"

    def start(self, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
        """The command, in a session of its own, marked by a token that all its children inherit."""
        token = f"{os.getpid()}-{time.monotonic_ns()}"
        environment = os.environ | {TOKEN: token, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["TMPDIR"] = str(self.temporary)
        with (folder / "said.txt").open("wb") as said:
            words = [sys.executable, "-m", "lit", *self.job.command(folder)]
            return token, subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def note(self, kind: str, text: str) -> None:
        """Count a problem and say it."""
        self.counts[kind] += 1
        self.problems.append(f"{self.job.name}: {kind}: {text}")


def processes(token: str) -> list[int]:
    """Living processes that carry a token in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and f"{TOKEN}={token}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def outlived(token: str) -> list[str]:
    """Command lines of processes that are alive after :data:`GRACE` seconds; they are ended."""
    until = time.monotonic() + GRACE
    while (alive := processes(token)) and time.monotonic() < until:
        time.sleep(0.1)
    lines = []
    for process in alive:
        with contextlib.suppress(OSError):
            lines.append(
                Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
            )
    end(alive)
    return lines


def end(alive: list[int]) -> None:
    """Kill processes of ours."""
    for process in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def difference(left: Final, wanted: Final) -> str:
    """The first parts that differ."""
    keys = sorted(key for key in {*left, *wanted} if left.get(key) != wanted.get(key))
    return "; ".join(f"{key}: {left.get(key)} in place of {wanted.get(key)}" for key in keys[:2])[:500]


def main(argv: list[str] | None = None) -> int:
    """Kill. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "tests.faults.kill", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="over all jobs (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", nargs="+", choices=[job.name for job in JOBS], default=[job.name for job in JOBS])
    options = parser.parse_args(argv)
    jobs = [job for job in JOBS if job.name in options.job]
    print(f"{'job':<10}" + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
    total: Counter[str] = Counter()
    other = ELSEWHERE if os.access(ELSEWHERE, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="kill-") as place,
        tempfile.TemporaryDirectory(prefix="kill-", dir=other) as temporary,
    ):
        shared = Path(place) / "shared"
        with contextlib.redirect_stdout(sys.stderr):
            for job in jobs:
                job.shared(shared)
        for job in jobs:
            killed = Killed(job, Path(place), shared, derive(options.seed, "kill", job.name), Path(temporary))
            killed.run(max(1, round(options.kills * job.share / sum(each.share for each in jobs))))
            total += killed.counts
            print(row(job.name, killed.counts, f"{killed.seconds:.0f} s never killed"), flush=True)
            for problem in killed.problems[:10]:
                print(f"  {problem}", flush=True)
    print(row("all", total))
    return int(any(total[name] for name in COLUMNS[2:]))


def row(name: str, counts: Counter[str], more: str = "") -> str:
    """A line of the table."""
    return f"{name:<10}" + "".join(f"{counts[column]:>10}" for column in COLUMNS) + f"  {more}".rstrip()


if __name__ == "__main__":
    sys.exit(main())

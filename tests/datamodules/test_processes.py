"""Processes end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.processes import beside, run_jobs, termination_raises, track

# A parent starts a child that ends with it, tells its number and waits.
PARENT = """
import os, subprocess, sys, time
child = "import sys, time; from datamodules.processes import end_with_parent; end_with_parent(int(sys.argv[1])); " \\
        "print('ready', flush=True); time.sleep(60)"
started = subprocess.Popen([sys.executable, "-c", child, str(os.getpid())], stdout=subprocess.PIPE, text=True)
started.stdout.readline()
print(started.pid, flush=True)
time.sleep(60)
"""
POOL = """
import sys
from datamodules.errors import InputError
from datamodules.processes import beside, run_jobs
from tests.datamodules.test_processes import note_and_wait
if __name__ == "__main__":
    run_jobs(note_and_wait, [(sys.argv[1], n) for n in range(40)], 2, False, "jobs")
"""

LOADER = """
import sys
from torch.utils.data import DataLoader
from datamodules.base import start_worker
from tests.datamodules.test_processes import note_and_wait
if __name__ == "__main__":
    jobs = [(sys.argv[1], n) for n in range(40)]
    next(iter(DataLoader(jobs, None, num_workers=2, collate_fn=note_and_wait, worker_init_fn=start_worker)))
    sys.stdin.read()
"""


def note_and_wait(job: tuple[str, int]) -> None:
    """Leave this process's number as a file and take a while."""
    (Path(job[0]) / str(os.getpid())).touch()
    time.sleep(0.5)


def alive(number: int) -> bool:
    """Whether a process runs (one that ended and nobody asked for does not)."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(numbers: list[int]) -> bool:
    """Whether all of some processes end soon."""
    for _ in range(100):
        if not any(map(alive, numbers)):
            return True
        time.sleep(0.1)
    return False


def square(value: int) -> int:
    return value * value


def test_results_come_in_order() -> None:
    assert run_jobs(square, range(5), 1, False, "squares") == [0, 1, 4, 9, 16]
    assert run_jobs(square, range(5), 2, False, "squares") == [0, 1, 4, 9, 16]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_ends_with_its_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    assert gone([child])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command(tmp_path: Path, sent: signal.Signals) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "pool.py"), str(notes)], env=environment)
    while not (workers := [int(path.name) for path in notes.iterdir()]):
        assert parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(sent)
    assert parent.wait(60) == (-sent if sent == signal.SIGKILL else 128 + sent)
    assert gone(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_of_a_loader_end_with_a_killed_training(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text(LOADER)
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    words = [sys.executable, str(tmp_path / "loader.py"), str(notes)]
    parent = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE)
    while len(workers := [int(path.name) for path in notes.iterdir()]) < 2:
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.communicate()
    assert gone(workers)


def test_a_termination_unwinds_and_the_old_handler_returns() -> None:
    before, closed = signal.getsignal(signal.SIGTERM), []

    def interrupted() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            closed.append(True)

    with pytest.raises(SystemExit) as end, termination_raises():
        interrupted()
    assert end.value.code == 128 + signal.SIGTERM
    assert closed == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bar_says_nothing_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter(range(3)), "frames", total=3)) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.usefixtures("two_cores")
def test_a_function_runs_beside_this_process() -> None:
    with beside(lambda: (os.getpid(), [1, 2])) as result:
        number, kept = result()
    assert number != os.getpid()
    assert kept == [1, 2]
    assert not alive(number)
    with beside(os.getpid, worthwhile=False) as result:
        assert result() == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.usefixtures("two_cores")
def test_what_goes_wrong_beside_this_process_is_met_here(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputError("no such thing")

    with beside(refuse) as result, pytest.raises(InputError, match="no such thing"):
        result()
    here = os.getpid()

    def end_of_memory() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    with beside(end_of_memory) as where:
        assert where() == here  # done again, here

    def long() -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    def give_up() -> None:
        with beside(long):
            while not list(tmp_path.iterdir()):
                time.sleep(0.01)
            raise KeyError

    began = time.monotonic()
    with pytest.raises(KeyError):
        give_up()
    assert time.monotonic() - began < 30
    assert gone([int(path.name) for path in tmp_path.iterdir()])


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.usefixtures("two_cores")
def test_without_a_second_process_the_function_is_called_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(self: ForkProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ForkProcess, "start", no_more)
    with beside(os.getpid) as result:
        assert result() == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.usefixtures("two_cores")
def test_a_process_killed_while_it_answers_is_made_up_for() -> None:
    here = os.getpid()

    def long_answer() -> bytes:
        if os.getpid() != here:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return bytes(1 << 22)  # more than a pipe holds

    with beside(long_answer) as result:
        time.sleep(0.6)
        assert len(result()) == 1 << 22


INTERRUPTED = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
os.sched_getaffinity = lambda _: {0, 1}
from datamodules.processes import beside
def long():
    print("begun", flush=True)
    time.sleep(30)
def answer():
    print("begun", flush=True)
    return bytes(1 << 22)
try:
    with beside(long if sys.argv[1] == "long" else answer) as result:
        if sys.argv[1] == "answer":
            time.sleep(0.5)
            raise KeyError("refused")
        result()
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
except KeyError:
    print("refused", file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.parametrize(("what", "said"), [("long", "interrupted\n"), ("answer", "refused\n")])
def test_the_second_process_says_nothing_of_its_end(what: str, said: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, what]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    if what == "long":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=20)[1] == said

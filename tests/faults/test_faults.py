"""A small share of the damaged inputs and of the kills; ``-m tests.faults`` and ``-m tests.faults.kill`` run all."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lit import ROOT
from tests.faults.mutations import FORMS, damage
from tests.faults.plausible import kitti_rows

ROW = b"Car 0.00 0 -1.88 696.76 185.60 823.33 267.24 1.50 1.61 3.84 3.15 1.81 15.86 -1.68\n"


def run(*words: str) -> None:
    """Run a module in a process of its own: this one has threads that a fork would break."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_damaged_files_are_refused_in_one_line_or_change_nothing() -> None:
    run("tests.faults", "--inputs", "150", "--seed", "7")


@pytest.mark.slow
def test_killed_commands_leave_nothing_half_and_go_on() -> None:
    run("tests.faults.kill", "--kills", "4", "--job", "world", "sweep")


def test_damage_follows_from_the_seed() -> None:
    for form in ("text", "bytes"):
        draws = [[damage(ROW, [form], np.random.default_rng(seed)) for seed in range(50)] for _ in range(2)]
        assert draws[0] == draws[1]
        assert len({one.content for one in draws[0]}) > 30
    assert all(len(kinds) >= 2 for kinds in FORMS.values())


def test_what_a_format_tells() -> None:
    good = kitti_rows((15,))
    assert good(ROW, ROW)
    assert good(ROW, ROW.replace(b"1.50", b"1.60"))  # a changed digit
    assert good(ROW, b"\xef\xbb\xbf" + ROW)
    for old, new in ((b"Car", b"car"), (b"1.50", b"-1"), (b"823.33", b"0"), (b"1.81", b"1e30"), (b"3.84", b"3_4")):
        assert not good(ROW, ROW.replace(old, new))

"""The number of threads that a process of the suite gets."""

from __future__ import annotations

import os

import pytest

from lit.experiments.process import allowed_threads


@pytest.mark.parametrize(
    ("stated", "threads"), [("3", 3), ("2,1", 2), ("0", None), ("many", None), ("", None), (None, None)]
)
def test_threads_of_a_run_by_hand(monkeypatch: pytest.MonkeyPatch, stated: str | None, threads: int | None) -> None:
    if stated is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert allowed_threads() == (threads or os.cpu_count())

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import spawn

from detectors.rank_counts import joined_over_ranks, mean_over_ranks, share_of
from tests.detectors.gloo_losses import batch, build, gradients, work

KINDS = ["centernet", *(["fcos3d", "pgd", "smoke"] if importlib.util.find_spec("mmdet3d") else [])]


def test_one_process_counts_for_itself() -> None:
    counts = torch.tensor([0.0, 0.5, 7.0])
    assert share_of(counts).tolist() == [1.0, 1.0, 7.0]
    assert mean_over_ranks(counts) is counts
    assert counts.tolist() == [0.0, 0.5, 7.0]
    assert joined_over_ranks(counts).tolist() == counts.tolist()


def test_two_processes_descend_the_loss_of_one_with_both_halves(tmp_path: Path) -> None:
    """Of two frames without an object on one process and two with six on the other, for every detector."""
    spawn(work, (str(tmp_path), KINDS), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert [half.pop("square") for half in halves] == [(12.0, 9.0)] * 2  # (1 + 2)^2; the gradients' mean is 6 for each
    assert [half.pop("joined").tolist() for half in halves] == [[[0, 7], [1, 7]]] * 2
    for kind in KINDS:
        whole, losses = gradients(build(kind), batch(kind, slice(0, 4)))
        (first, one), (second, two) = (half[kind] for half in halves)
        torch.testing.assert_close((first + second) / 2, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))
        assert {name: (one[name] + two[name]) / 2 for name in losses} == pytest.approx(losses, rel=1e-4, abs=1e-6)
        assert sum(one.values()) < sum(two.values()), kind

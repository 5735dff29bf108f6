"""One command line on one node and on many: the launcher's processes where nobody chose them."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.errors import InputError
from lit.launched import fill_in_processes, launched_processes, refuse_processes

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "64", "SLURM_STEP_NUM_NODES": "8"}


def filled(environment: dict[str, str], **trainer: Any) -> dict[str, Any]:
    options = {"devices": "auto", "num_nodes": 1, "strategy": "auto", **trainer}
    fill_in_processes(options, environment)
    return options


def test_what_torchrun_and_srun_started() -> None:
    assert launched_processes(TORCHRUN) == (8, 2)
    assert launched_processes(SRUN) == (8, 8)
    assert launched_processes({}) is None
    assert launched_processes({**TORCHRUN, "WORLD_SIZE": "15"}) is None  # unequal nodes
    assert launched_processes({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64"}) is None  # a batch script, before srun


def test_options_that_nobody_chose_are_filled_in() -> None:
    assert filled(TORCHRUN) == {"devices": 8, "num_nodes": 2, "strategy": "ddp"}
    assert filled(SRUN, strategy="ddp_find_unused_parameters_true")["strategy"] == "ddp_find_unused_parameters_true"


def test_chosen_options_and_single_processes_stay() -> None:
    alone = {"devices": "auto", "num_nodes": 1, "strategy": "auto"}
    assert filled(TORCHRUN, devices=4) == {**alone, "devices": 4}
    assert filled({**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}) == alone
    assert filled({}) == alone


def test_more_processes_than_cores_are_refused() -> None:
    with pytest.raises(InputError, match="devices 100000: expected at most"):
        refuse_processes("cpu", 100000)

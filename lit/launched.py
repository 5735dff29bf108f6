"""How many processes a training has: what the launcher that started this one says, else the options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from datamodules.errors import InputError

TORCHRUN = ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
SLURM_STEP = ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")  # of srun; a batch script has none


def launched_processes(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """How many processes torchrun or srun started.

    Args:
        environment: of this process.

    Returns:
        Processes a node and nodes; None where neither started this one, or where the nodes have unequally many, which
        Lightning refuses.
    """
    if all(name in environment for name in TORCHRUN):
        world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        return None if world % local else (local, world // local)
    if all(environment.get(name, "").isdecimal() for name in SLURM_STEP):
        world, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment["SLURM_STEP_NUM_NODES"])
        return None if world % nodes else (world // nodes, nodes)
    return None


def fill_in_processes(trainer: Any, environment: Mapping[str, str] = os.environ) -> None:
    """Let one command line serve any number of nodes: devices and nodes that nobody chose are the launcher's.

    Args:
        trainer: the trainer's options, changed in place.
        environment: of this process.
    """
    launched = launched_processes(environment)
    chosen = trainer.get("devices") not in (None, "auto") or (trainer.get("num_nodes") or 1) != 1
    if launched is None or launched == (1, 1) or chosen:
        return
    trainer["devices"], trainer["num_nodes"] = launched
    if trainer.get("strategy") in (None, "auto"):
        trainer["strategy"] = "ddp"


def refuse_processes(accelerator: Any, devices: Any) -> None:
    """Refuse more processes on the CPU than it has cores, which Lightning would start all the same.

    Raises:
        InputError: says how many there are.
    """
    most = max(os.cpu_count() or 1, 8)
    on_cpu = accelerator == "cpu" or (accelerator in (None, "auto") and not torch.cuda.is_available())
    count = int(devices) if str(devices).isdecimal() else 0
    if on_cpu and count > most:
        raise InputError(f"--trainer.devices {devices}: expected at most {most} processes on this machine's CPU")

"""The options of ``sweep`` that say where its jobs run."""

from __future__ import annotations

import argparse
import os

from datamodules.cluster.ray_cluster import LOCAL
from datamodules.errors import InputError, closest
from lit.arguments import Arguments, positive
from lit.experiments.launchers.launcher import Launcher
from lit.experiments.launchers.local import LocalLauncher

LAUNCHERS = ("local", "print", "ray", "slurm")
OF = {  # an option's value -> the launchers that it is for
    "jobs": ("local", "ray", "slurm"),
    "address": ("ray",),
    "cpus_per_run": ("ray", "slurm"),
    "gpus_per_run": ("ray", "slurm"),
    "retries": ("ray", "slurm"),
    "partition": ("slurm",),
    "time": ("slurm",),
}


def add_launch_options(parser: Arguments) -> None:
    """Add ``--launcher`` and what each of them is told."""
    add = parser.add_argument
    about = "local runs the jobs here; print lists their commands, one a line; ray and slurm run them on a cluster"
    add("--launcher", default="local", help=about)
    add("--jobs", type=positive, default=None, help="runs at a time (default: one a core; on a cluster all)")
    add("--cpus-per-run", type=positive, default=None, help="ray, slurm: cores and threads of a run (default 1)")
    add(
        "--gpus-per-run",
        type=amount,
        default=None,
        help="ray, slurm: GPUs of a run; ray takes parts of one (default 0)",
    )
    what = "ray, slurm: times that a run whose worker was lost goes on elsewhere (default 3)"
    add("--retries", type=not_negative, default=None, help=what)
    where = (
        "HOST:PORT of a running cluster, auto for this machine's, or local for one of the sweep's own (default local)"
    )
    add("--address", default=None, help=f"ray: {where}")
    add("--partition", default=None, help="slurm: partition (default: the cluster's)")
    add("--time", type=positive, default=None, metavar="MINUTES", help="slurm: limit of a run (default 1440)")


def amount(text: str) -> float:
    """A number >= 0, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1000 or (value > 1 and value % 1):
        raise argparse.ArgumentTypeError(f"got '{text}', expected whole GPUs or a part of one, such as 1 or 0.25")
    return value


def not_negative(text: str) -> int:
    """An integer >= 0, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    return 0 if text == "0" else positive(text)


def require_launcher(options: argparse.Namespace) -> None:
    """Check the launcher's name and that nothing is asked of it that only another one has.

    Raises:
        InputError: names the option.
    """
    if options.launcher not in LAUNCHERS:
        expected = ", ".join(LAUNCHERS) + closest(options.launcher, LAUNCHERS)
        raise InputError(
            f"--launcher {options.launcher}: expected one of {expected}; "
            "other schedulers take the lines of --launcher print (they may be repeated: what is finished is skipped, "
            "what stopped goes on)"
        )
    for name, launchers in OF.items():
        if getattr(options, name) is not None and options.launcher not in launchers:
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{option} is of --launcher {' or '.join(launchers)}, not of {options.launcher}; leave it out"
            )


def launcher_of(options: argparse.Namespace) -> Launcher:
    """The launcher that was asked for."""
    cpus, gpus = options.cpus_per_run or 1, options.gpus_per_run or 0
    retries = 3 if options.retries is None else options.retries
    if options.launcher == "ray":
        from lit.experiments.launchers.ray_tasks import RayLauncher

        return RayLauncher(options.address or LOCAL, options.jobs, cpus, gpus, retries)
    if options.launcher == "slurm":
        from lit.experiments.launchers.slurm_arrays import SlurmLauncher

        return SlurmLauncher(options.partition, options.jobs, cpus, gpus, options.time or 1440, retries)
    return LocalLauncher(options.jobs or os.cpu_count() or 1)

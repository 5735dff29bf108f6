"""Jobs as arrays of SLURM, through submitit: what is ready together is one array, what is preempted is queued again."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from datamodules.errors import InputError
from lit import ROOT
from lit.experiments.launchers.launcher import Job, cause, execute, placed

WAITING = 1000  # jobs that are queued at a time; clusters limit an array's length
POLL = 5.0  # seconds between looks at the queue
PATIENCE = 300.0  # seconds in which SLURM kills a job that it has asked to end: its KillWait and GraceTime
ALONE = {"SLURM_JOB_NAME": "interactive"}  # Lightning's word for: take no processes from SLURM, and queue nothing again
GRACE = 30.0  # seconds that a job's result may come later than its end in the queue, over a network file system


class Command:
    """What a SLURM job does. One that is preempted or reaches its time limit is queued again, and goes on."""

    def __call__(self, words: list[str], log: str, folder: str, threads: int) -> str | None:
        return execute(words, log, folder, threads, ALONE, PATIENCE)

    def checkpoint(self, *given: Any) -> Any:
        """What to do when it is queued again: the same, for the command skips what is done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *given)


class SlurmLauncher:
    """Jobs on SLURM's nodes, which share a folder with this machine.

    Args:
        partition: where they are queued; None is the cluster's default.
        jobs: at a time.
        cpus: cores of each.
        gpus: GPUs of each.
        minutes: limit of each; one that reaches it is queued again.
        retries: how often that happens.
    """

    def __init__(
        self,
        partition: str | None,
        jobs: int | None,
        cpus: int = 1,
        gpus: float = 0,
        minutes: int = 1440,
        retries: int = 3,
    ) -> None:
        self.partition, self.cpus, self.gpus, self.minutes, self.retries = partition, cpus, gpus, minutes, retries
        self.jobs, self.threads = jobs or WAITING, cpus
        self.at_a_time = f"{jobs or 'as many as there is room for'} at a time on SLURM"
        self._under_way: dict[Future[str | None], tuple[Job, Any]] = {}  # a future: its job, and SLURM's
        self._lock, self._stop = threading.Lock(), threading.Event()

    def __enter__(self) -> SlurmLauncher:
        if self.gpus % 1:
            raise InputError(f"--gpus-per-run {self.gpus:g}: SLURM gives whole GPUs; expected 0, 1, 2, ...")
        require_partition(self.partition)
        try:
            import submitit
        except ImportError:
            raise InputError(
                '--launcher slurm: needs submitit, which is not installed; pip install -e ".[launchers]"'
            ) from None
        self._submitit = submitit
        self._watcher = threading.Thread(target=self._watch, name="slurm queue", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._watcher.join()
        if kind is not None and (left := [str(job.job_id) for _, job in self._under_way.values()]):
            said("scancel", *left)

    def start(self, jobs: Sequence[Job]) -> list[Future[str | None]]:
        """Start jobs; see :class:`lit.experiments.launchers.launcher.Launcher`.

        Raises:
            InputError: SLURM refuses them.
        """
        if not jobs:
            return []
        executor = self._submitit.SlurmExecutor(Path(jobs[0].log).absolute().parent / "slurm", self.retries)
        given: dict[str, Any] = {"job_name": f"lit-{jobs[0].name}", "time": self.minutes, "cpus_per_task": self.cpus}
        given |= {"partition": self.partition} if self.partition else {}
        given |= {"gpus_per_node": int(self.gpus)} if self.gpus else {}
        given |= {"setup": [f"export PYTHONPATH={shlex.quote(str(ROOT))}:$PYTHONPATH"]}
        given |= {"srun_args": [f"--cpus-per-task={self.cpus}"], "array_parallelism": min(self.jobs, WAITING)}
        executor.update_parameters(**given, additional_parameters={"requeue": True})
        columns = zip(*((job.words, *placed(job), self.threads) for job in jobs))
        try:
            submitted = executor.map_array(Command(), *map(list, columns))
        except Exception as error:  # submitit's own, and what the system says
            told = " ".join(str(error).split())[-300:]
            raise InputError(f"--launcher slurm: sbatch refuses the jobs ({told}); correct its options") from error
        futures: list[Future[str | None]] = [Future() for _ in jobs]
        with self._lock:
            self._under_way |= zip(futures, zip(jobs, submitted))
        return futures

    def _watch(self) -> None:
        """Until the end: look which jobs have left their result, and which are neither queued nor have left one."""
        absent: dict[Future[str | None], float] = {}
        while not self._stop.wait(POLL):
            with self._lock:
                under_way = dict(self._under_way)
            queued = self._queued({str(job.job_id).split("_")[0] for _, job in under_way.values()})
            for future, (job, slurm) in under_way.items():
                if slurm.paths.result_pickle.exists():
                    self._done(future, cause(job, outcome(slurm)))
                elif queued is not None and str(slurm.job_id) not in queued:
                    if time.monotonic() - absent.setdefault(future, time.monotonic()) > GRACE:
                        self._done(
                            future, f"SLURM's job {slurm.job_id} ended without a result; see {slurm.paths.stderr}"
                        )
                else:
                    absent.pop(future, None)

    def _done(self, future: Future[str | None], error: str | None) -> None:
        with self._lock:
            del self._under_way[future]
        future.set_result(error)

    def _queued(self, numbers: set[str]) -> set[str] | None:
        """The jobs that SLURM still knows; None when it does not answer."""
        if not numbers:
            return set()
        told = said("squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(sorted(numbers))}")
        if told is None:
            return None
        return set(told.split())


def outcome(slurm: Any) -> str | None:
    """Why a job that has left its result failed, or None."""
    try:
        return slurm.result()
    except Exception as error:  # raised on the node
        return " ".join(str(error).split())[-300:] or type(error).__name__


def said(*command: str) -> str | None:
    """What one of SLURM's commands prints; None when it fails for another reason than jobs that are long gone."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0 or "Invalid job id" in done.stderr:
            return done.stdout
    return None


def require_partition(partition: str | None) -> None:
    """Check that SLURM answers and has a partition.

    Raises:
        InputError: there is no SLURM here, its controller does not answer, or there is no such partition.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError(
            "--launcher slurm: no sbatch and srun on this machine; start the sweep on a login node of the cluster, or "
            "take --launcher print"
        )
    told = said("sinfo", "--noheader", "--format=%R")
    if told is None:
        raise InputError("--launcher slurm: the cluster's controller does not answer; `sinfo` says why")
    known = sorted(set(told.split()))
    if partition is not None and partition not in known:
        raise InputError(f"--partition {partition}: SLURM has no such partition; expected one of {', '.join(known)}")

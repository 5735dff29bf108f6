"""Jobs as tasks of a Ray cluster: the one at an address, or one that is started on this machine for the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType

from datamodules.cluster.ray_cluster import CLUSTER, LOCAL, join_cluster, worker_address
from datamodules.errors import InputError
from lit import ROOT
from lit.experiments.launchers.launcher import Job, cause, placed

WAITING = 10_000  # jobs that are handed to a cluster at a time, which queues them itself


class RayLauncher:
    """Jobs on a cluster's workers; one whose worker is lost is given to another, and goes on from its checkpoint.

    Args:
        address: of the cluster, as in :func:`datamodules.cluster.ray_cluster.join_cluster`.
        jobs: at a time; by default as many as the cluster has room for, on a local one as there are cores for.
        cpus: cores of each.
        gpus: GPUs of each, parts of one allowed.
        retries: how often a job whose worker was lost is given to another.
    """

    def __init__(self, address: str = LOCAL, jobs: int | None = None, cpus: int = 1, gpus: float = 0, retries: int = 3):
        self.address, self.cpus, self.gpus, self.retries = address, cpus, gpus, retries
        self.jobs, self.threads = jobs or WAITING, cpus
        self.at_a_time = f"{jobs or 'as many as there is room for'} at a time on Ray ({address})"
        self._local = jobs * cpus if jobs else None

    def __enter__(self) -> RayLauncher:
        self._ray = join_cluster(self.address, "--address", self._local)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        for name, wanted, option in (("CPU", self.cpus, "--cpus-per-run"), ("GPU", self.gpus, "--gpus-per-run")):
            most = max((node.get(name, 0) for node in nodes), default=0)
            if wanted > most:
                self._ray.shutdown()
                raise InputError(
                    f"{option} {wanted}: the largest of the cluster's {len(nodes)} machines has {most:g}; expected at "
                    "most as many, or the runs would wait for ever"
                )
        self._given = {CLUSTER: worker_address(self._ray)}
        self._task = self._ray.remote(_on_a_worker(str(ROOT)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()  # with its driver end the jobs that are under way

    def start(self, jobs: Sequence[Job]) -> list[Future[str | None]]:
        """Start jobs; see :class:`lit.experiments.launchers.launcher.Launcher`."""
        found = []
        for job in jobs:
            room = {"num_cpus": 0} if job.spreads else {"num_cpus": self.cpus, "num_gpus": self.gpus}
            task = self._task.options(**room, max_retries=self.retries, name=job.name)
            given = self._given if job.spreads else {}
            found.append(_told(job, task.remote(job.words, *placed(job), self.threads, given).future()))
        return found


def _on_a_worker(root: str) -> Callable[[list[str], str, str, int, Mapping[str, str]], str | None]:
    """What a worker does; by value, as in :mod:`datamodules.cluster.ray_cluster`."""

    def run(words: list[str], log: str, folder: str, threads: int, given: Mapping[str, str]) -> str | None:
        import sys

        if root not in sys.path:
            sys.path.insert(0, root)
        from lit.experiments.launchers.launcher import execute

        return execute(words, log, folder, threads, given)

    return run


def _told(job: Job, task: Future[str | None]) -> Future[str | None]:
    """Why a job failed, also where Ray gave it up."""
    told: Future[str | None] = Future()

    def take(done: Future[str | None]) -> None:
        error = done.exception()
        if error is None:
            told.set_result(cause(job, done.result()))
        elif (raised := getattr(error, "cause", None)) is not None:  # there, as it never came to the command
            said = f"{type(raised).__name__}: {raised}"[:200]
            told.set_result(f"its worker could not start it ({said}); expected this clone and folder on all machines")
        else:
            said = " ".join(str(error).split())[:200]
            told.set_result(f"lost with its worker on every try ({type(error).__name__}: {said}); run the sweep again")

    task.add_done_callback(take)
    return told

"""Work on the machines of a Ray cluster: joining one, and jobs in order over its workers.

Ray is an extra (``pip install -e ".[launchers]"``) that is imported only where it is asked for. What runs on a worker
finds this clone, and the working directory of the command that started it, at the same paths: both lie in a folder
that all machines share.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from datamodules.errors import InputError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

CLUSTER = "LIFTBENCH_RAY"  # environment: the cluster over which a command's rendering and sampling is spread
LOCAL = "local"  # in the place of an address: a cluster of this machine's own, gone with the command
_ROOT = Path(__file__).resolve().parents[2]
STORE = 100_000_000  # bytes of a local cluster's object store: file names pass through it, pictures do not
ANSWER = 5.0  # seconds for a port to answer
STARTS = 3  # of a local cluster
RETRIES = 3  # of a piece whose worker was lost
UNDER_WAY = 2  # pieces a core; they go on after a refusal, as to cancel them can end the process that Ray lives in
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",  # instead of 60: a busy machine needs longer
    "RAY_worker_niceness": "0",  # instead of 15, with which a local cluster's runs starve beside other work
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default; without it a warning
}


TRIES = "5"  # of a second each at an address that answers, instead of 20
AUTH = "RAY_AUTH_MODE"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # environment; else the file in the home folder
TOKEN_FILE = Path("~/.ray/auth_token")
HERE = ("127.0.0.1", "localhost", "::1")


def join_cluster(address: str, option: str, cpus: int | None = None, gpus: float | None = None) -> Any:
    """Join a Ray cluster, or start one on this machine, unless this process has done so before.

    Args:
        address: HOST:PORT of a running one, "auto" for this machine's, or "local".
        option: that gave the address, for messages.
        cpus: cores of a local one; None takes all.
        gpus: GPUs of a local one; None takes all.

    Returns:
        The ``ray`` module.

    Raises:
        InputError: Ray is not installed, the address is none, or no cluster of this version answers there.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address != LOCAL:
        require_answer(address, option)
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)
        if address.rpartition(":")[0] in HERE and has_token():
            os.environ.setdefault(AUTH, "token")  # as Ray does for "auto": the cluster has found the same token
    try:
        import ray
    except ImportError:
        raise InputError(
            f'{option} {address}: needs Ray, which is not installed; pip install -e ".[launchers]"'
        ) from None
    if ray.is_initialized():
        return ray
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        given |= {"address": LOCAL, "num_cpus": cpus, "num_gpus": gpus}
        given |= {"object_store_memory": STORE, "include_dashboard": False}
    else:
        given |= {"address": address}
    for left in reversed(range(STARTS)):
        try:
            with own_termination():
                ray.init(**given)
            break
        except Exception as error:  # Ray raises bare RuntimeError, ConnectionError, ValueError and its own
            said = " ".join(str(error).split())[:200]
            if address == LOCAL and left and "timed out during startup" in said:
                continue  # Ray gives its own processes half a minute, which a busy machine may not have
            if "InvalidAuthToken" in f"{error} {error.__cause__} {error.__context__}":
                raise InputError(
                    f"{option} {address}: the Ray cluster there asks for a token; expected {AUTH}=token and the "
                    f"cluster's token in {TOKEN_FILE} or {TOKENS[0]}"
                ) from error
            raise InputError(
                f"{option} {address}: no Ray cluster answers there ({said}); expected HOST:PORT of one that `ray start "
                "--head` of this Ray version started, auto, or local"
            ) from error
    return ray


def has_token() -> bool:
    """Whether a cluster that is started here would ask for a token, and this user has it."""
    return any(os.environ.get(name) for name in TOKENS) or TOKEN_FILE.expanduser().is_file()


@contextmanager
def own_termination() -> Iterator[None]:
    """Inside, SIGTERM may be given another meaning; after it, it means what it did.

    Ray's own handler passes the signal on, but gives the process three seconds and then aborts it, in which a sweep
    cannot end its jobs and a writer cannot remove what it began.
    """
    here = threading.current_thread() is threading.main_thread()  # others may not set handlers
    before = signal.getsignal(signal.SIGTERM) if here else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def require_answer(address: str, option: str) -> None:
    """Refuse an address at which nothing listens at once, where Ray would try for a minute and end the process.

    Raises:
        InputError: it is no address, or nothing answers.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"{option} {address}: expected HOST:PORT of a Ray cluster, auto or local")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise InputError(
            f"{option} {address}: cannot be reached ({error.strerror or error}); expected the address of a running Ray "
            "cluster (`ray start --head` prints it), auto, or local"
        ) from None


def cluster_room(address: str) -> tuple[int, int]:
    """Cores and GPUs of a cluster, all its machines together.

    Raises:
        InputError: as :func:`join_cluster`.
    """
    found = join_cluster(address, "--ray").cluster_resources()
    return max(1, int(found.get("CPU", 1))), int(found.get("GPU", 0))


def spread_jobs(
    function: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int, address: str, gpus: float = 0
) -> Iterator[_Result]:
    """Map ``function`` over ``jobs`` on a cluster's workers; the results come in the jobs' order.

    A piece is a few jobs in a row. One whose worker is lost is done again elsewhere, which is safe because the jobs
    write whole files, the same ones each time.

    Args:
        function: picklable; it reads and writes in folders that all machines share.
        jobs: what to map, picklable.
        workers: processes, of a local cluster; another one's cores decide.
        address: as in :func:`join_cluster`.
        gpus: that each takes while it runs.

    Raises:
        InputError: a job was refused, or as :func:`join_cluster`.
    """
    ray = join_cluster(address, "--ray", workers)
    cores, _ = cluster_room(address)
    size = max(1, min(8, len(jobs) // (4 * cores)))
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_on_a_worker(str(_ROOT), str(Path.cwd())))
    packed = ray.put(ray.cloudpickle.dumps(function))  # once a machine, however many pieces
    waiting: deque[Any] = deque()
    for place in range(0, len(jobs), size):
        waiting.append(task.remote(packed, ray.cloudpickle.dumps(jobs[place : place + size])))
        if len(waiting) == UNDER_WAY * cores:
            yield from _answer(ray.get(waiting.popleft()))
    while waiting:
        yield from _answer(ray.get(waiting.popleft()))


def _answer(answer: tuple[list[_Result], str]) -> list[_Result]:
    """A piece's results, unless it was refused."""
    found, refused = answer
    if refused:
        raise InputError(refused)
    return found


def _on_a_worker(root: str, folder: str) -> Callable[[bytes, bytes], tuple[list[Any], str]]:
    """What a worker does: a function inside another one, which travels by value, as the worker has no such module."""

    def piece(function: bytes, jobs: bytes) -> tuple[list[Any], str]:
        import os
        import pickle
        import sys

        for place in (root, folder):
            if not os.path.isdir(place):
                return (
                    [],
                    f"a worker on {os.uname().nodename} finds no {place}; expected the same folders on all machines",
                )
        if root not in sys.path:
            sys.path.insert(0, root)
        os.chdir(folder)
        os.environ.pop("LIFTBENCH_RAY", None)
        from datamodules.errors import InputError

        call = pickle.loads(function)
        try:
            return [call(job) for job in pickle.loads(jobs)], ""
        except InputError as error:  # as text: the traceback that Ray adds would hide its line
            return [], str(error)

    return piece


def worker_address(ray: Any) -> str:
    """Where another process of this machine joins the cluster that this one has joined."""
    return str(ray.get_runtime_context().gcs_address)

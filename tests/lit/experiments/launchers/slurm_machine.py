"""SLURM on this one machine: munged, slurmctld and slurmd of Debian's slurm-wlm, configured in a folder of a test's."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
PLACES = os.pathsep.join(["/usr/sbin", "/sbin", os.environ.get("PATH", "")])
READY = 60.0  # seconds for the node to report
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=1
MinJobAge=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The daemons that are not installed."""
    return [name for name in DAEMONS if shutil.which(name, path=PLACES) is None]


def free_ports(count: int) -> list[int]:
    """Ports nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def one_machine(folder: Path) -> Iterator[Path]:
    """Start SLURM, with a partition "main" of two cores; its commands find it through ``SLURM_CONF``.

    Yields:
        The configuration's path.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    controller, node = free_ports(2)
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(host=host, controller=controller, node=node, folder=folder))
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(path), "PATH": PLACES}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    started: list[subprocess.Popen[bytes]] = []
    logs = []
    try:
        for words in (munge, ["slurmctld", "-D", "-f", str(path)], ["slurmd", "-D", "-f", str(path), "-N", host]):
            logs.append((folder / f"{words[0]}.out").open("wb"))
            started.append(subprocess.Popen(words, env=environment, stdout=logs[-1], stderr=subprocess.STDOUT))
            time.sleep(1.0)
        wait_for_node(started, environment, folder)
        yield path
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        for log in logs:
            log.close()


def wait_for_node(started: list[subprocess.Popen[bytes]], environment: dict[str, str], folder: Path) -> None:
    """Until the node takes jobs.

    Raises:
        RuntimeError: it does not; says what the daemons say.
    """
    until = time.monotonic() + READY
    while time.monotonic() < until and all(process.poll() is None for process in started):
        words = ["sinfo", "--noheader", "--format=%T"]
        state = subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout.strip()
        if state in ("idle", "mixed"):
            return
        time.sleep(0.5)
    logs = (*sorted(folder.glob("*.out")), *sorted(folder.glob("slurm*.log")))
    raise RuntimeError("\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs))

"""SLURM: a sweep on a real one, a job queued again in between; partitions and machines without it."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lit.cli import main
from lit.experiments.launchers import slurm_arrays
from tests.lit.experiments.launchers.killed_worker import PATIENCE
from tests.lit.experiments.launchers.slurm_machine import PLACES, missing, one_machine
from tests.lit.experiments.launchers.test_ray_tasks import SMALL, STEPS, left_by


def requeue(waiting: Path) -> str:
    """Wait for the run, then have SLURM stop its job and queue it again, as it does with a preempted one."""
    until = time.monotonic() + PATIENCE
    while not waiting.exists():
        assert time.monotonic() < until, "no run has begun"
        time.sleep(0.2)
    words = Path(f"/proc/{waiting.read_text()}/environ").read_text().split("\0")
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    job = environment["SLURM_JOB_ID"]
    if array := environment.get("SLURM_ARRAY_JOB_ID"):  # whose number alone would mean all of its jobs
        job = f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    subprocess.run(["scontrol", "requeue", job], check=True)
    return job


@pytest.mark.skipif("LIFTBENCH_SLURM_TEST" not in os.environ, reason="starts SLURM's daemons: make slurm-test")
@pytest.mark.skipif(bool(missing()), reason=f"{', '.join(missing())} not installed: apt-get install slurm-wlm munge")
@pytest.mark.timeout(1800)  # SLURM itself waits two minutes before a job that was queued again
def test_a_sweep_on_slurm_equals_one_here(
    toy_folder: Path, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    steps = toy_folder / "steps.txt"
    (toy_folder / "grid.yaml").write_text(SMALL + STEPS.replace("PATH", str(steps)))
    monkeypatch.setattr(slurm_arrays, "POLL", 1.0)
    monkeypatch.setenv("PATH", PLACES)
    sweep = ["sweep", "grid.yaml", "--launcher", "slurm"]
    with one_machine(tmp_path_factory.mktemp("slurm")) as configuration, ThreadPoolExecutor(1) as beside:
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        assert main([*sweep, "--partition", "nowhere"]) == 2
        assert "--partition nowhere: SLURM has no such partition; expected one of main" in capfd.readouterr().err
        requeued = beside.submit(requeue, steps.with_suffix(".waiting"))
        assert main([*sweep, "--partition", "main", "--time", "10", "--cpus-per-run", "1"]) == 0, capfd.readouterr()
        job = requeued.result()
        queue = (configuration.parent / "slurmctld.log").read_text()
    told = capfd.readouterr().out
    assert "none-50-s0: done" in told
    done = [line.split()[1] for line in steps.read_text().splitlines() if line.startswith("none-50-s0")]
    assert done == ["1", "2", "3", "3", "4"]  # from the checkpoint, not from zero
    assert main(["sweep", "grid.yaml", "--root", "runs/here", "--jobs", "2"]) == 0
    assert left_by(toy_folder / "runs/grid") == left_by(toy_folder / "runs/here")
    with capfd.disabled():
        print(f"\njob {job} was stopped and queued again; the sweep said:\n{told}\nslurmctld.log:\n{queue}")


def test_a_machine_without_slurm(
    toy_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(toy_folder))
    assert main(["sweep", "grid.yaml", "--launcher", "slurm"]) == 2
    assert "--launcher slurm: no sbatch and srun on this machine; start the sweep on a login" in capsys.readouterr().err
    assert not list(toy_folder.glob("runs/grid/*"))

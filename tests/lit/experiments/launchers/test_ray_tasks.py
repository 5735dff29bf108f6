"""Ray: a sweep there equals one here, though a worker is killed; clusters that cannot be used."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lit.cli import main
from lit.results import read_result
from tests.lit.experiments.launchers.killed_worker import kill_worker
from tests.lit.toy_training import GRID
from tests.own_process import in_own_process

SMALL = GRID.replace("[50, 100]", "[50]").replace("[0, 1]", "[0]")
STEPS = """
prepare: [{name: list, command: --help, arms: [lift3d]}]
options:
  checkpoint.seconds: 0
  trainer.callbacks: [{class_path: tests.lit.experiments.launchers.killed_worker.WaitsOnce, init_args: {path: PATH}}]
"""


def left_by(folder: Path) -> dict[str, Any]:
    """What the runs of a sweep left that must not depend on where they ran: scores, keys and weights."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*/result.json")):
        content = dict(read_result(path).content)
        for name in ("seconds", "images_per_second", "started", "finished", "command"):
            content.pop(name, None)
        weights = torch.load(path.parent / "last.ckpt", weights_only=True)["state_dict"]
        found[path.parent.name] = [content["metrics"], content["key"], {k: v.tolist() for k, v in weights.items()}]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sweep_on_ray_equals_one_here_though_a_worker_is_killed(
    toy_folder: Path,
) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[launchers]"')

    def steps(number: int) -> Path:
        return toy_folder / f"steps{number}.txt"

    def sweep(number: int) -> list[str]:
        (toy_folder / f"grid{number}.yaml").write_text(SMALL + STEPS.replace("PATH", str(steps(number))))
        return ["lit", "sweep", f"grid{number}.yaml", "--launcher", "ray", "--jobs", "2"]

    number, told, _ = in_own_process(
        sweep, {}, beside=lambda number, process: kill_worker(steps(number).with_suffix(".waiting"), process)
    )
    assert "none-50-s0: done" in told
    assert "list: done" in told
    log = (toy_folder / f"runs/grid{number}/launched/none-50-s0.log").read_text()
    assert "none-50-s0: done" in log
    done = [line.split()[1] for line in steps(number).read_text().splitlines() if line.startswith("none-50-s0")]
    assert done == ["1", "2", "3", "3", "4"]  # epochs have two steps: from the checkpoint, not from zero
    assert main(["sweep", f"grid{number}.yaml", "--root", "runs/here", "--jobs", "2"]) == 0
    there, here = left_by(toy_folder / f"runs/grid{number}"), left_by(toy_folder / "runs/here")
    assert there == here
    assert list(there) == ["lift3d-50-s0", "none-50-s0"]
    tables = [toy_folder / f"runs/{name}/leaderboard.json" for name in (f"grid{number}", "here")]
    rows = [json.loads(table.read_text())["rows"] for table in tables]
    assert [row["metrics"] for row in rows[0]] == [row["metrics"] for row in rows[1]]


def test_a_cluster_that_cannot_be_reached(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[launchers]"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert main(["sweep", "grid.yaml", "--launcher", "ray", "--address", address]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--address {address}: cannot be reached (Connection refused); expected the address of a running Ray" in said
    assert not list(toy_folder.glob("runs/grid/*/*"))
    assert main(["sweep", "grid.yaml", "--launcher", "ray", "--address", "nowhere"]) == 2
    assert "--address nowhere: expected HOST:PORT of a Ray cluster, auto or local" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--launcher", "rya"], "expected one of local, print, ray, slurm; did you mean 'ray'?"),
        (["--address", "auto"], "--address is of --launcher ray, not of local; leave it out"),
        (["--launcher", "ray", "--partition", "gpu"], "--partition is of --launcher slurm, not of ray"),
        (["--launcher", "ray", "--gpus-per-run", "1.5"], "got '1.5', expected whole GPUs or a part of one"),
        (["--launcher", "slurm", "--retries", "-1"], "--retries: got '-1', expected an integer >= 1"),
    ],
)
def test_launchers_are_told_what_they_understand(
    toy_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["sweep", "grid.yaml", *words]) == 2
    assert expected in capsys.readouterr().err

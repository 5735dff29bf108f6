"""Two groups of torchrun equal one process: a detector, one process of which is killed, Lift3D, and its bank.

Each group is a node: it has a launcher and a name of its own, and shares the folder of the run with the other. The
launchers start the very command lines that one process runs; what is killed goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datamodules.assets.bank import AssetBank
from lit.cli import ROOT
from lit.results import read_result, result_file
from tests.conf.test_two_processes import CASES, COMMON, CONF, SEEN, steps
from tests.conf.two_processes import run
from tests.lit.posed_boxes import write_posed_boxes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
STEPS, EPOCH = 4, 2  # killed after the third step, in the second epoch
WORDS = {
    "world_centernet": f"{CASES['world_centernet'].words} --data.samples_per_epoch {4 * EPOCH} --checkpoint.seconds 0 "
    f"--trainer.limit_train_batches {EPOCH} --trainer.max_epochs -1 --trainer.max_steps {STEPS}",
    "lift3d": CASES["lift3d"].words,
}
ENTRY = "tests.conf.two_processes"


def words(command: str, name: str, folder: Path, places: dict[str, Path], nodes: int, trained: int = 0) -> list[str]:
    """A command line; nothing in it but the folders and the batch of one process depends on the number of nodes."""
    case = CASES[name]
    options = WORDS[name].format(**places, conf=CONF, bank=folder / f"bank{nodes}")
    root = folder / f"{name}-{command}{nodes}"
    line = [command, "-c", str(CONF / "experiment" / f"{name}.yaml"), *COMMON.split(), *options.split()]
    line += [f"--{case.batch}", str(case.of_two * 2 // nodes), "--trainer.default_root_dir", str(root)]
    if command == "fit":
        line += ["--ckpt_path", "last", SEEN, f"--trainer.callbacks.folder={folder / f'{name}-seen{nodes}'}"]
        if name == "world_centernet" and nodes == 2:
            line += [f"--trainer.callbacks+={ENTRY}.KilledOnce", f"--trainer.callbacks.folder={folder}"]
        return line
    return [*line, "--ckpt_path", str(folder / f"{name}-fit{trained}" / "last.ckpt")]


def launch(plan: Path, node: int, port: int) -> subprocess.Popen[bytes]:
    """A node: its launcher, which starts one process and starts it again when it or the other node's ends."""
    torchrun = "--nnodes 2 --nproc-per-node 1 --max-restarts 2 --rdzv-backend c10d --rdzv-id nodes --monitor-interval 1"
    here = ["--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun.split(), *here, "-m", ENTRY, str(plan)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # else gloo finds the killed processes' addresses in it
    with (plan.parent / f"node{node}.txt").open("w") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment, start_new_session=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    """The folder in which two nodes and one process have run the same."""
    folder = tmp_path_factory.mktemp("nodes")
    places = {"boxes": write_posed_boxes(folder / "boxes", objects=3, views=10, size=64), "world": tiny_world}
    plan = folder / "plan.json"
    fits = ("world_centernet", "lift3d")
    plan.write_text(
        json.dumps(
            [
                *(words("fit", name, folder, places, 2) for name in fits),
                words("predict", "lift3d", folder, places, 2, 2),
            ]
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [launch(plan, node, port) for node in range(2)]
    try:
        run([words("fit", name, folder, places, 1) for name in fits])
        for number, node in enumerate(nodes):
            assert node.wait(timeout=900) == 0, (folder / f"node{number}.txt").read_text()[-3000:]
    finally:
        for node in nodes:
            if node.poll() is None:
                os.killpg(node.pid, 9)
    run([words("validate", "world_centernet", folder, places, 1, 2), words("predict", "lift3d", folder, places, 1, 2)])
    return folder


def together(step: dict[str, Any]) -> list[str]:
    return sorted(step["samples"])


def test_a_killed_node_goes_on_where_the_checkpoint_was(runs: Path) -> None:
    assert (runs / "killed").is_file()
    two, one = steps(runs / "world_centernet-seen2"), steps(runs / "world_centernet-seen1")
    assert len(one) == STEPS
    assert [together(step) for step in two] == [together(step) for step in one[EPOCH:]]  # the second life's steps
    records = [read_result(runs / f"world_centernet-fit{nodes}" / "result.json").content for nodes in (2, 1)]
    assert records[0]["injected_objects"] == records[1]["injected_objects"] > 0
    assert records[0]["steps"] == records[1]["steps"] == STEPS
    assert records[0]["device"].startswith("2 x cpu")


def test_figures_are_those_of_one_process_with_the_same_weights(runs: Path) -> None:
    two = read_result(runs / "world_centernet-fit2" / "result.json").metrics
    one = read_result(runs / "world_centernet-validate1" / result_file("validate")).metrics
    assert one
    assert {key: two[key] for key in one} == pytest.approx(one, rel=1e-3, abs=1e-4, nan_ok=True)


def test_lift3d_trains_as_in_one_process(runs: Path) -> None:
    two, one = steps(runs / "lift3d-seen2"), steps(runs / "lift3d-seen1")
    assert [together(step) for step in two] == [together(step) for step in one]
    losses, expected = ({key: value for key, value in step[0].items() if key != "samples"} for step in (two, one))
    assert expected
    assert losses == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_both_nodes_write_one_bank(runs: Path) -> None:
    two, one = AssetBank(runs / "bank2"), AssetBank(runs / "bank1")
    assert [two[number].id for number in range(len(two))] == one.ids
    assert two.hash == one.hash
    ranks = {path.name.split("-")[0] for path in (runs / "bank2").glob("rank*")}
    assert ranks == {"rank000", "rank001"}

"""What is killed: commands that write, what may be found after a kill, and what must stand at the end."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from datamodules.assets.bank import AssetBank
from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import read_json
from lit import ROOT
from lit.cli import main
from lit.experiments.design import read_plan
from lit.results import RESULT_FILE, read_record, read_result
from lit.weights.files import load_weights
from tests.lit.toy_training import EXPERIMENT

Final = dict[str, Any]
GRID = """
experiment: toy.yaml
seeds: [0, 1]
arms: {none: {frames: [50]}}
prepare:
  - name: posed
    command: prepare posed --root out --objects 4 --views 4 --size 16 --workers 1
    creates: [out/posed.json]
"""


def nothing(*_: Path) -> None:
    """The command reads nothing."""


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: of the job.
        setup: writes what the command reads into a fresh folder, given the folder of shared inputs.
        command: arguments after ``python -m lit``, run in the folder; it may depend on what lies there.
        final: what the command leaves, by part.
        found: parts that are there, whole, at any moment: each must be as at the end, or as setup left it.
        share: of all kills, in proportion.
        shared: writes what all its runs read into the folder of shared inputs.
    """

    name: str
    setup: Callable[[Path, Path], None]
    command: Callable[[Path], list[str]]
    final: Callable[[Path], Final]
    found: Callable[[Path], Final]
    share: int
    shared: Callable[[Path], None] = nothing


def hashes(root: Path) -> Final:
    """SHA-256 by file, hidden ones left out."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def litter(folder: Path) -> list[str]:
    """Hidden files and folders: temporaries and work folders, which a command that ended does not leave.

    The file of a lock may stay where the next command had nothing to do: nobody holds it, and there is one a folder.
    """
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if not path.name.endswith(".lock"))


def shared_world(shared: Path) -> None:
    """A world to train on."""
    words = ["--train", "8", "--val", "2", "--width", "320", "--height", "96", "--workers", "1"]
    assert main(["prepare", "world", "--root", str(shared / "world"), *words]) == 0


def shared_generator(shared: Path) -> None:
    """A posed set, a generator trained on it, and its bank."""
    posed = ["prepare", "posed", "--root", str(shared / "posed"), "--objects", "3", "--views", "6", "--size", "16"]
    assert main([*posed, "--workers", "1"]) == 0
    lift3d = yaml.safe_load((ROOT / "conf/model/lift3d_demo.yaml").read_text())
    lift3d["init_args"] |= {"objects": 3, "joint_images": 64, "refine_images": 24, "eval_samples": 8}
    lift3d["init_args"]["network"]["init_args"] |= {"plane_resolution": 16, "channel_base": 128, "channel_max": 16}
    data = yaml.safe_load((ROOT / "conf/data/posed_studio.yaml").read_text())
    data["init_args"] |= {
        "folder": str(shared / "posed"),
        "create_objects": 3,
        "create_views": 6,
        "create_size": 16,
        "held_out_every": 3,
    }
    trainer: Final = {"accelerator": "cpu", "max_epochs": -1, "limit_val_batches": 0, "enable_progress_bar": False}
    writer = {"class_path": "lit.callbacks.bank_writer.BankWriter", "init_args": {"folder": "bank", "licence": "old"}}
    trainer["callbacks"] = [writer]
    written = {"seed_everything": 0, "model": lift3d, "data": data, "trainer": trainer}
    write_atomically(shared / "lift3d.yaml", yaml.safe_dump(written))
    words = ["-c", str(shared / "lift3d.yaml"), "--trainer.default_root_dir", str(shared / "lift3d")]
    assert main(["fit", *words]) == 0
    where = ["--trainer.callbacks.init_args.folder", str(shared / "bank")]
    assert main(["predict", *words, *where, "--ckpt_path", str(shared / "lift3d" / "last.ckpt")]) == 0


def _link(*names: str) -> Callable[[Path, Path], None]:
    def setup(folder: Path, shared: Path) -> None:
        for name in names:
            (folder / name).symlink_to(shared / name)

    return setup


def _with_old_bank(folder: Path, shared: Path) -> None:
    _link("lift3d.yaml", "lift3d")(folder, shared)
    shutil.copytree(shared / "bank", folder / "bank")  # what stands there must never be gone


def _world(folder: Path) -> list[str]:
    size = ["--train", "3", "--val", "1", "--width", "160", "--height", "48"]
    return ["prepare", "world", "--root", "out", *size, "--workers", "2"]


def _posed(folder: Path) -> list[str]:
    return ["prepare", "posed", "--root", "out", "--objects", "6", "--views", "6", "--size", "32", "--workers", "2"]


def _out(folder: Path) -> Final:
    return hashes(folder / "out")


def _bank(folder: Path) -> list[str]:
    options = ["--trainer.callbacks.init_args.folder", "bank", "--trainer.callbacks.init_args.licence", "new"]
    words = ["predict", "-c", "lift3d.yaml", "--trainer.default_root_dir", "run", *options]
    return [*words, "--ckpt_path", "lift3d/last.ckpt"]


def _bank_hash(folder: Path) -> Final:
    bank = AssetBank(folder / "bank")
    return {"bank": [bank.hash, *(bank[number].id for number in range(len(bank)))]}


def _fit(folder: Path) -> list[str]:
    words = ["fit", "-c", str(ROOT / "conf/experiment/world_centernet.yaml"), "--data.root", "world"]
    words += ["--data.batch_size", "4", "--data.workers", "1", "--data.size", "[96, 320]", "--data.injection", "null"]
    words += ["--trainer.max_steps", "16", "--trainer.precision", "32-true", "--trainer.enable_progress_bar", "false"]
    words += ["--trainer.default_root_dir", "run", "--data.samples_per_epoch", "8", "--checkpoint.seconds", "0"]
    return [*words, "--ckpt_path", "last"]


def _fit_found(folder: Path) -> Final:
    if (folder / "run/last.ckpt").exists():
        load_weights(folder / "run/last.ckpt", "a checkpoint")
    return _record(folder / "run")


def _record(folder: Path) -> Final:
    if not (folder / RESULT_FILE).exists():
        return {}
    result = read_result(folder / RESULT_FILE)
    return {folder.name: [result.arm, result.seed, result.error, result.metrics]}


def _grid(folder: Path, shared: Path) -> None:
    (folder / "toy.yaml").write_text(EXPERIMENT + "checkpoint: {seconds: 0}\n")
    (folder / "grid.yaml").write_text(GRID)


def _sweep(folder: Path) -> list[str]:
    return ["sweep", "grid.yaml", "--jobs", "2"]


def _cells(folder: Path) -> Final:
    """Records, checkpoints that can be read, steps that are said to be done, and the plan."""
    found: Final = {}
    for run in sorted((folder / "runs/grid").glob("*-s*")):
        found |= _record(run)
        if (run / "last.ckpt").exists():
            load_weights(run / "last.ckpt", "a checkpoint")
    for marker in sorted((folder / "runs/grid/prepared").glob("*.json")):
        found[marker.name] = [read_record(marker, "a step's marker")["digest"], hashes(folder / "out")]
    plan = read_plan(folder / "runs/grid")
    return found | ({"plan": [plan.name, plan.design, plan.runs_before, plan.events]} if plan else {})


def _sweep_final(folder: Path) -> Final:
    pages = sorted(path.name for path in (folder / "runs/grid").glob("leaderboard.*"))
    rows = read_json(folder / "runs/grid/leaderboard.json", dict[str, Any], "a page's rows")["rows"]
    return _cells(folder) | {"pages": pages, "rows": [[row["arm"], row["metrics"], row["flags"]] for row in rows]}


def _fit_final(folder: Path) -> Final:
    found = _record(folder / "run")
    if not found:
        raise InputError("no record")
    return found


JOBS = (
    Job("world", nothing, _world, _out, _out, 14),
    Job("posed", nothing, _posed, _out, _out, 14),
    Job("bank", _with_old_bank, _bank, _bank_hash, _bank_hash, 5, shared_generator),
    Job("fit", _link("world"), _fit, _fit_final, _fit_found, 5, shared_world),
    Job("sweep", _grid, _sweep, _sweep_final, _cells, 2),
)

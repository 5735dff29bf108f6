"""What users write: grids, experiments and injections in YAML."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from lit.experiments.grid import read_grid
from lit.trainer_cli import resolve
from tests.faults import plausible
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused

EXPERIMENT = """model: {class_path: tests.lit.toy_training.ToyModel, init_args: {rate: 0.1}}
data: {class_path: tests.lit.toy_training.ToyDataModule}
trainer:
  max_steps: 4
  accelerator: cpu
"""
GRID = """# what is compared
experiment: EXPERIMENT
seeds: [0, 1]
name: toy
options:
  data.root: data/world
  trainer.max_steps: 600
arms:
  none:
    frames: [50, 100]
    options: {data.injection: null}
  lift3d:
    frames: [50]
    options: {data.injection: INJECTED}
prepare:
  - name: world
    command: prepare world --root ${data.root} --train 60 --val 150
    creates: [data/world/world.json]
  - name: bank
    command: predict -c experiment.yaml
    creates: [data/bank/bank.json]
    arms: [lift3d]
published:
  source: a paper
  metric: car/3d/moderate/0.7
  arms:
    none: [1, 2, 3]
"""
INJECTION = """class_path: tests.lit.toy_training.ToyInjection
init_args:
  probability: 0.7
  count: [1, 3]
"""


def make(folder: Path) -> None:
    """A grid, its experiment and an injection."""
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "injection.yaml").write_text(INJECTION)
    grid = GRID.replace("EXPERIMENT", str(folder / "experiment.yaml"))
    (folder / "grid.yaml").write_text(grid.replace("INJECTED", str(folder / "injection.yaml")))


def read_commands(folder: Path) -> Any:
    """The commands of a sweep."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main_or_refused(["sweep", str(folder / "grid.yaml"), "--launcher", "print"])
    return [out.getvalue(), read_grid(folder / "grid.yaml").published]


def resolved(folder: Path) -> Any:
    """The configuration of a run with an injection."""
    words = ["fit", "-c", str(folder / "experiment.yaml"), "--data.injection", str(folder / "injection.yaml")]
    return resolve(words)


YAML = ("yaml", "yaml", "bytes")
SURFACES = [
    Surface("grid_yaml", make, read_commands, ("grid.yaml",), YAML, plausible.yaml_file, 50),
    Surface("experiment_yaml", make, resolved, ("experiment.yaml",), YAML, plausible.yaml_file, 10),
    Surface("injection_yaml", make, resolved, ("injection.yaml",), YAML, plausible.yaml_file, 10),
]

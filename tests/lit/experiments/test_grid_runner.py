"""Carrying out a grid: what waits for which preparing step, what is done only once, interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from datamodules.errors import InputError
from lit.cli import main
from lit.experiments import cell_runs, grid_runner, step_runs
from lit.experiments.cell_runs import run_cell, taken_over
from lit.experiments.grid import Step, read_grid
from lit.experiments.grid_runner import Away, run_grid
from lit.experiments.launchers.launcher import Job
from lit.experiments.step_runs import going_on, prepare
from lit.provenance import run_key
from lit.results import SCHEMA, read_record, write_record
from lit.trainer_cli import resolve
from tests.lit.toy_training import GRID

STEPS = """
prepare:
  - {name: world, command: world, creates: [world.txt]}
  - {name: bank, command: bank, creates: [bank.txt], arms: [lift3d]}
  - {name: more, command: more, creates: [more.txt], arms: [none]}
"""


RECORD = {"schema": SCHEMA, "arm": "", "frames": 50, "seed": 0, "dataset": "", "split": "val", "metrics": {}}


class Processes:
    """Stands in for processes: writes down when each starts and ends, and leaves what the real one would."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.fails: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, command: list[str], log: Path, threads: int, stop: threading.Event | None = None) -> int:
        name = log.parent.name if log.name == "log.txt" else command[0]
        self.note(f"{name} starts")
        self.before.get(name, lambda: None)()
        log.write_text(f"{name}: out of memory" if name in self.fails else "")
        if name not in self.fails:
            if log.name == "log.txt":
                key = msgspec.to_builtins(run_key(resolve([word for word in command if word != "--ckpt_path=last"])))
                write_record(log.parent / "result.json", RECORD | {"key": key})
            else:
                Path(f"{name}.txt").write_text("")
        self.note(f"{name} ends")
        return int(name in self.fails)

    def note(self, event: str) -> None:
        with self.lock:
            self.events.append(event)

    def before_(self, first: str, second: str) -> bool:
        return self.events.index(first) < self.events.index(second)


@pytest.fixture
def processes(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    fake = Processes()
    monkeypatch.setattr(cell_runs, "run_process", fake)
    monkeypatch.setattr(step_runs, "run_process", fake)
    (toy_folder / "grid.yaml").write_text(GRID.replace("[0, 1]", "[0]") + STEPS.replace("  - {name: more", "#"))
    return fake


def test_runs_go_on_beside_steps_they_do_not_need(processes: Processes) -> None:
    none_ran = threading.Event()
    processes.before = {"none-100-s0": none_ran.set, "bank": lambda: waits(none_ran)}
    assert run_grid(read_grid(Path("grid.yaml")), jobs=2) == 0
    assert processes.before_("world ends", "none-50-s0 starts")
    assert processes.before_("none-50-s0 starts", "bank ends")
    assert processes.before_("bank ends", "lift3d-50-s0 starts")
    assert len(processes.events) == 2 * (2 + 3)


class Elsewhere:
    """A launcher that does each job at once, and writes down what it was given together."""

    jobs, threads, at_a_time = 100, 3, "all at a time elsewhere"

    def __init__(self) -> None:
        self.given: list[list[Job]] = []

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, jobs: Sequence[Job]) -> list[Future[str | None]]:
        self.given.append(list(jobs))
        futures: list[Future[str | None]] = [Future() for _ in jobs]
        for job, future in zip(jobs, futures):
            future.set_result(job.call(threading.Event()))
        return futures


def test_another_machine_is_told_the_same_command_lines(
    processes: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = Elsewhere()
    words = ["sweep", "grid.yaml", "--set", "model.rate=0.1"]
    assert run_grid(read_grid(Path("grid.yaml")), 1, away=Away(elsewhere, words)) == 0
    first, second, third = elsewhere.given  # what is ready together is given together
    assert [job.name for job in first] == ["world"]
    assert [job.name for job in second] == ["bank", "none-50-s0", "none-100-s0"]
    assert [job.name for job in third] == ["lift3d-50-s0"]
    assert first[0].words == [*words, "--step", "world", "--threads", "3"]
    assert third[0].words == [*words, "--cell", "lift3d-50-s0", "--threads", "3"]
    assert str(third[0].log) == "runs/grid/launched/lift3d-50-s0.log"
    told = capsys.readouterr().out
    assert "3 runs, 0 finished, all at a time elsewhere, in runs/grid" in told
    assert "bank: done\n" in told


def test_a_run_that_left_nothing_here_was_made_in_another_folder(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid_runner, "ARRIVES", 0.0)
    monkeypatch.setattr(grid_runner, "run_cell", lambda *_: None)
    assert run_grid(read_grid(Path("grid.yaml")), 1) == 3
    assert "left no result.json in runs/grid/none-50-s0; expected a folder that all machines" in capsys.readouterr().out


def waits(event: threading.Event) -> None:
    assert event.wait(20), "nothing ran beside the step"


def test_a_failed_step_ends_only_what_builds_on_it(
    processes: Processes, toy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    processes.fails = {"bank"}
    with pytest.raises(InputError, match="preparing step 'bank' failed: bank: out of memory"):
        run_grid(read_grid(Path("grid.yaml")), jobs=1)
    assert [event for event in processes.events if event.endswith("ends")] == [
        "world ends", "bank ends", "none-50-s0 ends", "none-100-s0 ends",
    ]  # fmt: skip
    assert "bank: out of memory" in capsys.readouterr().out  # said at once, not after hours of runs
    processes.events.clear()
    (toy_folder / "grid.yaml").write_text(GRID.replace("[0, 1]", "[0]") + STEPS)
    with pytest.raises(InputError, match="'bank' failed"):
        run_grid(read_grid(Path("grid.yaml")), jobs=1)
    assert processes.events == ["bank starts", "bank ends"]  # "more" comes after it and may build on it


def test_only_steps_of_unfinished_runs_are_taken(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_runner, "finished", lambda folder, digest: folder.name.startswith("lift3d"))
    assert run_grid(read_grid(Path("grid.yaml")), jobs=1) == 0
    assert "bank starts" not in processes.events
    assert "world starts" in processes.events


def test_a_step_runs_again_when_an_earlier_one_changed(processes: Processes, toy_folder: Path) -> None:
    def steps_run() -> list[str]:
        processes.events.clear()
        grid = read_grid(Path("grid.yaml"))
        for step in grid.prepare:
            prepare(step, grid)
        return [event.split()[0] for event in processes.events if event.endswith("ends")]

    assert steps_run() == ["world", "bank"]
    assert steps_run() == []
    text = (toy_folder / "grid.yaml").read_text()
    (toy_folder / "grid.yaml").write_text(text.replace("command: bank", "command: bank --again"))
    assert steps_run() == ["bank"]
    (toy_folder / "grid.yaml").write_text(text.replace("command: world", "command: world --wider"))
    assert steps_run() == ["world", "bank"]
    (toy_folder / "bank.txt").unlink()
    assert steps_run() == ["bank"]


def test_a_stopped_training_goes_on_but_not_from_what_another_one_left(processes: Processes, toy_folder: Path) -> None:
    words = "fit -c toy.yaml --trainer.default_root_dir trained"
    step = f"  - {{name: world, command: {words}, creates: [trained/last.ckpt]}}"
    text = (toy_folder / "grid.yaml").read_text()
    (toy_folder / "grid.yaml").write_text(text.replace("  - {name: world, command: world, creates: [world.txt]}", step))
    grid, told = read_grid(Path("grid.yaml")), []

    def attempt(code: int) -> None:
        def process(command: list[str], log: Path, *_: object) -> int:
            told.append(command[-1])
            log.write_text("out of memory")
            return code

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_runs, "run_process", process)
            prepare(grid.prepare[0], grid)

    with pytest.raises(InputError, match="out of memory"):
        attempt(1)
    assert told.pop() == "trained"  # stopped before its first checkpoint
    assert main([*words.split(), "--model.rate", "0.2"]) == 0  # another training's checkpoint
    with pytest.raises(InputError, match="out of memory"):
        attempt(1)
    assert told.pop() == "trained"
    assert main(words.split()) == 0
    with pytest.raises(InputError, match="out of memory"):
        attempt(1)
    assert told.pop() == "--ckpt_path=last"
    (toy_folder / "trained/last.ckpt").write_text("broken")
    attempt(0)
    assert told.pop() == "trained"
    assert going_on(Step("world", ["prepare", "world"], ["data/last.ckpt"])) == []


def test_a_step_is_known_by_what_its_files_say(toy_folder: Path) -> None:
    def digest() -> str:
        return Step("bank", ["fit", "-c", "conf/run.yaml"]).digest

    (toy_folder / "conf").mkdir()
    (toy_folder / "conf/run.yaml").write_text("model: ../model.yaml\n")
    (toy_folder / "model.yaml").write_text("size: 1\n")
    first = digest()
    (toy_folder / "model.yaml").write_text("size: 1 # a remark\n")
    assert digest() == first
    (toy_folder / "model.yaml").write_text("size: 2\n")
    assert digest() != first


def test_a_step_builds_on_what_it_names(toy_folder: Path) -> None:
    Path("bank.yaml").write_text("folder: data/views\n")
    renders = Step("renders", ["prepare", "dst-renders", "--root", "data/cars"], ["data/cars/renders.json"])
    views = Step("views", ["prepare", "posed", "--root=data/views/0"], ["data/views/0/posed.json"])
    check = Step("check", ["prepare", "kitti", "--root", "data/kitti"])
    images = Step("images", ["prepare", "dst-images", "--root", "data/cars"], ["data/cars/car/0.png"])
    bank = Step("bank", ["predict", "-c", "bank.yaml", "--out", "runs/cars"], ["data/bank/bank.json"])
    masks = Step("masks", ["prepare", "masks", "--root", "data/kitti", "--out", "data/masks"])
    steps = [renders, views, check, images, bank, masks]
    found = {
        step.name: [other.name for other in steps if other is not step and step.builds_on(other)] for step in steps
    }
    assert found == {
        "renders": ["images"],  # as the other way round: which is earlier decides
        "views": [],
        "check": ["masks"],
        "images": ["renders"],
        "bank": ["views"],  # by a folder that its file names
        "masks": ["check"],
    }
    grid = replace(read_grid(Path("grid.yaml")), prepare=steps)
    before = {step.name: grid.digest(step) for step in steps}
    changed = msgspec.structs.replace(renders, command=[*renders.command, "--seed", "1"])
    other = replace(grid, prepare=[changed, *steps[1:]])
    assert [step.name for step in other.prepare if other.digest(step) != before[step.name]] == ["renders", "images"]
    assert Step("beside", ["fit", "--data.train", "data/bank/train"]).builds_on(bank)
    assert not Step("elsewhere", ["fit", "--data.train", "data/bank_of_others/train"]).builds_on(bank)
    assert Step("here", ["predict", "--out=cars"]).builds_on(Step("before", ["prepare"], ["cars/renders.json"]))
    fewer = replace(grid, prepare=[renders, images])  # another grid's, which takes both over
    assert fewer.digest(images) == before["images"]


def test_steps_done_for_another_sweep_count(processes: Processes, toy_folder: Path) -> None:
    first = read_grid(Path("grid.yaml"))
    prepare(first.prepare[0], first)
    said: list[str] = []
    text = (toy_folder / "grid.yaml").read_text()
    (toy_folder / "other.yaml").write_text(text.replace("seeds:", "reuse: [runs/grid]\nseeds:"))
    other = read_grid(Path("other.yaml"))
    prepare(other.prepare[0], other, said.append)
    assert said == ["world: done before in runs/grid"]
    markers = [Path(f"runs/{name}/prepared/world.json").read_bytes() for name in ("grid", "other")]
    assert markers[0] == markers[1]
    of_one = msgspec.structs.replace(other.prepare[0], arms=["none"])  # its cost stands beside the arms of this sweep
    prepare(of_one, replace(other, prepare=[of_one, *other.prepare[1:]]))
    one, both = (read_record(Path(f"runs/{name}/prepared/world.json"), "") for name in ("other", "grid"))
    assert one == {**both, "arms": ["none"]}
    prepare(other.prepare[1], other, said.append)
    assert said[-1].startswith("bank: done in")


def test_steps_must_deliver(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text(
        GRID + "prepare: [{name: listing, command: --help, creates: [there.txt]}, {name: typo, command: sweeep}]"
    )
    grid = read_grid(Path("grid.yaml"))
    with pytest.raises(InputError, match=r"left no there\.txt"):
        prepare(grid.prepare[0], grid)
    with pytest.raises(InputError, match="no command 'sweeep'"):
        prepare(grid.prepare[1], grid)


def test_the_same_run_is_taken_from_another_sweep(toy_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    short = GRID.replace("[0, 1]", "[3]").replace("[50, 100]", "[50]")
    (toy_folder / "grid.yaml").write_text(short)
    assert main(["sweep", "grid.yaml", "--arms", "none"]) == 0
    other = short.replace("seeds:", "reuse: [nowhere, runs/grid]\nseeds:")
    (toy_folder / "other.yaml").write_text(other)
    capfd.readouterr()
    assert main(["sweep", "other.yaml", "--arms", "none"]) == 0
    assert "none-50-s3: taken from runs/grid/none-50-s3" in capfd.readouterr().out
    taken = (toy_folder / "runs/other/none-50-s3/result.json").read_bytes()
    assert taken == (toy_folder / "runs/grid/none-50-s3/result.json").read_bytes()
    cell = next(read_grid(Path("other.yaml")).cells())
    assert not taken_over(cell, [Path("runs/grid")], "another configuration's hash")


def test_a_stopped_cell_leaves_no_record(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text(GRID.replace("model.bonus: 40.0", "model.hang: true"))
    cell = list(read_grid(Path("grid.yaml")).cells())[2]
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    assert run_cell(cell, "key", 1, stop) == "stopped"  # the model itself never ends
    assert not (cell.folder / "result.json").exists()


def test_a_grid_extends_another_one(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text(GRID + STEPS)
    whole = read_grid(Path("grid.yaml"))
    (toy_folder / "more.yaml").write_text("extends: grid.yaml\nseeds: [5]\narms: {none: {frames: [200]}}\n")
    more = read_grid(Path("more.yaml"))
    assert (more.name, more.folder, more.seeds) == ("more", Path("runs/more"), [5])
    assert more.arms["none"].frames == [200]
    assert more.arms["lift3d"] == whole.arms["lift3d"]
    assert [step.digest for step in more.prepare] == [step.digest for step in whole.prepare]
    Path("grid.yaml").write_text("name: base\nfolder: elsewhere\n" + GRID + STEPS.replace("arms: [lift3d]", "arms: []"))
    Path("fewer.yaml").write_text("extends: grid.yaml\narms: {lift3d: null}\n")
    fewer = read_grid(Path("fewer.yaml"))
    assert (list(fewer.arms), fewer.folder) == (["none"], Path("runs/fewer"))


def test_a_run_is_made_once_for_every_fold(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text("folds: 2\n" + GRID)
    plain = {cell.name for cell in replace(read_grid(Path("grid.yaml")), folds=0).cells()}
    cells = list(read_grid(Path("grid.yaml")).cells())
    assert {cell.name for cell in cells} == {f"{name}-f{number}" for name in plain for number in range(2)}
    assert len(cells) == 2 * len(plain)
    for cell in cells:
        assert cell.fold == (int(cell.name[-1]), 2)
        assert f"--data.fold=[{cell.name[-1]}, 2]" in cell.command
    first = [cell.seed for cell in cells]
    assert first == sorted(first, key=first.index)  # a seed's folds together
    (toy_folder / "grid.yaml").write_text("folds: 2\ntest: {data.root: test}\n" + GRID)
    with pytest.raises(InputError, match="folds 2 with a test set: expected one of the two"):
        read_grid(Path("grid.yaml"))
    root = "options: {data.root: frames}\nprepare:\n"
    checks, learns = (
        "  - {name: a, command: prepare kitti --root frames}\n",
        "  - {name: b, command: fit --root frames}\n",
    )
    (toy_folder / "grid.yaml").write_text("folds: 2\n" + GRID + root + checks)
    assert read_grid(Path("grid.yaml")).design.folds == 2
    (toy_folder / "grid.yaml").write_text("folds: 2\n" + GRID + root + checks + learns)
    with pytest.raises(
        InputError, match=r"step 'b', which reads frames: .* would learn from frames that a fold evaluates"
    ):
        read_grid(Path("grid.yaml"))


def test_a_grid_that_extends_another_adds_to_its_steps_and_changes_them_by_name(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text(GRID + STEPS)
    base = {step.name: step for step in read_grid(Path("grid.yaml")).prepare}
    first, *rest = base
    own = f"prepare: [{{name: own, command: prepare own, arms: [more]}}, {{name: {first}, command: prepare other}}]\n"
    (toy_folder / "more.yaml").write_text(f"extends: grid.yaml\narms: {{more: {{like: lift3d}}}}\n{own}")
    found = {step.name: step for step in read_grid(Path("more.yaml")).prepare}
    assert list(found) == [*base, "own"]
    assert found["own"].arms == ["more"]
    assert found[first].command == ["prepare", "other"]
    assert found[first].creates == base[first].creates
    for name in rest:
        assert found[name].command == base[name].command
        assert ("more" in found[name].arms) == ("lift3d" in base[name].arms)
    (toy_folder / "more.yaml").write_text(
        "extends: grid.yaml\nprepare: [{name: a, command: x}, {name: a, command: y}]\n"
    )
    with pytest.raises(InputError, match="names under prepare"):
        read_grid(Path("more.yaml"))
    (toy_folder / "more.yaml").write_text("extends: grid.yaml\nprepare: [words]\n")
    with pytest.raises(InputError, match="prepare"):
        read_grid(Path("more.yaml"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("grid", r"extends is 'grid', expected another grid file"),
        ("[grid.yaml]", r"extends is \['grid.yaml'\], expected another"),
        ("more.yaml", "extends more.yaml, which leads back to itself"),
    ],
)
def test_what_a_grid_cannot_extend(toy_folder: Path, said: str, expected: str) -> None:
    (toy_folder / "more.yaml").write_text(f"extends: {said}\n")
    with pytest.raises(InputError, match=f"more.yaml: {expected}"):
        read_grid(Path("more.yaml"))

"""Sweeps: order, skipping, failures as rows, refused grids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from lit.cli import main
from lit.experiments.grid import read_grid
from lit.results import read_result
from tests.lit.toy_training import GRID


def test_cells_are_ordered_by_seed(toy_folder: Path) -> None:
    names = [cell.name for cell in read_grid(Path("grid.yaml")).cells()]
    assert names[:3] == ["none-50-s0", "none-100-s0", "lift3d-50-s0"]
    assert names[3:] == ["none-50-s1", "none-100-s1", "lift3d-50-s1"]


def test_a_sweep_runs_skips_and_records_failures(toy_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (toy_folder / "grid.yaml").write_text(GRID.replace("seeds: [0, 1]", "seeds: [3]").replace("[50, 100]", "[50]"))
    assert main(["sweep", "grid.yaml", "--jobs", "2"]) == 0
    rows = json.loads((toy_folder / "runs/grid/leaderboard.json").read_text())["rows"]
    assert [(row["arm"], row["frames"], row["seeds"]) for row in rows] == [("lift3d", 50, [3]), ("none", 50, [3])]
    delta = rows[0]["metrics"]["car/3d/moderate/0.5"]["vs"]["none"]["delta"]
    assert delta == pytest.approx(40.0, abs=1e-3)  # the seed gives both arms the same weight
    finished = (toy_folder / "runs/grid/none-50-s3/result.json").stat().st_mtime_ns
    (toy_folder / "grid.yaml").write_text(
        (toy_folder / "grid.yaml").read_text() + "  bad: {frames: [50], options: {model.fail: true}}\n"
    )
    assert main(["sweep", "grid.yaml", "--jobs", "2"]) == 1
    assert (toy_folder / "runs/grid/none-50-s3/result.json").stat().st_mtime_ns == finished
    assert "bad-50-s3: failed: RuntimeError: the loss is not finite" in capfd.readouterr().out
    assert "the loss is not finite" in (toy_folder / "runs/grid/leaderboard.html").read_text()


def test_a_wrong_option_stops_before_any_run(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy_folder / "grid.yaml").write_text(GRID.replace("model.bonus", "model.bonsu"))
    assert main(["sweep", "grid.yaml"]) == 2
    assert "did you mean 'bonus'?" in capsys.readouterr().err
    assert not list(toy_folder.glob("runs/grid/*/result.json"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seeds:", "seed:", "did you mean 'seeds'?"),
        ("[0, 1]", "[a]", r"seeds\[0\] is 'a', expected `int`"),
        ("[0, 1]", "[true, 0]", r"seeds\[0\] is True, expected `int`"),
        ("[0, 1]", "[1, 0, 1]", "remove the second 1"),
        ("[0, 1]", "&a [0]\nreuse: *a", "expected no aliases"),
        ("seeds:", "seeds: [2]\nseeds:", "'seeds' stands twice"),
        ("lift3d:", "../lift3d:", r"the name '\.\./lift3d' is .*, expected a plain name"),
        ("lift3d:", '"lift\\e[31m":', "expected a plain name"),
        ("[50, 100]", "[50, 50]", "arms.none.*remove the second 50"),
        ("toy.yaml", "tyo.yaml", "no experiment file"),
        ("frames: [50]", "frames: [0]", "arms.lift3d.frames"),
        ("frames: [50]", "frmaes: [50]", "did you mean 'frames'?"),
        ("seeds:", "reuse: runs\nseeds:", "reuse is 'runs', expected `array`"),
        ("seeds:", "published: {}\nseeds:", "published.source is missing"),
        ("seeds:", "prepare: [{name: a, command: --help, arms: [lift3]}]\nseeds:", "did you mean 'lift3d'?"),
        ("seeds:", "prepare: [{name: a, command: 'x ${data.rot}'}]\nseeds:", "no option 'data.rot' in this grid"),
        (
            "seeds:",
            'prepare: [{name: a, command: "x \'y"}]\nseeds:',
            "expected a shell's words",
        ),
        ("seeds:", "prepare: [{name: a/b, command: x}]\nseeds:", r"prepare\.a/b\.name is 'a/b'"),
    ],
)
def test_bad_grids_are_refused(toy_folder: Path, old: str, new: str, expected: str) -> None:
    (toy_folder / "grid.yaml").write_text(GRID.replace(old, new))
    with pytest.raises(InputError, match=expected.replace("?", r"\?")):
        read_grid(Path("grid.yaml"))


def test_options_may_be_set_from_outside(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = "options: {data.root: here}\nprepare: [{name: list, command: 'prepare x --root ${data.root}', arms: [none]}]"
    (toy_folder / "grid.yaml").write_text(GRID.replace("seeds:", f"{step}\nseeds:"))
    argv = ["sweep", "grid.yaml", "--launcher", "print", "--seeds", "0", "--set", "data.root=/there", "model.bonus=1"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    given = "--set data.root=/there model.bonus=1"
    assert lines[0] == f"python -m lit sweep grid.yaml --seeds 0 {given} --step list"
    assert f"{given} --cell none-50-s0  # after: list" in lines[1]
    assert lines[-1].endswith("--cell lift3d-50-s0")  # which does without the step
    grid = read_grid(Path("grid.yaml"), overrides={"data.root": "/there", "model.bonus": "1"})
    assert grid.prepare[0].command == ["prepare", "x", "--root", "/there"]
    commands = [cell.command for cell in grid.cells()]
    assert all("--data.root=/there" in words for words in commands)
    assert all("--model.bonus=1" in words and "--model.bonus=40.0" not in words for words in commands)  # an arm's, too
    assert main([*argv, "--arms", "lift3d"]) == 0
    assert "--step" not in capsys.readouterr().out  # that arm does not need the step
    assert main(["sweep", "grid.yaml", "--set", "data.root"]) == 2
    assert "--set data.root: expected KEY=VALUE" in capsys.readouterr().err


def test_print_launcher_lists_runnable_lines(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "grid.yaml", "--launcher", "print", "--arms", "none", "--seeds", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == "python -m lit sweep grid.yaml --arms none --seeds 7 --cell none-50-s7"
    assert main(["sweep", "grid.yaml", "--launcher", "print", "--set", "data.roott=/there"]) == 2
    assert "ToyDataModule has no option 'roott'; did you mean 'root'?" in capsys.readouterr().err
    assert main(["sweep", "grid.yaml", "--launcher", "pbs"]) == 2
    assert "expected one of local, print, ray, slurm; other schedulers take the lines" in capsys.readouterr().err


DYING = """
options:
  checkpoint.seconds: 0
  trainer.callbacks: [{class_path: tests.lit.toy_training.DiesOnce, init_args: {path: steps.txt}}]
"""


def test_a_killed_cell_goes_on_where_it_was(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy_folder / "grid.yaml").write_text(GRID + DYING)
    cell = ["sweep", "grid.yaml", "--cell", "none-50-s0"]
    assert main(cell) == 1
    assert "exit status 9" in capsys.readouterr().out
    assert main(cell) == 0
    assert (toy_folder / "steps.txt").read_text() == "1 2 3 3 4"  # epochs have two steps: not from zero
    assert read_result(toy_folder / "runs/grid/none-50-s0/result.json").content["trained"] is None
    capsys.readouterr()
    assert main(cell) == 0
    assert "none-50-s0: finished before" in capsys.readouterr().out
    assert main(["sweep", "grid.yaml", "--cell", "none-50-s5"]) == 2
    assert "--cell none-50-s5: expected one of none-50-s0" in capsys.readouterr().err


def test_a_checkpoint_of_another_key_is_not_gone_on_with(toy_folder: Path) -> None:
    (toy_folder / "grid.yaml").write_text(GRID + DYING)
    assert main(["sweep", "grid.yaml", "--cell", "none-50-s0"]) == 1
    (toy_folder / "grid.yaml").write_text(GRID + DYING + "  model.rate: 0.2\n")
    assert main(["sweep", "grid.yaml", "--cell", "none-50-s0"]) == 0
    assert (toy_folder / "steps.txt").read_text() == "1 2 3 1 2 3 4"


def test_finished_runs_of_other_options_are_not_overwritten_unasked(
    toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (toy_folder / "grid.yaml").write_text(GRID.replace("[0, 1]", "[3]").replace("[50, 100]", "[50]"))
    argv = ["sweep", "grid.yaml", "--jobs", "2"]
    assert main(argv) == 0
    path = toy_folder / "runs/grid/none-50-s3/result.json"
    before = path.read_bytes()
    (toy_folder / "grid.yaml").write_text((toy_folder / "grid.yaml").read_text() + "options: {model.rate: 0.2}\n")
    assert main(argv) == 2
    assert "1 other finished runs have other config" in capfd.readouterr().err
    assert main([*argv, "--otherwise", "keep"]) == 0
    assert path.read_bytes() == before
    assert main([*argv, "--otherwise", "again"]) == 0
    assert path.read_bytes() != before


def test_a_cell_waits_for_its_steps(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = "prepare: [{name: list, command: --help}, {name: more, command: --help, arms: [none]}]"
    (toy_folder / "grid.yaml").write_text(GRID.replace("seeds:", f"{steps}\nseeds:"))
    assert main(["sweep", "grid.yaml", "--cell", "lift3d-50-s0"]) == 2
    assert "the preparing step 'list' is not done" in capsys.readouterr().err
    assert main(["sweep", "grid.yaml", "--step", "list"]) == 0
    assert main(["sweep", "grid.yaml", "--cell", "lift3d-50-s0"]) == 0  # "more" serves another arm
    assert main(["sweep", "grid.yaml", "--cell", "none-50-s0"]) == 2


def test_seeds_take_the_banks_in_turn(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = "prepare: [{name: bank, command: 'fit --seed {bank}', creates: ['b{bank}'], arms: [lift3d]}]\nbanks: 2"
    grid = GRID.replace("seeds: [0, 1]", f"{steps}\nseeds: [0, 1, 2]").replace(
        "model.bonus: 40.0", "model.bonus: '{bank}'"
    )
    (toy_folder / "grid.yaml").write_text(grid)
    found = read_grid(Path("grid.yaml"))
    assert [(step.name, step.command[-1], step.creates) for step in found.prepare] == [
        ("bank-0", "0", ["b0"]), ("bank-1", "1", ["b1"]),
    ]  # fmt: skip
    lifted = [cell for cell in found.cells() if cell.arm == "lift3d"]
    assert ["--model.bonus=0" in cell.command for cell in lifted] == [True, False, True]
    assert lifted[0].varied == ["model.bonus"]
    assert main(["sweep", "grid.yaml", "--launcher", "print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "lift3d-50-s1" in line).endswith("# after: bank-1")


def test_the_test_set_is_scored_once_and_only_for_a_finished_grid(
    toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tested = "test: {data.name: held_out}\nseeds:"
    (toy_folder / "grid.yaml").write_text(GRID.replace("seeds:", tested).replace("[50, 100]", "[50]"))
    assert main(["sweep", "grid.yaml", "--jobs", "2", "--seeds", "0"]) == 0
    assert "test set: not looked at, 2 planned runs are not finished (none-50-s1 first)" in capfd.readouterr().out
    assert not list(toy_folder.glob("runs/grid/*/result_test.json"))
    for _ in range(2):
        assert main(["sweep", "grid.yaml", "--jobs", "2"]) == 0
    paths = sorted(toy_folder.glob("runs/grid/*/result_test.json"))
    assert len(paths) == 4
    results = [read_result(path) for path in paths]
    assert {(result.dataset, result.split) for result in results} == {("held_out", "test")}
    assert (results[0].arm, results[0].frames, results[0].seed) == ("lift3d", 50, 0)
    assert len({result.recipe for result in results}) == 2  # one an arm: the seeds of a row share it
    assert len({result.ground for result in results}) == 1
    plan = json.loads((toy_folder / "runs/grid/design.json").read_text())
    assert [event["what"].split(" of ")[0] for event in plan["events"]] == ["test set scored for 4 runs"]
    rows = json.loads((toy_folder / "runs/grid/leaderboard.json").read_text())["rows"]
    assert {(row["dataset"], row["split"], len(row["seeds"])) for row in rows} == {
        ("toy", "val", 2),
        ("held_out", "test", 2),
    }


def test_one_sweep_a_folder(toy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with folder_lock("runs/grid", "a sweep"):
        for launcher in ("local", "ray", "slurm"):
            assert main(["sweep", "grid.yaml", "--launcher", launcher]) == 2
            said = capsys.readouterr().err
            assert "expected the sweep grid to be written by one process at a time" in said
            assert said.count("\n") == 1
    with folder_lock("runs/grid/none-50-s0", "a run", ".cell.lock"):
        assert main(["sweep", "grid.yaml", "--cell", "none-50-s0"]) == 2
    with folder_lock("runs/toy", "a run"):
        assert main(["fit", "-c", "toy.yaml"]) == 2

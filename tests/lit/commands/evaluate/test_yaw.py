from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from lit.cli import main

EVALUATOR = {"name": "fid/random-0", "version": "1"}


def write_table(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    table = {"yaw": [0.0, 18.0, 50.0], "fid": [1.0, 2.0, 4.5], "nfs": [9.0, 8.0, None], "evaluator": EVALUATOR}
    (folder / "yaw_val.json").write_text(json.dumps(table | changes))
    return folder


def test_curves_of_runs_come_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, changes = write_table(tmp_path / "a"), {"fid": [2.0, 3.0, 3.5], "is": [2.0, 2.1, 1.9]}
    second = write_table(tmp_path / "b", **changes)
    plot, out = tmp_path / "yaw.png", tmp_path / "yaw.json"
    words = ["evaluate", "yaw", "--run", f"G3DR={first}", f"other={second / 'yaw_val.json'}", "--plot", str(plot)]
    assert main([*words, "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["tables"]["other"]["is"] == [2.0, 2.1, 1.9]
    assert written["evaluator"] == EVALUATOR
    picture: Any = cv2.imread(str(plot))
    assert picture.shape[1] > 3 * 300  # a panel a figure
    assert (picture < 200).any()
    assert "4.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fid": [1.0]}, "1 figures for 3 yaws, expected as many"),
        ({"yaw": []}, "yaw"),
        ({"fid": ["far", 2.0, 3.0]}, "fid"),
        ({"evaluator": {"name": "fid/inception"}}, "name different evaluators"),
    ],
)
def test_bad_tables_are_one_line(
    changes: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = write_table(tmp_path / "good"), write_table(tmp_path / "bad", **changes)
    assert main(["evaluate", "yaw", "--run", f"good={good}", f"bad={bad}"]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert says in said
    assert main(["evaluate", "yaw", "--run", f"x={tmp_path / 'nowhere'}"]) == 2
    assert "SingleViewScores leaves" in capsys.readouterr().err

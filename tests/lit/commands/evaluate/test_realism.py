"""``evaluate realism`` on the tiny world."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from datamodules.errors import InputError
from lit import ROOT
from lit.commands.evaluate.realism import realism

EXPERIMENT = str(ROOT / "conf/experiment/world_centernet.yaml")
MESH = ["--data.injection", str(ROOT / "conf/injection/mesh.yaml")]


def test_figures_and_a_sheet(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit.metrics.realism.scores.LEAST_PAIRS", 4)  # twelve frames
    monkeypatch.setattr("lit.metrics.realism.discriminator.STEPS", 5)
    out, sheet = tmp_path / "realism.json", tmp_path / "pairs.png"
    words = [
        "-c",
        EXPERIMENT,
        "--data.root",
        str(tiny_world),
        *MESH,
        "--passes",
        "6",
        "--min-height",
        "8",
        "--seeds",
        "0",
    ]
    assert realism([*words, "--out", str(out), "--sheet", str(sheet)]) == 0
    found = json.loads(out.read_text())
    assert 0 <= found["metrics"]["auc_low"] <= found["metrics"]["auc"] <= found["metrics"]["auc_high"] <= 1
    assert found["counts"]["pairs"] >= 8
    assert "kid" in found["metrics"]
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[1] == 8 * 48
    assert "auc" in capsys.readouterr().out


def test_an_experiment_without_injection_is_refused(tiny_world: Path) -> None:
    with pytest.raises(InputError, match="injects nothing"):
        realism(["-c", EXPERIMENT, "--data.root", str(tiny_world), "--data.injection", "null"])


def test_unusable_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="--frames 1"):
        realism(["-c", EXPERIMENT, "--frames", "1"])

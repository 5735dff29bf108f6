"""``evaluate object-masks``: GrabCut's masks against a world's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.commands.evaluate.command import main


def test_masks_of_a_world_are_compared_with_the_true_ones(tiny_world: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks.json"
    assert main(["object-masks", "--root", str(tiny_world), "--min-score", "0.75", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["objects"] > found["kept"] > 5
    assert 0.8 < found["iou_mean"] < 1
    assert found["kept_iou_mean"] > found["iou_mean"] - 0.02
    assert 0.8 < found["share_good"] <= 1
    assert found["iou_p5"] <= found["iou_mean"]
    assert found["evaluator"]["name"] == "GrabCut"


def test_folders_without_truth_or_objects_are_refused(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 12 frames holds a Tram of height >= 5 px"):
        main(["object-masks", "--root", str(tiny_world), "--name", "Tram"])
    shutil.copytree(tiny_world, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "training" / "instance_2")
    with pytest.raises(InputError, match=r"has no training/instance_2, the true masks"):
        main(["object-masks", "--root", str(tmp_path / "bare"), "--frames", "2"])

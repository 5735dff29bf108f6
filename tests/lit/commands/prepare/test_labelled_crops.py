"""``prepare labelled-crops`` cuts a data set's labelled cars out; sources that cut nothing are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.objects.labelled.pairs import LabelledPairs
from lit.cli import ROOT
from lit.commands.prepare.command import main


def words(world: Path, root: Path, injection: str) -> list[str]:
    experiment, file = (
        ROOT / "conf" / part for part in ("experiment/world_centernet.yaml", f"injection/{injection}.yaml")
    )
    given = ["labelled-crops", "--root", str(root), "-c", str(experiment), "--count", "5", "--size", "32"]
    return [*given, "--data.root", str(world), "--data.injection", str(file)]


def test_cars_of_the_training_frames_become_edge_maps(tiny_world: Path, tmp_path: Path) -> None:
    assert main(words(tiny_world, tmp_path / "crops", "copy_paste")) == 0
    pairs = LabelledPairs(tmp_path / "crops" / "images", tmp_path / "crops" / "edge", "edge", object_of="file")
    assert 1 <= len(pairs) <= 5
    assert pairs.side == 32
    assert set(pairs.index.objects) == set(pairs.keys)
    with pytest.raises(InputError, match="cuts nothing out of frames"):
        main(words(tiny_world, tmp_path / "none", "mesh"))
    assert not (tmp_path / "none").exists()

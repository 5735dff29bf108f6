from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit.cli import main


def test_injected_objects_are_compared_with_labelled_ones(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "placement.json", tmp_path / "placement.png"
    command = ["evaluate", "placement", "-c", "conf/experiment/world_centernet.yaml", "--frames", "4"]
    data = ["--data.root", str(tiny_world), "--data.injection", "conf/injection/mesh.yaml"]
    cheap = ["--data.injection.source.supersample", "1", "--data.injection.placement.position", "labels"]
    assert main([*command, *data, *cheap, "--out", str(out), "--picture", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "placement: x " in said
    assert "4 frames" in said
    found = json.loads(out.read_text())
    assert [row["quantity"] for row in found["rows"]] == ["x", "z", "yaw", "height"]
    assert all(0 <= row["distance"] <= 1 for row in found["rows"])
    assert found["evaluator"] == {"name": "placement", "version": "1", "seed": 0}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_injection_there_is_nothing_to_compare(tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "placement", "-c", "conf/experiment/world_centernet.yaml", "--data.root", str(tiny_world)]
    assert main(command) == 2
    assert "injects nothing; add --data.injection" in capsys.readouterr().err

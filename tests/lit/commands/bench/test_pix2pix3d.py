from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit.commands.bench import pix2pix3d as bench
from tests.lit.networks.pix2pix3d.small import small


def test_every_step_is_timed_and_the_compiled_view_is_the_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SIDE": 24, "REPEATS": 1, "REFERENCE_REPEATS": 1, "TRUTH": 64, "GRID": (8, 4, 4)}.items():
        monkeypatch.setattr(bench, name, value)
    found = bench.run(out=tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == found
    assert {
        "encoder",
        "planes",
        "pictures",
        "reference",
        "own samples",
        "compiled",
        "bake",
        "compiled, all fog",
    } == set(found)
    assert all(row["ms"] > 0 for row in found.values())
    assert found["compiled"]["psnr"] > 20
    assert found["compiled"]["mask_iou"] > 0.9
    assert found["compiled, all fog"]["agreement"] > 20


def test_decoders_that_the_compiled_loops_do_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SIDE": 8, "REPEATS": 1, "REFERENCE_REPEATS": 1, "TRUTH": 8}.items():
        monkeypatch.setattr(bench, name, value)
    found = bench.measure(small().eval())
    assert "compiled" not in found
    assert found["reference"]["ms"] > 0

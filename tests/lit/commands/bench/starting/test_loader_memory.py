"""Memory over injected frames: what is told, and of whom."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from lit.commands.bench.starting.loader_memory import POINTS, drift, run


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_workers_memory_is_read_along_the_way(tiny_world: Path, tmp_path: Path) -> None:
    with AssetBankWriter(tmp_path / "bank", generator="test") as writer:
        grid = np.full((16, 8, 8, 4), 255, np.uint8)
        writer.write(VoxelAsset("block", "Car", np.array([4.0, 1.5, 1.7]), grid))
    measured = run(tmp_path / "out.json", frames=8 * POINTS, root=tiny_world, bank=tmp_path / "bank")
    assert json.loads((tmp_path / "out.json").read_text()) == measured
    assert measured["frames"] == 8 * POINTS
    assert measured["injected_objects"] > 8 * POINTS / 2
    assert len(measured["at"]) == len(measured["loader_private_mb"]) >= POINTS - 1
    assert all(0 < mine < all_ for mine, all_ in zip(measured["loader_private_mb"], measured["loader_resident_mb"]))
    with pytest.raises(InputError, match="--frames 8: expected at least 160"):
        run(frames=8)


def test_a_drift_leaves_the_first_tenth_out() -> None:
    told = drift([10_000 * n for n in range(1, 21)], [0.0, 50.0, *(100.0 + 2 * n for n in range(18))], "private")
    assert told == {"private_growth_mb": 34.0, "private_slope_mb": 20.0}

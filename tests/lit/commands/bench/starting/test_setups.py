from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.commands.bench.starting.setups import run


def test_both_starts_are_measured(tmp_path: Path) -> None:
    measured = run(tmp_path / "out.json", share=0.0005)
    assert (measured["kitti_frames"], measured["posed_views"]) == (4, 250)
    for name in ("kitti", "posed_cold", "posed_warm"):
        assert measured[f"{name}_seconds"] > 0
    assert measured["posed_warm_growth_mb"] < 50
    assert (tmp_path / "out.json").is_file()


def test_a_share_that_is_none() -> None:
    with pytest.raises(InputError, match="--share 0: expected above 0"):
        run(share=0)

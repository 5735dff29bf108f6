from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.commands.bench.starting.nuscenes_tables import run


def test_a_first_start_and_the_next_one(tmp_path: Path) -> None:
    measured = run(tmp_path / "out.json", share=[0.001, 0.002], devkit=False)
    assert (measured["tables_samples_0.001"], measured["tables_samples_0.002"]) == (80, 80)
    for name in ("cold", "warm"):
        assert measured[f"tables_{name}_seconds_0.002"] > 0
    assert (tmp_path / "out.json").is_file()


def test_a_share_that_is_none() -> None:
    with pytest.raises(InputError, match="--share 0: expected above 0"):
        run(share=0)

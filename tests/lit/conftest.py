"""A folder with a grid of toy runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT
from tests.lit.toy_training import EXPERIMENT, GRID


@pytest.fixture
def toy_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with toy.yaml (an experiment) and grid.yaml (its grid)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path

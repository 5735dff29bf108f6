"""Commands that render or sample over Ray's workers: the same bytes as here, refusals as one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datamodules.assets.bank import AssetBank
from datamodules.cluster.ray_cluster import CLUSTER, LOCAL
from lit.proxies.segmentation import Segmenter
from tests.lit.commands.prepare import spread_over_two
from tests.lit.commands.prepare.spread_over_two import PREPARED, write_all
from tests.own_process import in_own_process


def contents(folder: Path) -> dict[str, bytes]:
    """A folder's files by name, those of folders below it, too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sets_and_banks_are_the_same_here_and_over_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[launchers]"')
    number, said, _ = in_own_process(
        lambda number: ["tests.lit.commands.prepare.spread_over_two", str(tmp_path / str(number))],
        {CLUSTER: LOCAL, "OMP_NUM_THREADS": str(torch.get_num_threads())},  # on some processors sums follow from it
    )
    assert said.splitlines()[-2:] == ["[0, 3, 6, 9, 12, 15]", "number 7: expected another one"]
    assert "(2 pieces)" in said
    monkeypatch.setattr(Segmenter, "load", Segmenter.load)  # which the commands replace
    monkeypatch.setattr(spread_over_two, "WORKERS", "1")
    write_all(tmp_path / "here")
    there, here = tmp_path / str(number), tmp_path / "here"
    for name in (*PREPARED, "in_place", "gan"):
        assert contents(there / name) == contents(here / name), name
    assert AssetBank(there / "bank").hash == AssetBank(here / "bank").hash

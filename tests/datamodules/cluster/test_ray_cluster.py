"""Work over Ray's workers: the same bytes whatever their number, refusals as one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.cluster.ray_cluster import CLUSTER, LOCAL, require_answer
from datamodules.errors import InputError
from datamodules.objects.studio import write_posed_images
from tests.datamodules.cluster.spread_over_two import WANTED
from tests.own_process import in_own_process


def contents(folder: Path) -> dict[str, bytes]:
    """A folder's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_posed_set_is_the_same_here_and_over_two_workers(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[launchers]"')
    number, said, _ = in_own_process(
        lambda number: ["tests.datamodules.cluster.spread_over_two", str(tmp_path / str(number))], {CLUSTER: LOCAL}
    )
    assert said.splitlines() == ["[0, 3, 6, 9, 12, 15]", "number 7: expected another one"]
    write_posed_images(tmp_path / "here", **WANTED, workers=1)
    assert contents(tmp_path / "here") == contents(tmp_path / str(number))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:9", r"--ray 127.0.0.1:9: cannot be reached \(.*\); expected the address of a running Ray"),
        ("somewhere", "--ray somewhere: expected HOST:PORT of a Ray cluster, auto or local"),
        ("ray://host:10001", "--ray ray://host:10001: expected HOST:PORT"),
        ("host:99999", "--ray host:99999: expected HOST:PORT"),
    ],
)
def test_addresses_without_a_cluster(address: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        require_answer(address, "--ray")

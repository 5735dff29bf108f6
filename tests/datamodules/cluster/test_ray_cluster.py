"""Work over Ray's workers: the same bytes whatever their number, refusals as one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datamodules.cluster.ray_cluster import CLUSTER, LOCAL, require_answer
from datamodules.errors import InputError
from datamodules.objects.studio import write_posed_images
from datamodules.processes import run_jobs


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A cluster of two workers on this machine, that jobs are spread over."""
    ray = pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[launchers]"')
    monkeypatch.setenv(CLUSTER, LOCAL)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    yield 2
    ray.shutdown()


def picky(number: int) -> int:
    """Three times the number, unless it is seven."""
    if number == 7:
        raise InputError("number 7: expected another one")
    return 3 * number


def contents(folder: Path) -> dict[str, bytes]:
    """A folder's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_posed_set_is_the_same_here_and_over_two_workers(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, Any] = {"objects": 5, "views": 3, "size": 16, "seed": 3}
    write_posed_images(tmp_path / "two", **wanted, workers=workers)
    assert run_jobs(picky, range(6), workers, False, "numbers") == [0, 3, 6, 9, 12, 15]
    with pytest.raises(InputError, match=r"^number 7: expected another one$"):
        run_jobs(picky, range(9), workers, False, "numbers")
    monkeypatch.delenv(CLUSTER)
    write_posed_images(tmp_path / "one", **wanted, workers=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


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

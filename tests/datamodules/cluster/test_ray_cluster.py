"""Addresses at which no cluster of Ray's can be."""

from __future__ import annotations

import pytest

from datamodules.cluster.ray_cluster import require_answer
from datamodules.errors import InputError


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

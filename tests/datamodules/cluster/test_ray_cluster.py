"""Addresses at which no cluster of Ray's can be, clusters that ask for a token, and whose SIGTERM is."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from datamodules.cluster import ray_cluster
from datamodules.cluster.ray_cluster import AUTH, TOKENS, join_cluster, own_termination, require_answer
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


def test_a_cluster_that_asks_for_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def init(**given: object) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError("RPC error: InvalidAuthToken: it is missing")

    for name in (AUTH, *TOKENS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_cluster, "TOKEN_FILE", tmp_path / "token")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=r"asks for a token; expected RAY_AUTH_MODE=token and the cluster's"):
            join_cluster(address, "--ray")
        assert AUTH not in ray_cluster.os.environ
        (tmp_path / "token").write_text("token")
        with pytest.raises(InputError, match="asks for a token"):
            join_cluster(address, "--ray")
        assert ray_cluster.os.environ[AUTH] == "token"


def test_sigterm_keeps_its_meaning() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with own_termination():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before

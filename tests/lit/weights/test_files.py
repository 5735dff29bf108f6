"""One way to read a file of torch.save: what is refused, and what is said of it."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from datamodules.errors import InputError
from lit.weights.files import load_weights

EXPECTED = "a checkpoint of this test"


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def said(read: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(*arguments, EXPECTED)
    message = str(caught.value)
    assert "\n" not in message
    assert EXPECTED in message
    return message


def test_plain_content_and_options_are_read(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(3), "args": Namespace(size=2)}, tmp_path / "a.pt")
    found = load_weights(tmp_path / "a.pt", EXPECTED)
    assert found["w"].tolist() == [0, 1, 2]
    assert found["args"].size == 2


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert "a.pt: no such file" in said(load_weights, path)
    for content in (b"", b"nothing", b"PK\x03\x04broken", b"\x80\x02."):
        path.write_bytes(content)
        message = said(load_weights, path)
        assert "no readable weights" in message
        assert "weights_only" not in message  # torch's advice is to run what is in the file
    marker = tmp_path / "marker"
    torch.save(Call(os.system, f"touch {marker}"), path)
    assert "refused, it holds the global posix.system" in said(load_weights, path)
    torch.save(nn.Linear(1, 1), path)
    assert "the global torch.nn.modules.linear.Linear" in said(load_weights, path)
    assert not marker.exists()

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
from lit.proxies.pose_regressor import PoseRegressor
from lit.weights.torch_files import load_weights, restore

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


def test_a_module_comes_back_with_its_settings_and_weights(tmp_path: Path) -> None:
    made, path = PoseRegressor(width=8, layers=2), tmp_path / "last.ckpt"
    settings = {**made.hparams, "_instantiator": "added by the command line"}
    torch.save({"state_dict": made.state_dict(), "hyper_parameters": settings}, path)
    found = restore(PoseRegressor, path, EXPECTED)
    assert found.hparams["width"] == 8
    assert not found.training
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in made.state_dict().items())
    changed: list[tuple[Any, str]] = [
        ([1], "no checkpoint of a training"),
        ({"state_dict": {}}, "no checkpoint of a training"),
        ({"state_dict": [], "hyper_parameters": {}}, "no checkpoint of a training"),
        ({"state_dict": {}, "hyper_parameters": {"classes": 3}}, "made from other settings .*classes"),
        ({"state_dict": {}, "hyper_parameters": {3: 3}}, "made from other settings"),
        ({"state_dict": {}, "hyper_parameters": {"width": 8}}, "weights of another shape than its settings say"),
        ({"state_dict": made.state_dict(), "hyper_parameters": {"width": 4}}, "of another shape"),
        ({"state_dict": {"network.0.weight": "x"}, "hyper_parameters": {}}, "of another shape"),
    ]
    for content, says in changed:
        torch.save(content, path)
        with pytest.raises(InputError, match=says):
            restore(PoseRegressor, path, EXPECTED)
        said(restore, PoseRegressor, path)

"""Files of tensors: damage is told by checksums, programs are refused, tensors are what weights can be."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from datamodules.errors import InputError
from datamodules.files.weight_files import load_weights, read_state

EXPECTED = "weights of this test"


def refusal(path: Path) -> str:
    """The message for a file."""
    with pytest.raises(InputError) as caught:
        load_weights(path, EXPECTED)
    message = str(caught.value)
    assert message.isprintable()
    assert EXPECTED in message
    return message


def test_a_changed_bit_is_told_by_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"weight": torch.arange(64.0)}, "hyper_parameters": {"width": 3}}, path)
    assert load_weights(path, EXPECTED)["state_dict"]["weight"][3] == 3
    whole = path.read_bytes()
    numbers, settings = whole.index(torch.arange(64.0).numpy().tobytes()[4:]), whole.index(b"width")
    for position in (numbers, numbers + 200, settings + 2):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        assert "is damaged" in refusal(path)
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "holds no tensor"),
        (5, "holds no tensor"),
        ({"state_dict": [1]}, "holds no tensor"),
        ({"state_dict": {1: torch.zeros(2)}}, "stands beside the key 1, a int"),
        ({"a": {"b": torch.tensor([1.0, float("nan")])}}, "a.b holds NaN"),
        ({"a": [torch.zeros(1), torch.tensor([1.0, float("inf")])]}, "a.1 holds an infinity"),
        ({"a": torch.zeros(1).expand(1 << 40)}, "states the shape"),
        ({"a": torch.eye(2).to_sparse()}, "without plain numbers"),
    ],
)
def test_what_is_no_weight_is_named(content: Any, says: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert says in refusal(tmp_path / "a.pt")


def test_scores_and_optimizers_of_a_checkpoint_pass(tmp_path: Path) -> None:
    content = {
        "state_dict": {"weight": torch.ones(2)},
        "callbacks": {"best": torch.tensor(float("inf"))},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2)}}}],
    }
    torch.save(content, tmp_path / "a.ckpt")
    assert list(read_state(tmp_path / "a.ckpt", "x")) == ["weight"]


def test_programs_are_refused_with_the_cure(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "a.pt"))
    assert "TorchScript archive is a program" in refusal(tmp_path / "a.pt")


def test_the_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, str(tmp_path / "a.pt"))
    assert load_weights(tmp_path / "a.pt", EXPECTED)["weight"].tolist() == [1, 1]
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "b.pt").write_text("text")
    assert "no readable weights" in refusal(tmp_path / "b.pt")

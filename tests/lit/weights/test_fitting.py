"""Weights fit exactly or are refused, whatever file they are from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from datamodules.errors import InputError
from lit.proxies.pose_regressor import PoseRegressor
from lit.weights.fitting import fit_state, restore

EXPECTED = "a checkpoint of this test"


def test_every_place_gets_its_tensor() -> None:
    made = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {key: torch.full_like(value, 2) for key, value in made.state_dict().items()}
    del state["1.num_batches_tracked"]  # files of old have none
    fit_state(made, state, "a.pt", "this network")
    assert all((made.state_dict()[key] == 2).all() for key in state)
    wrong: list[tuple[Any, str]] = [
        ([1], "a list in place of a state dict"),
        ({**state, "0.bias": torch.zeros(4)}, r"0\.bias has the shape \(4,\), expected \(3,\)"),
        ({**state, "0.bias": 3.0}, "key 0.bias is a float"),
        ({**state, "0.bias": torch.zeros(3, dtype=torch.int64)}, "0.bias holds torch.int64"),
        ({**state, "0.bias": torch.tensor([0, float("nan"), 0])}, "0.bias holds numbers that are not finite"),
        ({**state, "more": torch.zeros(1)}, "key more has no place"),
        ({key: value for key, value in state.items() if key != "0.bias"}, "key 0.bias is missing"),
    ]
    for content, says in wrong:
        with pytest.raises(InputError, match=rf"^a\.pt: {says}.*; expected the state dict of this network$"):
            fit_state(made, content, "a.pt", "this network")
        with pytest.raises(InputError, match=rf"^a\.pt: no such network \({says}.*\); expected this network$"):
            fit_state(made, content, "a.pt", "this network", "no such network")
    assert (made.state_dict()["0.bias"] == 2).all()


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
        with pytest.raises(InputError, match=says) as caught:
            restore(PoseRegressor, path, EXPECTED)
        assert EXPECTED in str(caught.value)
        assert "\n" not in str(caught.value)

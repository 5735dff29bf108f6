from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from datamodules.files.seals import SEAL_KEY
from datamodules.files.weight_files import read_content, seal


def content() -> dict[str, Any]:
    weights = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.tensor(2, dtype=torch.int64))
    half = torch.ones(3, dtype=torch.bfloat16)
    return {"state_dict": weights, "step": 3, "rates": [0.1, (1, "x")], "half": half, "none": None}


def written(path: Path, found: dict[str, Any]) -> Path:
    torch.save(found, path)
    return path


def test_what_was_sealed_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ckpt", content() | {SEAL_KEY: seal(content(), "a")})
    assert read_content(path, "weights")["step"] == 3


def test_order_of_keys_does_not_count(tmp_path: Path) -> None:
    other = dict(reversed(list(content().items())))
    assert read_content(written(tmp_path / "a.ckpt", other | {SEAL_KEY: seal(content(), "a")}), "weights")["step"] == 3


@pytest.mark.parametrize("change", ["number", "element", "dtype", "shape", "missing", "name"])
def test_any_change_is_told(tmp_path: Path, change: str) -> None:
    found = content()
    weights = found["state_dict"]
    if change == "number":
        found["rates"][1] = (1, "y")
    elif change == "element":
        weights["b"] = torch.tensor(0)
    elif change == "dtype":
        found["half"] = found["half"].half()
    elif change == "shape":
        weights["a"] = weights["a"].reshape(3, 2)
    elif change == "missing":
        del weights["b"]
    else:
        weights["c"] = weights.pop("b")
    path = written(tmp_path / "a.ckpt", found | {SEAL_KEY: seal(content(), "a")})
    with pytest.raises(InputError, match=rf"a.ckpt: differs from its seal, .* remove the key {SEAL_KEY}"):
        read_content(path, "weights")


def test_without_a_seal_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_content(written(tmp_path / "a.ckpt", content()), "weights")["step"] == 3

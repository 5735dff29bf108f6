"""A compiled module computes the same, trains the same, and keeps the names of its weights."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from datamodules.errors import InputError
from detectors import compiling
from detectors.compiling import compile_in_place
from tests.lit.detection_training import data, module, trainer

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    # No bias before the normalisation: its gradient is 0 but for rounding, which two orders of summation do not share.
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_inductor_gives_the_same_values_and_gradients() -> None:
    plain, compiled, images = network(), network(), torch.rand(2, 3, 12, 12)
    compile_in_place(compiled, "inductor", CPU)
    found, expected = compiled(images), plain(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(compiled.parameters(), plain.parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_copies_are_plain_and_nothing_is_compiled_twice() -> None:
    compiled = network()
    compile_in_place(compiled, None, CPU)
    assert compiled._compiled_call_impl is None
    compile_in_place(compiled, "eager", CPU)
    first = compiled._compiled_call_impl
    compile_in_place(compiled, "eager", CPU)
    assert compiled._compiled_call_impl is first
    assert copy.deepcopy(compiled)._compiled_call_impl is None


def test_a_detector_trains_as_without(tiny_world: Path, tmp_path: Path) -> None:
    weights = []
    for backend in (None, "eager"):
        lit = module(compiled=backend)
        trainer(tmp_path, max_steps=2, limit_val_batches=1).fit(lit, data(tiny_world))
        assert (lit.detector._compiled_call_impl is None) == (backend is None)
        weights.append(lit.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_bad_choices_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"compiled inducter: expected one of .*; did you mean 'inductor'|inductor"):
        compile_in_place(network(), "inducter", CPU)
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler such as g\+\+, expected it"):
        compile_in_place(network(), "inductor", CPU)

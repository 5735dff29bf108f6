"""Backbones: their weights are chosen, fit, and are weights; a network that cannot learn is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from datamodules.errors import InputError
from detectors.backbones import build_backbone
from detectors.base import require_learning
from detectors.centernet3d import CenterNet3D

NARROW: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4]}


def refusal(weights: str | None, options: dict[str, Any] | None = None, name: str = "resnet18") -> str:
    """The message for a choice of weights."""
    with pytest.raises(InputError) as caught:
        build_backbone(name, NARROW if options is None else options, weights, 4)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("name", ["resnet18", "dla34"])
def test_weights_from_a_classifier(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = NARROW if name == "resnet18" else {}
    model = timm.create_model(name, pretrained=False, **options)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    net, widths = build_backbone(name, options, str(tmp_path / "weights.pt"), 4)
    assert len(widths) == 4
    kept = {value.double().sum().item() for value in model.state_dict().values() if value.ndim == 4}
    assert all(value.double().sum().item() in kept for value in net.state_dict().values() if value.ndim == 4)


def test_a_choice_is_demanded_and_names_the_three() -> None:
    said = refusal(None)
    assert "timm (ImageNet weights" in said
    assert "a file with timm's state dict" in said
    assert "none (random weights)" in said
    assert "set model.detector.backbone_weights" in said
    assert "set model.detector.backbone_weights to timm" in refusal("none", {"pretrained": True})
    CenterNet3D("resnet18", NARROW, neck_channels=4, head_channels=4)  # without a word: none, as the small models state


def test_pretrained_weights_without_a_network_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise ConnectionError("cannot reach the hub\nwith a long story")
        return plain(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    said = refusal("timm")
    assert "the weights of 'resnet18' cannot be fetched (ConnectionError: cannot reach the hub with" in said
    assert "give a file with timm's state dict, or none" in said


def test_files_of_other_weights_are_refused(tmp_path: Path) -> None:
    assert "does not exist: expected timm" in refusal(str(tmp_path / "missing.pt"))
    torch.save(
        timm.create_model("resnet18", layers=[1, 1, 1, 1], channels=[4, 4, 4, 8]).state_dict(), tmp_path / "a.pt"
    )
    assert "of another backbone, no fitting 'layer4.0.conv1.weight'" in refusal(str(tmp_path / "a.pt"))
    state = timm.create_model("resnet18", **NARROW).state_dict()
    changes: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [
        (lambda value: value.to(torch.int64), "conv1.weight holds torch.int64, expected torch.float32"),
        (torch.zeros_like, "conv1.weight holds zeros alone, expected weights of a convolution"),
        (lambda value: torch.zeros_like(value, dtype=torch.int32), "conv1.weight holds torch.int32"),
    ]
    for change, said in changes:
        torch.save({**state, "conv1.weight": change(state["conv1.weight"])}, tmp_path / "b.pt")
        assert said in refusal(str(tmp_path / "b.pt"))


def test_branches_frozen_at_zero_are_refused() -> None:
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.GroupNorm(2, 4))
    require_learning(net)
    nn.init.zeros_(norm.weight)
    require_learning(net)  # zero, but it learns
    norm.requires_grad_(False)
    with pytest.raises(
        InputError, match=r"1 residual branches are zero and frozen for ever \(first 1\): .* checkpoint"
    ):
        require_learning(net)
    nn.init.ones_(norm.weight)
    require_learning(net)  # frozen, with weights

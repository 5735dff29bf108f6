"""The SGD recipe of mmdetection3d's camera detectors, against mmengine's own optimiser builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from detectors.fcos3d import FCOS3D
from detectors.mmdet3d_config import Size
from lit.detection import LitDetector
from tests.lit.detection_training import module, trainer


def configured(lit: LitDetector, folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> tuple[Any, Any]:
    run = trainer(folder, max_steps=steps)
    monkeypatch.setattr(type(run), "estimated_stepping_batches", property(lambda _: steps))
    lit.trainer = run
    found: Any = lit.configure_optimizers()
    return found["optimizer"], found["lr_scheduler"]["scheduler"]


RECIPE: dict[str, Any] = {
    "lr": 0.002, "weight_decay": 0.0001, "optimizer": "sgd", "schedule": "multi_step", "warmup_steps": 50,
    "warmup_factor": 1 / 3, "milestones": (8 / 12, 11 / 12),
}  # fmt: skip


def test_groups_are_mmengines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmdet3d")
    torch.manual_seed(0)
    net = FCOS3D(size=Size(50, 8, 16, 1, (8, 16, 32), deformable=True))
    optimizer, _ = configured(LitDetector(net, **RECIPE), tmp_path, monkeypatch, 100)
    from mmengine.optim import DefaultOptimWrapperConstructor
    from mmengine.optim.optimizer import default_constructor

    # it knows deformable layers only beside a compiled mmcv, with which the official weights were trained
    monkeypatch.setattr(default_constructor, "mmcv_full_available", lambda: True)

    sgd = {"type": "SGD", "lr": 0.002, "momentum": 0.9, "weight_decay": 0.0001}
    given = {"type": "OptimWrapper", "optimizer": sgd}
    official = DefaultOptimWrapperConstructor(given, {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0})(net.model).optimizer
    settings = [
        {
            id(p): (group.get("initial_lr", group["lr"]), group["weight_decay"], group["momentum"])
            for group in one.param_groups
            for p in group["params"]
        }
        for one in (optimizer, official)
    ]
    names = dict(net.named_parameters())
    different = [name for name, p in names.items() if settings[0].get(id(p)) != settings[1].get(id(p))]
    assert different == []
    assert {(0.004, 0.0, 0.9), (0.002, 0.0, 0.9), (0.002, 0.0001, 0.9)} == set(settings[0].values())


def test_schedule_is_mmengines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1/3 at the first step, the peak after the warm-up, a tenth after 8 and again after 11 of 12 epochs."""
    optimizer, scheduler = configured(module(**RECIPE), tmp_path, monkeypatch, 1200)
    rates = []
    for _ in range(1200):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    first = [min(some) for some in rates]
    assert all(max(some) == pytest.approx(2 * min(some)) for some in rates)
    assert first[0] == pytest.approx(0.002 / 3)
    assert first[25] == pytest.approx(0.002 * (1 / 3 + 2 / 3 / 2))
    for step, factor in ((50, 1), (799, 1), (800, 0.1), (1099, 0.1), (1100, 0.01), (1199, 0.01)):
        assert first[step] == pytest.approx(0.002 * factor), step


def test_one_cycle_warms_up_by_steps_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace_schedule("one_cycle")
    optimizer, scheduler = configured(module(**options), tmp_path, monkeypatch, 500)
    rates = []
    for _ in range(499):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert max(range(499), key=lambda step: rates[step][0]) in (49, 50)
    assert max(map(max, rates)) == pytest.approx(0.004)


def replace_schedule(name: str) -> dict[str, Any]:
    return {**RECIPE, "schedule": name}

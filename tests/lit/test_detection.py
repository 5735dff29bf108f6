from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.errors import InputError
from datamodules.scene import Objects, collate
from detectors.centernet3d import CenterNet3D
from lit.detection import LitDetector
from lit.metrics.kitti.evaluation import evaluate_objects
from tests.detectors import scenes
from tests.lit.detection_training import data, module, trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trains_and_logs_every_loss(tiny_world: Path, tmp_path: Path, precision: str) -> None:
    lit, run = module(), trainer(tmp_path, precision=precision, limit_val_batches=1, gradient_clip_val=35.0)
    before = [p.detach().clone() for p in lit.parameters()]
    run.fit(lit, data(tiny_world))
    logged = {name for name in run.callback_metrics if name.startswith("train/")}
    assert logged == {f"train/{n}" for n in ("heatmap", "offset", "sides", "depth", "dims", "yaw", "loss")}
    assert all(torch.isfinite(value) for value in run.callback_metrics.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, lit.parameters()))


def test_predictions_are_objects_with_scores(tiny_world: Path, tmp_path: Path) -> None:
    source = data(tiny_world)
    source.setup("predict")
    lit = module().eval()
    with torch.no_grad():
        frames = [objects for batch in source.predict_dataloader() for objects in lit.predict_step(batch, 0)]
    assert len(frames) == 6
    assert all(isinstance(objects, Objects) and objects.score is not None for objects in frames)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("one_cycle", {25: 1.0, 100: 0.0}),
        ("multi_step", {12: 0.5, 50: 1.0, 85: 0.1, 95: 0.01}),
        ("constant", {12: 0.5, 50: 1.0, 99: 1.0}),
    ],
)
def test_learning_rate_by_step(
    schedule: str, expected: dict[int, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lit = module(schedule=schedule, warmup=0.25, lr=1.0)
    run = trainer(tmp_path, max_steps=100)
    monkeypatch.setattr(type(run), "estimated_stepping_batches", property(lambda _: 100))
    lit.trainer = run
    configured: Any = lit.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(99):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    for step, rate in expected.items():
        assert rates[min(step, 99)] == pytest.approx(rate, abs=0.06)


@pytest.mark.parametrize(
    ("rule", "processes", "expected"),
    [(None, 1, 0.01), (None, 8, 0.01), ("none", 8, 0.01), ("linear", 1, 0.005), ("linear", 8, 0.04), ("sqrt", 8, 0.02)],
)
def test_the_learning_rate_follows_the_batch_by_a_stated_rule(
    rule: str | None, processes: int, expected: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate for 8 pictures a step, in batches of 4 a process; without a rule many processes say what they do."""
    lit = module(lr=0.01, scale_lr=rule, reference_batch=8)
    lit.trainer = SimpleNamespace(  # type: ignore[assignment]  # a trainer has as many processes as run
        world_size=processes, is_global_zero=True, accumulate_grad_batches=1, datamodule=SimpleNamespace(batch_size=4)
    )
    assert lit.scaled_lr() == pytest.approx(expected)
    assert lit.effective_batch == 4 * processes
    said = capsys.readouterr().out
    assert (said == "") == (rule is not None or processes == 1)
    assert not said or f"{4 * processes} samples a step, learning rate 0.01 as given; model.scale_lr" in said


def test_a_rule_needs_the_batch_it_refers_to() -> None:
    with pytest.raises(InputError, match=r"scale_lr linear .* set model\.reference_batch"):
        module(scale_lr="linear")


def test_batch_statistics_of_all_processes_need_gpus(tiny_world: Path, tmp_path: Path) -> None:
    lit = module()
    lit.trainer = SimpleNamespace(  # type: ignore[assignment]  # as above
        world_size=2, strategy=SimpleNamespace(_layer_sync=object(), root_device=torch.device("cpu"))
    )
    with pytest.raises(InputError, match=r"trainer\.sync_batchnorm true on CPUs"):
        lit.setup("fit")
    lit.setup("validate")


def test_no_warm_up_is_lost_in_a_long_run() -> None:
    """500 of 5 million steps: the rise still takes all of them, from a fifth of the peak on."""
    lit = module(schedule="multi_step", warmup_steps=500)
    warm = 500 / 5e6
    factors = [lit.factor(step / 5e6, warm) for step in (0, 250, 500)]
    assert factors == pytest.approx([0.2, 0.5, 1.0])


def test_decay_spares_biases_and_norms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lit, run = module(weight_decay=0.1), trainer(tmp_path)
    monkeypatch.setattr(type(run), "estimated_stepping_batches", property(lambda _: 100))
    lit.trainer = run
    decayed, spared = lit.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(lit.parameters()))


@pytest.mark.slow
def test_overfits_four_frames(tmp_path: Path) -> None:
    """Four frames are learnt by heart: AP at IoU 0.7 against their own labels is near 100."""
    torch.manual_seed(0)
    shape = {"layers": [1, 1, 1, 1], "channels": [16, 32, 32, 32], "stem_type": "deep", "stem_width": 8}
    lit = LitDetector(CenterNet3D("resnet18", shape, neck_channels=32, head_channels=16), lr=5e-3, weight_decay=0.0)
    batch = collate([scenes.frame(seed, count=2, view=scenes.camera(192, 64, 110.0)) for seed in range(4)])
    loader: DataLoader = DataLoader([batch] * 250, batch_size=None)  # type: ignore[arg-type]  # any sequence will do
    trainer(tmp_path, max_steps=250).fit(lit, loader)
    lit.eval()
    with torch.no_grad():
        found = lit.predict_step(batch, 0)
    # AP40 samples no more recall points than there are objects: copies of the frames fill its forty.
    labels, found = [[_scaled(objects) for objects in group] * 6 for group in (batch.objects, found)]
    result = evaluate_objects(labels, found, {"car": [0.5]})
    assert result["extra"]["car/3d/moderate/0.5"] > 90
    assert result["ap40"]["car"]["3d"][1] > 60


def _scaled(objects: Objects) -> Objects:
    """KITTI's height limits are meant for 1242 pixels of width."""
    return replace(objects, bbox=objects.bbox * 6.5)


def test_a_training_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    first, path = module(), tmp_path / "first.ckpt"
    torch.save({"state_dict": first.state_dict()}, path)
    second = module(start_from=str(path))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    state = first.state_dict()
    name = next(key for key in state if key.endswith("weight"))
    torch.save({"state_dict": {**state, name: state[name][:1]}}, path)
    with pytest.raises(
        InputError, match=f"{name} has the shape .* expected .*; expected the state dict of this detector"
    ):
        module(start_from=str(path))

"""Averaged weights: they are what is evaluated and stored; the training itself does not notice."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules.errors import InputError
from lit.callbacks.averaged_weights import KEY, AveragedWeights
from lit.callbacks.last_checkpoint import LastCheckpoint


class Line(pl.LightningModule):
    """A line through points, with a normalisation whose statistics move."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.trace: list[dict[str, Tensor]] = []
        self.seen: list[dict[str, Tensor]] = []

    def state(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = (self.net(batch[0]) - batch[0]).square().mean()
        return loss

    def optimizer_step(self, *args: object, **kwargs: object) -> None:
        super().optimizer_step(*args, **kwargs)  # type: ignore[arg-type]
        self.trace.append(self.state())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.seen.append(self.state())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def train(folder: Path, steps: int, *callbacks: pl.Callback, start: str | None = None) -> tuple[Line, pl.Trainer]:
    points = DataLoader(TensorDataset(torch.linspace(-1, 1, 12)[:, None]), batch_size=4)
    model = Line()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        callbacks=[*callbacks, LastCheckpoint(str(folder), 0.0)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(model, points, points, ckpt_path=start, weights_only=True)
    return model, trainer


def close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return all(torch.allclose(found[name].float(), value.float(), atol=1e-6) for name, value in wanted.items())


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    floats = [name for name, value in states[0].items() if value.is_floating_point()]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in floats}


def test_the_tail_is_the_mean_of_its_steps_and_is_evaluated_and_stored(tmp_path: Path) -> None:
    plain, _ = train(tmp_path / "plain", 9)
    model, _ = train(tmp_path / "tail", 9, AveragedWeights("tail", start=0.5))
    assert all(close(a, b) for a, b in zip(model.trace, plain.trace))  # the training does not notice
    wanted = mean(plain.trace[4:])  # steps 5 to 9 of 9
    assert close(model.state(), wanted)
    assert close(model.seen[0], plain.trace[2])  # before the tail begins an evaluation sees the training's weights
    assert close(model.seen[3], mean(plain.trace[4:6]))
    stored = torch.load(tmp_path / "tail" / "last.ckpt", weights_only=True)
    assert close(stored["state_dict"], wanted)
    assert close(stored[KEY]["training"], plain.trace[-1])
    assert int(stored["state_dict"]["net.1.num_batches_tracked"]) == 9


def test_an_exponential_average_follows_its_rule(tmp_path: Path) -> None:
    model, _ = train(tmp_path, 6, AveragedWeights(decay=0.2))
    floats = mean(model.trace[:1])
    for count, state in enumerate(model.trace[1:], 1):
        kept = min(0.2, (1 + count) / (10 + count))
        floats = {name: kept * value + (1 - kept) * state[name] for name, value in floats.items()}
    assert close(model.state(), floats)


def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", 9, AveragedWeights())
    train(tmp_path / "cut", 6, AveragedWeights())
    last = str(tmp_path / "cut" / "last.ckpt")
    rest, _ = train(tmp_path / "rest", 9, AveragedWeights(), start=last)
    assert all(close(a, b) for a, b in zip(rest.trace, whole.trace[6:], strict=True))
    assert close(rest.state(), whole.state())
    done, _ = train(tmp_path / "done", 9, AveragedWeights(), start=str(tmp_path / "rest" / "last.ckpt"))
    assert not done.trace
    assert close(done.state(), whole.state())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "plain", 3)
    train(tmp_path / "mean", 3, AveragedWeights())
    with pytest.raises(InputError, match="of a training without AveragedWeights"):
        train(tmp_path, 6, AveragedWeights(), start=str(tmp_path / "plain" / "last.ckpt"))
    with pytest.raises(InputError, match="holds averaged weights, expected the training's own"):
        train(tmp_path, 6, start=str(tmp_path / "mean" / "last.ckpt"))
    with pytest.raises(InputError, match=r"decay 1\.0 of AveragedWeights"):
        AveragedWeights(decay=1.0)

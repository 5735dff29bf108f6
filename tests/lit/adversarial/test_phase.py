from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lit.adversarial.image_cadence import Cadence
from lit.adversarial.phase import Penalty, Phase, Turn, lazy_adam


def turn(seen: int = 0, step: int = 8, seed: int = 0) -> Turn:
    return Turn(None, seen, step, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("intervals", "share"), [([], 1.0), ([0], 1.0), ([16], 16 / 17), ([4], 4 / 5), ([4, 2], 4 / 7)]
)
def test_adam_allows_for_the_steps_of_its_penalties(intervals: list[int], share: float) -> None:
    """Over an interval the rates and the decays of all steps make up those of the steps without penalties."""
    (group,) = lazy_adam(nn.Linear(2, 1).parameters(), 0.01, intervals).param_groups
    assert group["lr"] == pytest.approx(0.01 * share)
    assert group["betas"] == (0.0, pytest.approx(0.99**share))


def test_a_phase_descends_its_losses_then_the_penalties_that_are_due() -> None:
    weight = nn.Parameter(torch.tensor(2.0))
    descended: list[float] = []
    twice = Penalty("twice", lambda _: 2 * weight, 0.5, Cadence(32))
    never = Penalty("never", lambda _: weight / 0, 1.0, Cadence(0))
    losses: Any = lambda _: {"a": weight, "b": 3 * weight}  # noqa: E731
    phase = Phase("player", torch.optim.SGD([weight], 0.1), losses, [twice, never])
    logged = [phase.play(turn(seen), lambda loss: descended.append(float(loss))) for seen in (0, 8)]
    assert descended == [8.0, 0.5 * 4 * 4.0, 8.0]  # half the penalty, for the four steps from one to the next
    assert [list(losses) for losses in logged] == [["a", "b", "twice"], ["a", "b"]]
    assert float(logged[0]["twice"]) == 4.0


def test_penalties_are_taken_in_full_precision() -> None:
    seen = []
    layer, x = nn.Linear(4, 4), torch.randn(3, 4)

    def loss(_: Turn) -> Any:
        seen.append(layer(x).dtype)
        return layer(x).float().sum()

    phase = Phase(
        "p", torch.optim.SGD(layer.parameters(), 0.1), lambda _: {"x": loss(_)}, [Penalty("y", loss, 1.0, Cadence(8))]
    )
    with torch.autocast("cpu", torch.bfloat16):
        phase.play(turn(), lambda loss: None)
    assert seen == [torch.bfloat16, torch.float32]


def test_a_coin_falls_by_its_probability_and_again_the_same() -> None:
    falls = [turn(seed=seed).coin(0.25) for seed in range(400)]
    assert sum(falls) / 400 == pytest.approx(0.25, abs=0.07)
    assert falls == [turn(seed=seed).coin(0.25) for seed in range(400)]
    assert not any(turn(seed=seed).coin(0.0) for seed in range(20))
    assert all(turn(seed=seed).coin(1.0) for seed in range(20))

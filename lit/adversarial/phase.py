"""Phases of an adversarial step: each player's losses, its optimiser, and the penalties that are due now and then.

Source: lazy regularisation of Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020,
section 3.1 and appendix B; its cadence counts images here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from detectors.precision import full_precision
from lit.adversarial.image_cadence import Cadence


@dataclass(frozen=True)
class Turn:
    """What a phase knows of the step that it is part of.

    Attributes:
        batch: real data of this process.
        seen: images before this step, and
        step: images of this step, both over all processes.
        draw: random numbers of this step and phase, the same on all processes, which take their parts of what is drawn
            for the whole batch (:mod:`lit.networks.batch_draws`); a coin that decides over one phase falls from it.
    """

    batch: Any
    seen: int
    step: int
    draw: torch.Generator

    def coin(self, probability: float) -> bool:
        """True with a probability, once for the whole batch."""
        return bool(torch.rand((), generator=self.draw, device=self.draw.device) < probability)

    def due(self, cadence: Cadence) -> bool:
        """Whether something is due in this step."""
        return cadence.due(self.seen, self.step)


@dataclass(frozen=True)
class Penalty:
    """A regularisation with an optimiser step of its own, as much stronger as it is rarer, in full precision.

    Attributes:
        name: under which it is logged, without its weight.
        loss: its value.
        weight: of the loss if it were taken in every step.
        cadence: when it is due.
    """

    name: str
    loss: Callable[[Turn], Tensor]
    weight: float
    cadence: Cadence


@dataclass(frozen=True)
class Phase:
    """One player's part of a step.

    Attributes:
        name: of the player.
        optimizer: of the parameters that it trains; those of all other phases stand still meanwhile.
        losses: weighted terms whose sum it descends, by the names under which they are logged.
        penalties: taken afterwards, one by one.
    """

    name: str
    optimizer: Optimizer
    losses: Callable[[Turn], Mapping[str, Tensor]]
    penalties: Sequence[Penalty] = ()

    def play(self, turn: Turn, descend: Callable[[Tensor], None]) -> dict[str, Tensor]:
        """Take the phase's steps, each by ``descend`` along a loss's gradients. Returns the losses."""
        losses = dict(self.losses(turn))
        descend(torch.stack(list(losses.values())).sum())
        for penalty in self.penalties:
            if turn.due(penalty.cadence):
                with full_precision(turn.draw.device):
                    losses[penalty.name] = penalty.loss(turn)
                    descend(penalty.weight * penalty.cadence.gain(turn.step) * losses[penalty.name])
        return losses


def lazy_adam(parameters: Iterable[nn.Parameter], lr: float, intervals: Sequence[int], beta2: float = 0.99) -> Adam:
    """Adam without momentum whose rate and decay allow for the steps of penalties.

    Args:
        parameters: what it trains.
        lr: rate of a training without penalties.
        intervals: steps from one to the next of each penalty; 0 for one that is never due.
        beta2: decay of the second moment in such a training.
    """
    share = 1 / (1 + sum(1 / interval for interval in intervals if interval))
    return Adam(parameters, lr * share, betas=(0.0, beta2**share))

"""Adversarial training as a LightningModule: subclasses name phases and an average of weights, nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.optim import Optimizer

from datamodules.randomness import derive
from detectors.rank_counts import mean_over_ranks
from lit.adversarial.phase import Phase, Turn
from lit.adversarial.rank_average import average_gradients
from lit.adversarial.weight_average import WeightAverage
from lit.generators.base import Generator
from lit.networks.batch_draws import part_of_batch


class AdversarialGenerator(Generator):
    """Plays the phases of every step by manual optimisation, and lets an average follow the generator.

    All draws of a step follow from (seed, images seen), for the batch of all processes, of which each takes its part: a
    resumed run goes on with the draws it would have made, and many processes draw what one with the whole batch draws.
    Every process averages the gradients itself before an optimiser's step, because DDP's own hooks expect one backward
    pass a step through all parameters; use ``strategy: ddp``. Backward passes and steps go through Lightning's
    precision plugin: with ``16-mixed`` its scaler leaves out steps whose gradients overflow.

    Args:
        total_images: training stops after so many real images.
        seed: of all draws.
        stream: name of the draws from torch's own generator.

    Attributes:
        averaging: set by subclasses.
    """

    averaging: WeightAverage

    def __init__(self, total_images: int, seed: int, stream: str = "noise") -> None:
        super().__init__(total_images, final_lr=1.0, warmup=0.0)  # the published rates are constant
        self.automatic_optimization = False
        self.seed, self.stream = seed, stream

    def phases(self) -> Sequence[Phase]:
        """The phases of a step, in order, with new optimisers."""
        raise NotImplementedError

    def configure_optimizers(self) -> list[Optimizer]:
        self.played = self.phases()
        return [phase.optimizer for phase in self.played]

    def draw(self, *keys: int | str) -> torch.Generator:
        """The random generator of these keys, the same on all processes."""
        return torch.Generator(self.device).manual_seed(self.number(*keys))

    def number(self, *keys: int | str) -> int:
        """The random number of these keys in [0, 2**62)."""
        return int(derive(self.seed, 0, *keys).integers(2**62))

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """One turn of every phase on a batch with ``images``. Returns the losses."""
        with part_of_batch(self.global_rank, self.trainer.world_size):
            losses = self.play(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        self.count_images(len(batch.images))
        return losses

    def play(self, batch: Any) -> dict[str, Tensor]:
        """The phases of a step, and what follows the generator. Returns the losses of all processes."""
        seen, step = self.images_seen, len(batch.images) * self.trainer.world_size
        torch.manual_seed(int(derive(self.seed, seen, 0, self.stream).integers(2**62)))
        losses: dict[str, Tensor] = {}
        optimizers: Any = self.optimizers()
        several = optimizers if isinstance(optimizers, list) else [optimizers]
        for phase, optimizer in zip(self.played, several, strict=True):
            turn = Turn(batch, seen, step, self.draw(seen, phase.name))
            with optimizer.toggle_model(sync_grad=False):
                losses |= phase.play(turn, partial(self.descend, optimizer))
        self.averaging.follow(seen, step)
        whole = mean_over_ranks(torch.stack([value.detach() for value in losses.values()]))
        return dict(zip(losses, whole))

    def descend(self, optimizer: Any, loss: Tensor) -> None:
        """Step along the gradients of all processes."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        precision = self.trainer.precision_plugin
        scaled = isinstance(precision, MixedPrecision) and precision.scaler is not None
        average_gradients((p for group in optimizer.param_groups for p in group["params"]), finite=not scaled)
        optimizer.step()

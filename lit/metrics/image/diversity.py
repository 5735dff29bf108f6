"""Sample diversity: how different the images are that a generator makes of one condition (pix2pix3D's SG diversity)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.features.extractors import to_uint8
from lit.features.lpips_distance import LpipsDistance
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.sample_keys import distinct, sample_keys
from lit.weights.files import require_file

VERSION = "1"  # recorded beside every figure; changes when a figure could


class SampleDiversity(GatheredRows):
    """Mean LPIPS over random pairs of samples of one condition, then mean over conditions.

    Every condition counts once over all processes, and the pairs depend on the seed and the condition's id only.

    Args:
        network: "alex" or "vgg", or "random" for an AlexNet with random weights (images of 64 pixels or more).
        weights: file with torchvision's state dict of the network; unused for "random".
        pairs: pairs a condition, without repetition; all of them when there are no more.
        seed: of the pairs, and of the random network.

    Raises:
        InputError: unknown network, or a weights file that is missing or of another network.
    """

    keys: list[Tensor]
    means: list[Tensor]

    def __init__(
        self, network: str = "random", weights: str | None = None, pairs: int = 10, seed: int = 0, **kwargs: Any
    ) -> None:
        keys, means = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
        super().__init__(keys=keys, means=means, **kwargs)
        if network not in ("alex", "vgg", "random"):
            raise InputError(f"LPIPS network '{network}': expected alex, vgg or random")
        if pairs < 1:
            raise InputError(f"pairs is {pairs}: expected at least 1")
        if network == "random":
            self.distance = LpipsDistance(None, "alex", seed)
        else:
            path = require_file(weights, f"LPIPS with {network}", "torchvision's state dict of the network")
            self.distance = LpipsDistance(str(path), network)
        self.pairs, self.seed = pairs, seed
        self.name = f"diversity/lpips-{network}{f'-{seed}' if network == 'random' else ''}"
        self.evaluator = {"name": self.name, "version": VERSION}

    @torch.no_grad()
    def update(self, samples: Tensor, condition_ids: Sequence[str] | Sequence[int]) -> None:
        """Add all samples of some conditions; those of one condition have to come together.

        Args:
            samples: (C, S, 3, H, W) RGB, uint8 or floats in [0, 1]: S images of each of C conditions.
            condition_ids: id of each condition.

        Raises:
            InputError: fewer than two samples, or images outside the declared range or dtype.
        """
        if samples.ndim != 5:
            raise InputError(f"samples have the shape {tuple(samples.shape)}: expected (conditions, samples, 3, H, W)")
        if samples.shape[1] < 2:
            raise InputError(f"{samples.shape[1]} samples a condition: diversity needs at least 2")
        keys = sample_keys(condition_ids, len(samples))
        means = []
        for key, group in zip(keys.tolist(), samples):
            images = to_uint8(group).to(self.device).float() / 255
            chosen = self._pairs(key, len(images))
            distances = [self.distance(images[i : i + 1], images[j : j + 1]) for i, j in chosen]
            means.append(torch.cat(distances).double().mean())
        if means:
            self.keep(keys=keys, means=torch.stack(means))

    def compute(self) -> float:
        """Mean over all distinct conditions.

        Raises:
            InputError: no condition was added, or a distance is not finite.
        """
        keys = self.held("keys")
        if not len(keys):
            raise InputError(f"{self.name}: no condition was added; call update with samples first")
        value = float(self.held("means")[distinct(keys)].mean())
        if not np.isfinite(value):
            raise InputError(f"{self.name}: a distance is NaN or infinite; check the network's weights")
        return value

    def _pairs(self, key: int, count: int) -> list[tuple[int, int]]:
        """Pairs of samples: all of them, or ``self.pairs`` drawn without repetition."""
        first, second = np.triu_indices(count, 1)
        if len(first) > self.pairs:
            drawn = derive(self.seed, key, "diversity").choice(len(first), self.pairs, replace=False)
            first, second = first[drawn], second[drawn]
        return list(zip(first.tolist(), second.tolist()))

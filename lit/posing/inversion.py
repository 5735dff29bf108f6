"""Inversion: the W+ latents and noise maps under which a StyleGAN2 generator shows given images.

Optimisation with the constants that the public projectors share (Karras et al. 2020, appendix D): latent noise that
fades out, a learning rate that is warmed up and ramped down, noise maps kept free of structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from datamodules.errors import InputError
from datamodules.processes import track
from datamodules.randomness import derive
from lit.features.layered_network import random_layers
from lit.features.lpips_distance import LpipsDistance
from lit.losses.regularisers import noise_structure
from lit.networks.stylegan2 import StyleGAN2Generator

MEAN_SAMPLES = 10_000
PERCEPTUAL_SIDE = 256  # larger images are averaged down before LPIPS


@dataclass(frozen=True)
class InversionSettings:
    """How images are inverted.

    Attributes:
        steps: of Adam.
        lr: its peak learning rate.
        warmup: share of the steps in which it rises linearly.
        rampdown: share of the steps in which it falls along a half cosine to 0.
        latent_noise: standard deviation of the noise on the latents at the start, in units of W's.
        latent_noise_until: share of the steps after which it has faded out, quadratically.
        mse_weight: of the mean squared difference, beside the perceptual distance.
        noise_weight: of the noise maps' regulariser.
        prior_weight: of the latents' mean squared distance from W's mean, in units of W's variance.
        seed: of every draw.
    """

    steps: int = 1000
    lr: float = 0.1
    warmup: float = 0.05
    rampdown: float = 0.25
    latent_noise: float = 0.05
    latent_noise_until: float = 0.75
    mse_weight: float = 1.0
    noise_weight: float = 1e5
    prior_weight: float = 0.0
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        done = step / self.steps
        fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - done) / self.rampdown))
        return self.lr * fall * min(1.0, (step + 1) / max(self.warmup * self.steps, 1.0))


@dataclass(frozen=True)
class Inversion:
    """What was found.

    Attributes:
        latents: (N, rows, w_dim).
        images: (N, 3, R, R), in [-1, 1], shown by the latents under the noise maps that were found with them.
        distances: (N,) perceptual and squared distance to the targets.
    """

    latents: Tensor
    images: Tensor
    distances: Tensor


def latent_statistics(generator: StyleGAN2Generator, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean (w_dim,) of W, and the root of the mean squared distance from it, over all widths together (as projectors
    define W's standard deviation)."""
    device = next(generator.parameters()).device
    z = torch.from_numpy(derive(seed, "latent statistics").standard_normal((MEAN_SAMPLES, generator.z_dim))).float()
    with torch.no_grad():
        w = generator.mapping(z.to(device))
    return w.mean(0), (w - w.mean(0)).square().sum(1).mean().sqrt()


class RandomFeatures:
    """Mean squared difference of fixed random features; those of one target are computed once."""

    def __init__(self) -> None:
        self.network = random_layers()
        self.target: Tensor | None = None
        self.wanted: list[Tensor] = []

    def __call__(self, shown: Tensor, target: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, R, R) in [0, 1]."""
        if target is not self.target:
            self.network.to(target.device)
            self.target = target
            with torch.no_grad():
                self.wanted = self.network.maps(target)
        pairs = zip(self.network.maps(shown), self.wanted)
        return torch.stack([(a - b).square().mean((1, 2, 3)) for a, b in pairs]).mean(0)


def image_distance(vgg16: str | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """Distances (N,) of images (N, 3, R, R) in [0, 1]: LPIPS given VGG16's weights, else fixed random features."""
    if vgg16 is None:
        return RandomFeatures()
    lpips = LpipsDistance(vgg16)

    def perceptual(shown: Tensor, target: Tensor) -> Tensor:
        lpips.to(shown.device)
        while shown.shape[-1] > PERCEPTUAL_SIDE:
            shown, target = F.avg_pool2d(shown, 2), F.avg_pool2d(target, 2)
        distances: Tensor = lpips(shown, target)
        return distances

    return perceptual


def invert(
    generator: StyleGAN2Generator,
    targets: Tensor,
    settings: InversionSettings | None = None,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch: int = 16,
    progress: bool = False,
) -> Inversion:
    """Find latents and noise maps for target images, each on its own; ``batch`` of them run side by side.

    Args:
        generator: left unchanged.
        targets: (N, 3, R, R) in [-1, 1].
        settings: None for the defaults.
        distance: of images in [0, 1], see :func:`image_distance`; None for fixed random features.
        batch: images at a time.
        progress: show a progress bar a batch.

    Raises:
        InputError: the targets have another size than the generator's images, or there are none.
    """
    settings, distance = settings or InversionSettings(), distance or image_distance()
    size = generator.synthesis.resolution
    if not len(targets) or targets.shape[1:] != (3, size, size):
        raise InputError(f"targets {tuple(targets.shape)}: expected one or more (3, {size}, {size}) as generated")
    mean, spread = latent_statistics(generator)
    frozen = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    generator.requires_grad_(False)
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, len(targets), batch):
        rows = range(start, min(start + batch, len(targets)))
        problem = _Problem(generator.synthesis, targets[start : start + batch].to(mean), mean, spread, settings, rows)
        for step in track(range(settings.steps), f"inverting {rows.stop} of {len(targets)}", disable=not progress):
            problem.step(step, distance)
        found.append(problem.result(distance))
    for parameter in frozen:
        parameter.requires_grad_(True)
    return Inversion(*(torch.cat(parts) for parts in zip(*found)))


class _Problem:
    """Some images that are inverted side by side; each draws from a generator of its own."""

    def __init__(
        self,
        synthesis: nn.Module,
        targets: Tensor,
        mean: Tensor,
        spread: Tensor,
        settings: InversionSettings,
        rows: range,
    ) -> None:
        self.synthesis, self.settings, self.spread, self.mean = synthesis, settings, spread, mean
        self.targets = targets * 0.5 + 0.5
        self.random = [derive(settings.seed, "inversion", row) for row in rows]
        count = int(synthesis.rows)  # type: ignore[arg-type]  # an attribute of SynthesisNetwork
        self.latents = mean.repeat(len(rows), count, 1).requires_grad_()
        names = [name for name, _ in synthesis.named_buffers() if name.endswith("noise_const")]
        sides = [synthesis.get_buffer(name).shape[-1] for name in names]
        self.noise = {name: self._draw(1, side, side).requires_grad_() for name, side in zip(names, sides)}
        self.optimizer = torch.optim.Adam([self.latents, *self.noise.values()], settings.lr)

    def _draw(self, *shape: int) -> Tensor:
        drawn = torch.stack([torch.from_numpy(random.standard_normal(shape, "f4")) for random in self.random])
        return drawn.to(self.mean)

    def _shown(self, latents: Tensor) -> Tensor:
        images: Tensor = functional_call(self.synthesis, self.noise, (latents,), {"noise": "const"})
        return images

    def _distances(self, images: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        shown, wanted = images * 0.5 + 0.5, self.targets
        return distance(shown, wanted) + self.settings.mse_weight * (shown - wanted).square().mean((1, 2, 3))

    def step(self, step: int, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
        settings = self.settings
        fade = max(0.0, 1.0 - step / settings.steps / settings.latent_noise_until) ** 2
        latents = self.latents
        if fade > 0:
            latents = latents + self._draw(*latents.shape[1:]) * (settings.latent_noise * fade * self.spread)
        losses = self._distances(self._shown(latents), distance)
        losses = losses + settings.noise_weight * sum(noise_structure(noise) for noise in self.noise.values())
        if settings.prior_weight:
            away = (self.latents - self.mean).square().sum(2).mean(1) / self.spread.square()
            losses = losses + settings.prior_weight * away
        self.optimizer.param_groups[0]["lr"] = settings.lr_at(step)
        self.optimizer.zero_grad()
        losses.sum().backward()  # the sum: no image's gradient depends on how many run beside it
        self.optimizer.step()
        with torch.no_grad():
            for noise in self.noise.values():
                noise -= noise.mean((1, 2, 3), keepdim=True)
                noise *= noise.square().mean((1, 2, 3), keepdim=True).add(1e-12).rsqrt()

    @torch.no_grad()
    def result(self, distance: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        images = self._shown(self.latents)
        return self.latents.detach(), images, self._distances(images, distance)

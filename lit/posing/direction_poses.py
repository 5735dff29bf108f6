"""Pose codes of a StyleGAN2 without renders: loops in the span of latent directions, read by a pose regressor.

Every loop lies in a random plane of the first SeFa directions of the pose rows, or of the first GANSpace directions,
around W's mean. Each of its codes is shown on several random cars, and a regressor of azimuth and elevation labels it;
codes about which cars or their mirror images disagree are dropped. The regressor stands in for the CAD model: it learns
from any posed image set, photographs annotated by hand included. Among the rest one code is kept for each of ``count``
azimuths, preferring those that agree with one body and one paint, since pose rows hold the coarse shape as well and
some of them overrule the paint.

Sources: Shen and Zhou, SeFa, CVPR 2021; Harkonen et al., GANSpace, NeurIPS 2020 (its car edits turn with rows 0 to 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.codes import pictures, posed, random_car
from lit.posing.inversion import latent_statistics
from lit.posing.latent_directions import ganspace, sefa
from lit.posing.silhouette_hull import agreement, carve
from lit.proxies.pose_regressor import PoseRegressor

STEPS = 24  # codes a loop
OFF = 0.02  # what it costs, in IoU, to lie one step of azimuth beside the wanted one (squared)
FAR = 100.0  # what each step beyond the first costs: only where no code is nearer
PAINT_COST = 1.0  # what another paint costs, in IoU: 1 between black and white
ROUNDS = 3  # of choosing and carving; the choice hardly changes after the second


@dataclass(frozen=True)
class DirectionSearch:
    """Where codes are looked for and which are good.

    Attributes:
        method: whose directions.
        directions: how many of the strongest span the loops.
        loops: how many, of 24 codes each.
        radius: of a loop: 1 is the typical distance of W's samples from their mean within that span.
        cars: random cars a code is labelled on.
        count: codes to keep, spread over the azimuth.
        max_spread: largest circular standard deviation of a code's azimuth over cars and mirrored cars, degrees.
        max_gap: largest gap of azimuth that may stay without a code, degrees.
        seed: of every draw.
    """

    method: Literal["sefa", "ganspace"]
    directions: int = 10
    loops: int = 24
    radius: float = 1.1
    cars: int = 4
    count: int = 64
    max_spread: float = 15.0
    max_gap: float = 45.0
    seed: int = 0


@dataclass(frozen=True)
class PoseLabels:
    """What the regressor says of N codes.

    Attributes:
        azimuth: (N,) circular mean over the readings, degrees in [0, 360).
        elevation: (N,) mean, degrees.
        spread: (N,) circular standard deviation of the azimuth, degrees.
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    spread: np.ndarray


@torch.no_grad()
def loop_codes(generator: StyleGAN2Generator, search: DirectionSearch, pose_layers: int) -> Tensor:
    """(N, w_dim) candidates: mean of W + radius (a cos t + b sin t), scaled by W's deviation along each direction.

    Raises:
        InputError: fewer than two directions, or more than W is wide.
    """
    if not 2 <= search.directions <= generator.w_dim:
        raise InputError(f"--directions {search.directions}: expected 2 to {generator.w_dim}, the generator's w_dim")
    rows = range(pose_layers)
    count = search.directions
    found = sefa(generator, rows, count) if search.method == "sefa" else ganspace(generator, 10_000, count, search.seed)
    mean = latent_statistics(generator)[0]
    vectors = found.vectors.to(mean)
    random = derive(search.seed, "pose loops")
    z = torch.from_numpy(random.standard_normal((4096, generator.z_dim), "f4")).to(mean)
    scale = ((generator.mapping(z) - mean) @ vectors.t()).std(0)
    turn = torch.arange(STEPS, device=mean.device) * (2 * math.pi / STEPS)
    circle = torch.stack([turn.cos(), turn.sin()], 1)  # STEPS 2
    loops = []
    for _ in range(search.loops):
        plane = torch.from_numpy(np.linalg.qr(random.standard_normal((count, 2)))[0]).to(mean)
        loops.append(circle @ plane.t() * (search.radius * math.sqrt(count) * scale))
    return mean + torch.cat(loops) @ vectors


def label(
    generator: StyleGAN2Generator, regressor: PoseRegressor, poses: Tensor, cars: list[Tensor], layers: int
) -> PoseLabels:
    """Azimuth and elevation of poses (N, rows, w_dim), averaged over cars (1, rows, w_dim) each.

    Every picture is read once more in the mirror, where a car has the opposite azimuth: a regressor that takes the
    front for the rear may well not do so in both.
    """
    answers = []
    for car in cars:
        images = pictures(generator, posed(poses, car, layers))
        sign = torch.tensor([-1.0, 1.0], device=images.device)
        answers += [regressor.pose(images), regressor.pose(images.flip(-1)) * sign]
    read = torch.stack(answers).cpu().double().numpy()  # readings N 2
    mean = np.exp(1j * np.deg2rad(read[..., 0])).mean(0)
    length = np.abs(mean).clip(1e-6, 1.0)
    azimuth = np.rad2deg(np.angle(mean)) % 360
    return PoseLabels(azimuth, read[..., 1].mean(0), np.rad2deg(np.sqrt(-2 * np.log(length))))


def labelling_cars(generator: StyleGAN2Generator, search: DirectionSearch, device: torch.device) -> list[Tensor]:
    """The random cars that codes are labelled on."""
    return [random_car(generator, derive(search.seed, "pose labels", car), device) for car in range(search.cars)]


def largest_gap(azimuth: np.ndarray) -> float:
    """Largest angle between neighbours among azimuths (N,) in degrees; 360 for none or one."""
    if len(azimuth) < 2:
        return 360.0
    ordered = np.sort(azimuth % 360)
    return float(np.diff(np.append(ordered, ordered[0] + 360)).max())


def trusted(labels: PoseLabels, search: DirectionSearch) -> np.ndarray:
    """Rows of the codes that the cars agree about.

    Raises:
        InputError: they leave too large a part of the circle without a code.
    """
    rows = np.flatnonzero(labels.spread <= search.max_spread)
    gap = largest_gap(labels.azimuth[rows])
    if gap > search.max_gap:
        raise InputError(
            f"--poses {search.method}: {len(rows)} of {len(labels.spread)} codes are trusted (--max-spread "
            f"{search.max_spread:g}), and their largest gap of azimuth is {gap:.0f} degrees, expected at most "
            f"{search.max_gap:g}; raise --directions, --loops or --max-gap, or take --poses templates"
        )
    return rows


def nearest(azimuth: np.ndarray, cost: np.ndarray, count: int) -> np.ndarray:
    """Rows, by azimuth, of the codes that together are the best for ``count`` evenly spread azimuths, one each.

    Args:
        azimuth: (N,) degrees.
        cost: (N,) of taking a code, beside its distance from the wanted azimuth.
        count: wanted azimuths; with fewer codes all of them are taken.
    """
    step = 360 / count
    wanted = (np.arange(count) + 0.5) * step
    away = ((azimuth - wanted[:, None] + 180) % 360 - 180) / step
    chosen = linear_sum_assignment(OFF * away**2 + FAR * np.maximum(np.abs(away) - 1, 0) + cost)[1]
    return np.asarray(chosen[np.argsort(azimuth[chosen])])


def choose(azimuth: np.ndarray, masks: np.ndarray, paint: np.ndarray, projection: np.ndarray, count: int) -> np.ndarray:
    """Rows of up to ``count`` codes spread over the azimuth that show one body in one paint as well as they can.

    A body is carved from the silhouettes of the codes chosen so far, and their median is the paint; then those that fit
    both best are chosen.

    Args:
        azimuth: (N,) degrees.
        masks: (N, S, S) bool of one car in all poses.
        paint: (N, C) mean colours in [0, 255] of one or several cars in all poses.
        projection: (N, 3, 4) canonical cube to pixels.
        count: azimuths.
    """
    cost = np.zeros(len(azimuth))
    for _ in range(ROUNDS):
        chosen = nearest(azimuth, cost, count)
        fit = agreement(carve(masks[chosen], projection[chosen]), masks, projection)
        cost = 1 - fit + PAINT_COST * np.abs(paint - np.median(paint[chosen], 0)).mean(1) / 255
    return nearest(azimuth, cost, count)

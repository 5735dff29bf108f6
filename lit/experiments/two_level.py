"""Two-level bootstrap of a difference between two arms: over training seeds, and over the scenes evaluated.

A figure varies with the seed of the training and with the scenes that happen to be evaluated. Both are resampled: each
draw takes as many seeds with replacement (paired between the arms) and as many groups of frames (drives, scenes; single
frames where they are none), the same groups for both arms and all seeds, and averages AP(arm) - AP(other) over the
seeds. Seeds and frames are crossed, which makes the interval over both slightly too wide where single frames answer
single seeds (A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007).

Percentiles of few seeds or drives are too narrow: resampling n values understates their variance by (n - 1)/n, and
knows nothing of Student's t. Deviations of each level are therefore scaled by sqrt(n/(n - 1)), and the 95 % percentiles
about the mean by t/z (T. Hesterberg, What Teachers Should Know About the Bootstrap, 2015, on narrowness bias), with
n - 1 degrees of freedom, and those of Welch and Satterthwaite for both levels. With seeds alone this is close to the
paired t interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import stats

from datamodules.errors import InputError
from datamodules.randomness import derive

Interval = tuple[float, float]


class RecordedRun(Protocol):
    """What a run recorded frame by frame, such as :class:`lit.metrics.kitti.curve_files.RecordedFrames`."""

    @property
    def samples(self) -> tuple[str, ...]:
        """Ids of the frames."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """The drive or scene of each frame."""
        ...

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        """A figure over some frames (indices, with repeats); None for each once."""
        ...


@dataclass(frozen=True)
class TwoLevel:
    """A mean difference (arm - other) of a figure, with 95 % intervals; None where a level has a single member.

    Attributes:
        figure: name of the figure.
        delta: mean over the common seeds, all frames.
        both: interval when seeds and scenes vary.
        by_seed: interval when only the seed varies.
        by_scene: interval when only the scenes vary.
        seeds: number of common seeds.
        frames: number of frames.
        scenes: number of groups that the frames form.
        draws: number of bootstrap draws.
    """

    figure: str
    delta: float
    both: Interval | None
    by_seed: Interval | None
    by_scene: Interval | None
    seeds: int
    frames: int
    scenes: int
    draws: int


def two_level(
    arm: Mapping[int, RecordedRun],
    other: Mapping[int, RecordedRun],
    figure: str,
    names: tuple[str, str],
    draws: int = 1000,
) -> TwoLevel | None:
    """Compare two arms over the seeds both have.

    Args:
        arm: seed to what its run recorded.
        other: the same of the arm it is compared with.
        figure: such as "car/3d/moderate/0.5".
        names: of the two arms; with the figure they seed the draws, so that a page built twice says the same, and a
            comparison the other way round is its mirror image.
        draws: number of bootstrap draws.

    Returns:
        The difference, or None without a common seed.

    Raises:
        InputError: two runs were not evaluated on the same frames, or one did not record the figure.
    """
    common = sorted(arm.keys() & other.keys())
    if not common:
        return None
    groups = _shared_groups({f"{name} (seed {s})": of[s] for name, of in zip(names, (arm, other)) for s in common})
    members = np.unique(groups, return_inverse=True)[1]
    scenes = int(members.max()) + 1
    rng = derive(0, "two_level", figure, *sorted(names))
    picks = rng.integers(0, len(common), (draws, len(common)))
    drawn = np.stack([np.bincount(row, minlength=scenes) for row in rng.integers(0, scenes, (draws, scenes))])
    plain = np.array([arm[s].ap(figure) - other[s].ap(figure) for s in common])
    delta = float(plain.mean())
    resampled = np.empty((draws, len(common)))
    for draw in range(draws if scenes > 1 else 0):
        frames = np.repeat(np.arange(len(members)), drawn[draw][members])
        resampled[draw] = [arm[s].ap(figure, frames) - other[s].ap(figure, frames) for s in common]
    seeds = len(common)
    by_seed = by_scene = both = None
    if seeds > 1:
        by_seed = _interval(delta, _widening(seeds) * (plain[picks].mean(1) - delta), seeds - 1)
    if scenes > 1:
        means = resampled.mean(1)
        of_scenes = _widening(scenes) * (means - delta)
        by_scene = _interval(delta, of_scenes, scenes - 1)
        if by_seed and by_scene:
            of_seeds = _widening(seeds) * (np.take_along_axis(resampled, picks, 1).mean(1) - means)
            spreads = np.array([of_seeds.var(), of_scenes.var()])
            freedom = float(spreads.sum() ** 2 / (spreads**2 / [seeds - 1, scenes - 1]).sum())
            both = _interval(delta, of_seeds + of_scenes, freedom)
    return TwoLevel(figure, delta, both, by_seed, by_scene, seeds, len(members), scenes, draws)


def _shared_groups(runs: Mapping[str, RecordedRun]) -> tuple[str, ...]:
    """The groups of the frames, which all runs must share.

    Raises:
        InputError: a run has other frames than the first.
    """
    first = next(iter(runs))
    for name, run in runs.items():
        if (run.samples, run.groups) != (runs[first].samples, runs[first].groups):
            raise InputError(
                f"{name} was evaluated on {len(run.samples)} frames, expected the {len(runs[first].samples)} frames of "
                f"{first} in the same scenes; evaluate both on the same split"
            )
    if not runs[first].samples:
        raise InputError(
            f"{first} was evaluated on no frame, expected at least one; evaluate it on a split with frames"
        )
    return runs[first].groups


def _widening(count: int) -> float:
    """What makes the spread of resampled means of ``count`` values that of the means of new values."""
    return float(np.sqrt(count / (count - 1)))


def _interval(delta: float, deviations: np.ndarray, freedom: float) -> Interval | None:
    """The 95 % interval of deviations from a mean; None where they do not vary."""
    low, high = np.quantile(deviations, [0.025, 0.975])
    if np.ptp(deviations) <= 1e-9 * max(1.0, abs(delta)):  # roundings of equal numbers
        return None
    expansion = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    return delta + float(expansion * low), delta + float(expansion * high)

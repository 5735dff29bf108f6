"""Whether arms injected alike: distances, sizes, angles, occlusion and counts compared from what each run recorded.

An arm's histograms are summed over its seeds and compared with the arms' at the same number of labelled frames: the
median of their cumulative shares, which one arm that is off does not move (of two arms, with the other's). The measure
is the largest gap between the two: Kolmogorov and Smirnov's D, and for angles Kuiper's V, which no choice of zero
changes. Binning can only make both smaller, and with tens of thousands of objects any gap is significant; so a warning
needs D or V above :data:`LIMIT` as well as a p-value below :data:`LEVEL`. Objects count as independent draws. They are
not quite (frames come again in every pass), which the limit answers, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from scipy import stats

from datamodules.files.typed_json import Finite, structure
from lit.results import Line, Result

ORACLES = (
    "All arms place their objects with the same knowledge of the training frames: the true road mask and the instance"
    " masks of the labelled objects (where the data set has both), and the ground fitted to their labelled boxes."
)
LIMIT = 0.1  # a tenth of the objects would have to move for the arms to agree
LEVEL = 0.01
COUNT = "objects a frame"
UNITS = {
    "depth": "m", "height": "px", "length": "m", "alpha": "", "yaw": "", "occlusion": "", "truncation": "", COUNT: "",
}  # fmt: skip
CIRCULAR = ("alpha", "yaw")
CROP = "a pasted crop keeps the ray, the angle and the size it was taken at"
RECOMPOSED = "an object keeps the side that its picture shows and its size"
CENTRED = "its objects stand in the middle of the image, at the angle they were generated with"
BY_METHOD = {  # class of the source, and what it cannot help
    "CopyPasteSource": dict.fromkeys(("alpha", "yaw", "length"), CROP)
    | {"truncation": "crops cut off by the border of their picture are not pasted"},
    "RecompositionSource": dict.fromkeys(("alpha", "yaw", "length"), RECOMPOSED)
    | {"occlusion": "each frame draws a limit of its own for what may be hidden"},
    "CentrePaste": dict.fromkeys(("depth", "height", "length", "alpha", "yaw", "occlusion", "truncation"), CENTRED),
}
Whole = Annotated[int, Meta(ge=0, le=10**12)]
Bins = Annotated[list[Whole], Meta(max_length=200)]


class ClassCounts(msgspec.Struct):
    """One class's objects: how many, frames by their number, and quantity to counts."""

    objects: Whole
    frames: Bins
    bins: dict[Line, Bins]


class Counted(msgspec.Struct):
    """One kind of objects of a run, by class (:mod:`lit.callbacks.injected`)."""

    images: Whole
    edges: dict[Line, Annotated[list[Finite], Meta(min_length=2, max_length=201)]]
    classes: dict[Line, ClassCounts]
    distinct: Whole = 0
    source: Line | None = None
    pool: Whole | None = None

    def __post_init__(self) -> None:
        """Check that counts and edges belong together."""
        for name, found in self.classes.items():
            lengths = {key: len(counts) + 1 for key, counts in found.bins.items()}
            if lengths != {key: len(edges) for key, edges in self.edges.items()}:
                raise ValueError(f"bins of {name} for {sorted(lengths)}, expected one fewer than edges for each")


class Setting(NamedTuple):
    """Runs whose arms are compared: one data set, one number of labelled frames, one class of objects."""

    dataset: str
    frames: int | None
    labelled: bool
    name: str


@dataclass(frozen=True)
class Comparison:
    """One arm's objects beside those that are usual among the arms, in one quantity.

    Attributes:
        quantity: a key of :data:`UNITS`.
        distance: D or V, in [0, 1].
        p: of the test that both were drawn from one distribution.
        own: the arm's median; None for angles.
        usual: the median usual among the arms.
        method: why the method itself differs here, or None where it should not.
    """

    quantity: str
    distance: float
    p: float
    own: float | None
    usual: float | None
    method: str | None

    @property
    def differs(self) -> bool:
        """Whether the difference is large, and more than chance."""
        return self.distance > LIMIT and self.p < LEVEL

    def __str__(self) -> str:
        unit = f" {UNITS[self.quantity]}" if UNITS[self.quantity] else ""
        medians = "" if self.own is None else f"median {self.own:.3g} against {self.usual:.3g}{unit}, "
        chance = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        return f"{self.quantity} ({medians}{'V' if self.quantity in CIRCULAR else 'D'} = {self.distance:.2f}, {chance})"


@dataclass(frozen=True)
class ArmObjects:
    """What an arm injected in one setting, over all its seeds.

    Attributes:
        arm: its name.
        setting: where.
        seeds: its runs.
        images: training frames of all runs.
        objects: injected objects of all runs.
        distinct: distinct ones a run, mean over seeds.
        passes: how often each of them was injected in a run, mean over seeds.
        pool: least and most distinct objects that a run's source held; None where there is no end of them.
        edges: quantity to bin edges.
        counts: quantity to counts.
        comparisons: with the arms of the setting; empty where there is none.
    """

    arm: str
    setting: Setting
    seeds: tuple[int, ...]
    images: int
    objects: int
    distinct: float
    passes: float
    pool: tuple[int, int] | None
    edges: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    source: str | None = None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def differing(self) -> list[Comparison]:
        """Where it differs from the other arms though its method need not."""
        return [found for found in self.comparisons if found.differs and found.method is None]

    @property
    def notes(self) -> list[str]:
        """Where it differs by its method, and why."""
        return [f"{found}: {found.method}" for found in self.comparisons if found.differs and found.method]


def read_arms(results: Iterable[Result], kind: str = "injected") -> list[ArmObjects]:
    """What the arms of some records injected (or, by kind "labelled", what was labelled in the frames they saw).

    Records without such counts, and arms that injected nothing, are left out. Of records that count the same run twice
    (on two splits) one is taken, and of those with other bins than the first record's none.

    Raises:
        InputError: a record's counts are no counts.
    """
    runs: dict[tuple[Setting, str], dict[tuple[int, tuple[int, int] | None], Counted]] = defaultdict(dict)
    edges: dict[str, list[float]] | None = None
    for result in results:
        content = result.content.get(kind)
        if result.error is not None or content is None:
            continue
        found: Counted = structure(result.path, kind, content, Counted)
        edges = edges or found.edges
        for name in found.classes if found.edges == edges else ():
            human = result.content.get("human_labels") is not False
            place = Setting(result.dataset, result.frames, human, name), result.arm
            runs[place][result.seed, result.fold] = found
    return [_pooled(arm, setting, seeds) for (setting, arm), seeds in runs.items()]


def _pooled(arm: str, setting: Setting, runs: dict[tuple[int, tuple[int, int] | None], Counted]) -> ArmObjects:
    every = list(runs.values())
    own = [run.classes[setting.name] for run in every]
    edges = {key: np.array(edge) for key, edge in every[0].edges.items()}
    counts = {key: np.sum([np.array(found.bins[key], np.int64) for found in own], 0) for key in edges}
    counts[COUNT] = np.sum([np.array(found.frames, np.int64) for found in own], 0)
    edges[COUNT] = np.arange(len(counts[COUNT]) + 1) - 0.5
    pools = [run.pool for run in every if run.pool is not None]
    return ArmObjects(
        arm,
        setting,
        tuple(sorted({seed for seed, _ in runs})),
        sum(run.images for run in every),
        sum(found.objects for found in own),
        float(np.mean([run.distinct for run in every])),
        float(np.mean([found.objects / max(run.distinct, 1) for found, run in zip(own, every)])),
        (min(pools), max(pools)) if len(pools) == len(every) else None,
        edges,
        counts,
        every[0].source,
    )


def compare_arms(results: Iterable[Result]) -> list[ArmObjects]:
    """What each arm injected, compared with what is usual in its setting; settings in the order of the records.

    Raises:
        InputError: a record's counts are no counts.
    """
    groups: dict[Setting, list[ArmObjects]] = defaultdict(list)
    for found in read_arms(results):
        groups[found.setting].append(found)
    return [_compared(arm, arms) for arms in groups.values() for arm in arms]


def _compared(arm: ArmObjects, arms: Sequence[ArmObjects]) -> ArmObjects:
    methods, found = BY_METHOD.get(arm.source or "", {}), []
    # An arm whose method differs in a quantity says nothing there of what is usual.
    for quantity, own in arm.counts.items():
        fit = [other for other in arms if quantity not in BY_METHOD.get(other.source or "", {})]
        fit = [other for other in fit if other is not arm] if len(fit) < 3 else fit
        theirs = [other.counts[quantity] for other in fit if other.counts[quantity].sum()]
        if not own.sum() or not theirs or quantity not in UNITS:
            continue
        share = np.diff(np.median([np.cumsum(counts / counts.sum()) for counts in theirs], 0), prepend=0.0)
        size = float(np.mean([counts.sum() for counts in theirs]))
        distance, p = two_sample(own, share, size, quantity in CIRCULAR)
        ends: list[float | None] = [None, None]
        if quantity not in CIRCULAR:
            ends = [median(values, arm.edges[quantity]) for values in (own, share)]
        found.append(Comparison(quantity, distance, p, ends[0], ends[1], methods.get(quantity)))
    return ArmObjects(**{**arm.__dict__, "comparisons": tuple(found)})


def two_sample(counts: np.ndarray, share: np.ndarray, size: float, circular: bool = False) -> tuple[float, float]:
    """Distance of two binned samples, and the p-value of their having one distribution.

    Args:
        counts: (K,) of one sample.
        share: (K,) of the other, summing to one.
        size: of the other.
        circular: whether the last bin is beside the first (Kuiper 1960), else Kolmogorov and Smirnov's test.

    Returns:
        The distance in [0, 1] and p, with Stephens' (1970) approximation for finite samples.
    """
    gap = np.cumsum(counts / counts.sum() - share)
    root = np.sqrt(counts.sum() * size / (counts.sum() + size))
    if not circular:
        distance = float(np.abs(gap).max())
        return distance, float(stats.kstwobign.sf((root + 0.12 + 0.11 / root) * distance))
    distance = float(max(gap.max(), 0.0) - min(gap.min(), 0.0))
    scaled = ((root + 0.155 + 0.24 / root) * distance) ** 2
    if scaled < 0.16:  # where the series below has not converged, p is 1 to many digits
        return distance, 1.0
    terms = np.arange(1, 101) ** 2 * scaled
    return distance, float(np.clip((2 * (4 * terms - 1) * np.exp(-2 * terms)).sum(), 0, 1))


def median(counts: np.ndarray, edges: np.ndarray) -> float:
    """Median of binned values, taken evenly spread within a bin."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    return float(np.interp(0.5, cumulative, edges))


def arm_warnings(arms: Iterable[ArmObjects]) -> list[str]:
    """One line for each arm that differs from the others beyond its picture, of :func:`compare_arms`."""
    lines = []
    for arm in arms:
        if differing := arm.differing:
            frames = f"{arm.setting.frames or 'all'} frames"
            where = "; ".join(map(str, differing))
            lines.append(f"{arm.arm} at {frames} injected {arm.setting.name}s unlike the other arms: {where}")
    return lines


def arm_rows(arms: Iterable[ArmObjects]) -> list[dict[str, Any]]:
    """Plain values for a table, one row an arm and setting, of :func:`compare_arms`."""
    return [
        {
            "arm": arm.arm,
            "dataset": arm.setting.dataset,
            "frames": arm.setting.frames,
            "class": arm.setting.name,
            "seeds": list(arm.seeds),
            "objects": arm.objects,
            "objects_per_frame": arm.objects / max(arm.images, 1),
            "distinct": arm.distinct,
            "pool": arm.pool,
            "passes": arm.passes,
            "medians": {key: median(arm.counts[key], arm.edges[key]) for key in ("depth", "height", "length")},
            "distances": {found.quantity: found.distance for found in arm.comparisons},
            "differs": [str(found) for found in arm.differing],
            "by_method": arm.notes,
        }
        for arm in arms
    ]

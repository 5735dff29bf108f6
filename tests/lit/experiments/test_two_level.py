"""The two-level bootstrap on simulated runs, and on recorded frames of a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from datamodules.errors import InputError
from lit.experiments.identical_seeds import identical_seeds
from lit.experiments.two_level import two_level
from lit.metrics.kitti.curve_files import RecordedFrames
from lit.metrics.kitti.figures import recorded_figures
from lit.metrics.kitti.frame_curves import trace_frames
from lit.metrics.kitti.rows import pack
from tests.lit.metrics.kitti.kitti_frames import random_frames

NAMES = ("lift3d", "none")


@dataclass(frozen=True)
class Simulated:
    """A run whose figure is the mean of a value a frame."""

    values: np.ndarray
    groups: tuple[str, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        return tuple(f"{k:06d}" for k in range(len(self.values)))

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        return float(self.values.mean() if frames is None else self.values[frames].mean())


def arms(
    rng: np.random.Generator, seeds: int, scenes: int, members: int = 1, spread: tuple[float, float] = (1.0, 4.0)
) -> tuple[dict[int, Simulated], dict[int, Simulated]]:
    """Two arms without a true difference; each seed, and each scene, moves it by chance."""
    groups = tuple(f"scene {k // members}" for k in range(scenes * members))
    of_scenes = np.repeat(rng.normal(0, spread[1], scenes), members)
    shared = rng.normal(0, 3, len(groups))
    arm = {s: Simulated(shared + of_scenes + rng.normal(0, spread[0]), groups) for s in range(seeds)}
    return arm, {s: Simulated(shared, groups) for s in range(seeds)}


@pytest.mark.parametrize(("seeds", "scenes", "members"), [(6, 30, 1), (4, 6, 5)])
def test_intervals_cover_as_they_say(seeds: int, scenes: int, members: int) -> None:
    rng = np.random.default_rng(0)
    inside = {"both": 0, "by_seed": 0}
    for _ in range(150):
        found = two_level(*arms(rng, seeds, scenes, members), "ap", NAMES, draws=150)
        assert found is not None
        assert found.both is not None
        assert found.by_seed is not None
        inside["both"] += found.both[0] <= 0 <= found.both[1]
        inside["by_seed"] += found.by_seed[0] <= 0 <= found.by_seed[1]
    assert 0.89 <= inside["both"] / 150 <= 0.995
    assert inside["by_seed"] < inside["both"]  # scenes vary, too


def test_seeds_alone_give_about_the_paired_t_interval() -> None:
    arm, other = arms(np.random.default_rng(1), 8, 20)
    found = two_level(arm, other, "ap", NAMES, draws=4000)
    assert found is not None
    differences = [arm[s].ap("ap") - other[s].ap("ap") for s in arm]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.delta == pytest.approx(np.mean(differences))
    assert found.by_seed == pytest.approx(tuple(expected), abs=0.15 * (expected.high - expected.low))
    assert (found.seeds, found.frames, found.scenes, found.draws) == (8, 20, 20, 4000)


def test_frames_of_a_scene_are_drawn_together() -> None:
    """Copies of a frame within its scene add nothing; taken for scenes of their own they would narrow the interval."""
    arm, other = arms(np.random.default_rng(2), 3, 8)
    groups = tuple(f"scene {k // 5}" for k in range(40))
    many = [{s: Simulated(np.repeat(run.values, 5), groups) for s, run in of.items()} for of in (arm, other)]
    once, copied = two_level(arm, other, "ap", NAMES), two_level(many[0], many[1], "ap", NAMES)
    apart = [{s: Simulated(r.values, tuple(map(str, range(40)))) for s, r in of.items()} for of in many]
    narrow = two_level(apart[0], apart[1], "ap", NAMES)
    assert once is not None
    assert copied is not None
    assert narrow is not None
    assert copied.by_scene == pytest.approx(once.by_scene)
    assert width(narrow.by_scene) < 0.7 * width(once.by_scene)


def width(interval: tuple[float, float] | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


def test_the_same_names_draw_the_same_and_the_other_way_round_is_the_mirror_image() -> None:
    arm, other = arms(np.random.default_rng(3), 4, 12)
    found, again = (two_level(arm, other, "ap", NAMES) for _ in range(2))
    mirrored = two_level(other, arm, "ap", ("none", "lift3d"))
    assert found == again
    assert found is not None
    assert mirrored is not None
    assert found.both is not None
    assert mirrored.both == pytest.approx((-found.both[1], -found.both[0]))


def test_one_seed_or_one_scene_has_no_interval() -> None:
    arm, other = arms(np.random.default_rng(4), 3, 5)
    single = two_level({0: arm[0]}, {0: other[0]}, "ap", NAMES)
    assert single is not None
    assert (single.both, single.by_seed) == (None, None)
    assert single.by_scene is not None
    alone = two_level(*arms(np.random.default_rng(4), 3, 1, 9), "ap", NAMES)
    assert alone is not None
    assert (alone.both, alone.by_scene, alone.scenes, alone.frames) == (None, None, 1, 9)
    assert alone.by_seed is not None
    same = two_level(arm, arm, "ap", NAMES)
    assert same is not None
    assert (same.delta, same.both, same.by_seed, same.by_scene) == (0.0, None, None, None)
    assert two_level({0: arm[0]}, {1: other[1]}, "ap", NAMES) is None


def test_runs_on_other_frames_are_refused() -> None:
    arm, other = arms(np.random.default_rng(5), 2, 5)
    other[1] = Simulated(other[1].values[:4], other[1].groups[:4])
    with pytest.raises(InputError, match=r"none \(seed 1\) was evaluated on 4 frames, expected the 5 frames of lift3d"):
        two_level(arm, other, "ap", NAMES)


def test_recorded_frames_of_a_detector() -> None:
    gt = random_frames(1, 30)[0]
    runs: list[dict[int, RecordedFrames]] = [{}, {}]
    ids = tuple(f"{k:06d}" for k in range(30))
    for seed in range(3):
        for arm, noise in zip(runs, (0.5, 1.0)):
            rng = np.random.default_rng([seed, int(noise * 10)])
            pred = random_frames(1, 30)[1]
            table = pack(pred, scored=True)
            table.rows[:, 11:14] += rng.normal(0, noise, (len(table.rows), 3))
            curves = trace_frames(pack(gt, scored=False), table, recorded_figures({"car": [0.3]}, ()))
            arm[seed] = RecordedFrames(ids, ids, curves)
    found = two_level(runs[0], runs[1], "car/3d/moderate/0.3", NAMES, draws=200)
    assert found is not None
    assert found.both is not None
    assert found.delta > 0
    assert found.both[0] < found.delta < found.both[1]
    with pytest.raises(InputError, match="is not recorded"):
        two_level(runs[0], runs[1], "car/3d/moderate/0.9", NAMES)


def test_seeds_that_agree_to_the_last_digit_are_found() -> None:
    one = {"car/3d/moderate/0.5": 12.25, "car/3d/moderate/0.7": 0.0}
    metrics = {3: one, 0: {**one}, 1: {**one, "car/3d/moderate/0.5": 12.250001}, 7: {**one}}
    assert identical_seeds(metrics) == [(0, 3), (0, 7), (3, 7)]
    assert identical_seeds({0: {"car": 0.0, "ATE": 1.0}, 1: {"car": 0.0, "ATE": 1.0}}) == []
    assert identical_seeds({0: one}) == []

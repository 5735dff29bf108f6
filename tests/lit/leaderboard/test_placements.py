from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.scene import Frame, Objects
from lit.leaderboard.placements import Placements, histograms, sample_distance
from tests.datamodules.injection_scenes import box_at, label_of, road_frame

values = st.lists(st.integers(0, 20), min_size=2, max_size=30)


@settings(max_examples=60, deadline=None)
@given(one=values, other=values)
def test_the_distance_is_kolmogorov_s(one: list[int], other: list[int]) -> None:
    expected = stats.ks_2samp(one, other, method="asymp").statistic
    assert sample_distance(np.array(one, float), np.array(other, float)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), turn=st.floats(0, 6))
def test_for_angles_no_choice_of_zero_changes_it(seed: int, turn: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.uniform(0, 6.28, 20), rng.uniform(0, 3, 30)
    plain = sample_distance(one, other, True)
    turned = sample_distance((one + turn) % (2 * np.pi), (other + turn) % (2 * np.pi), True)
    assert turned == pytest.approx(plain, abs=1e-9)


def injected(frame: Frame, *boxes: Boxes3D) -> Frame:
    new = replace(label_of(Boxes3D.concatenate(boxes)), provenance=np.full(len(boxes), "made"))
    return frame.with_(objects=Objects.concatenate([frame.objects, new]))


def test_injected_and_labelled_objects_are_told_apart() -> None:
    found = Placements()
    for z in (10.0, 20.0, 30.0):
        frame = road_frame(Boxes3D.concatenate([box_at(2, z), box_at(-2, z + 3, np.pi / 2)]))
        found.add(frame, injected(frame, box_at(2, z)))
    rows = {row.quantity: row for row in found.compare()}
    assert list(rows) == ["x", "z", "yaw", "height"]
    assert rows["x"].counts == (3, 6)
    assert rows["x"].distance == pytest.approx(0.5)
    assert rows["yaw"].measure == "V"
    assert rows["yaw"].distance == pytest.approx(0.5)
    assert rows["z"].injected[1] == 20.0
    assert histograms(found).startswith(b"\x89PNG")


def test_nothing_to_compare_is_one_line() -> None:
    found, frame = Placements(), road_frame(road=False)
    found.add(frame, frame)
    with pytest.raises(InputError, match="placement: nothing injected in 1 frames"):
        found.compare()
    found.add(frame, injected(frame, box_at(0, 10)))
    with pytest.raises(InputError, match="placement: Car injected and none labelled in 2 frames"):
        found.compare()

from __future__ import annotations

import numpy as np
import pytest

from datamodules.assets.crops.label_masks import LabelMasks
from datamodules.assets.crops.sightings import Sighting, ordered_pairs, same_objects, turn_between
from datamodules.assets.recomposition import RecompositionSource
from datamodules.geometry import Boxes3D
from tests.datamodules.assets.crops.scenes import painted_frame

SMALL, LARGE = (3.6, 1.4, 1.6), (4.4, 1.6, 1.8)


def sightings(frame: str, *cars: tuple[tuple[float, float, float], float, float, float]) -> list[Sighting]:
    boxes = Boxes3D.concatenate([Boxes3D.single([x, 1.65, z], dims, yaw) for dims, x, z, yaw in cars])
    source = RecompositionSource(min_height=10)
    return [Sighting(crop, frame) for crop in source.cut(painted_frame(boxes, sample_id=frame), LabelMasks())]


def test_a_car_is_known_again_by_its_size_within_its_drive() -> None:
    seen = [
        *sightings("1", (SMALL, -4, 14, 0.4), (LARGE, 3, 11, 0)),
        *sightings("2", (SMALL, -4, 12, 0.5)),
        *sightings("3", (SMALL, -4, 12, 0.5)),
        *sightings("4", (LARGE, 3, 12, 0)),
    ]
    found = same_objects(seen, {"1": "a", "2": "a", "3": "b", "4": "b"})
    assert {key: [s.frame for s in cars] for key, cars in found.items()} == {("a", "3.60", "1.40", "1.60"): ["1", "2"]}


def test_twins_of_a_frame_are_nobody() -> None:
    seen = [*sightings("1", (SMALL, -4, 14, 0.4), (SMALL, 3, 11, 0)), *sightings("2", (SMALL, -4, 12, 0.5))]
    assert same_objects(seen, {"1": "a", "2": "a"}) == {}


def test_turns_are_of_the_direction_a_car_is_seen_from() -> None:
    (one,), (other,) = sightings("1", (SMALL, 0, 14, 0.4)), sightings("2", (SMALL, 0, 20, 0.4 + np.radians(30)))
    assert turn_between(one.crop, other.crop) == pytest.approx(30, abs=0.5)  # the camera's offset moves it a little


def test_pairs_are_both_ways_and_keep_the_smallest_and_the_widest_turn() -> None:
    seen = [s for n in range(4) for s in sightings(str(n), (SMALL, 0, 14, 0.2 * n))]
    ids = {s.crop.id for s in seen}
    every = ordered_pairs(seen, ids, 100)
    assert len(every) == 12
    turns = [turn_between(a.crop, b.crop) for a, b in every]
    few = [turn_between(a.crop, b.crop) for a, b in ordered_pairs(seen, ids, 3)]
    assert len(few) == 3
    assert {a.frame for a, _ in ordered_pairs(seen, {seen[0].crop.id}, 100)} == {"0"}
    assert (few[0], few[-1]) == (min(turns), max(turns))

"""MixedSource: shares of the draws, classes, frames handed on, weights that do not fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from datamodules.assets.contract import AssetSource
from datamodules.assets.copy_paste import CopyPasteSource
from datamodules.assets.mixed import MixedSource
from datamodules.errors import InputError
from datamodules.injection.injection import Injection
from datamodules.randomness import derive
from tests.datamodules.injection_scenes import OneAsset, SolidAsset, box_at, road_frame

PARTS: list[AssetSource] = [OneAsset(SolidAsset("a")), OneAsset(SolidAsset("b", name="Van"))]


class Frames:
    """Two frames with a car each."""

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> object:
        return road_frame(box_at(2.0 * index, 12.0), buffers=True).with_(sample_id=f"{index:06d}")


def drawn(source: MixedSource, count: int) -> list[str]:
    return [source.sample(derive(0, number), road_frame()).id for number in range(count)]


def test_sources_are_drawn_by_weight_and_the_same_again() -> None:
    source = MixedSource(PARTS, [3.0, 1.0])
    ids = drawn(source, 400)
    assert 0.68 < ids.count("a") / 400 < 0.82
    assert ids == drawn(pickle.loads(pickle.dumps(source)), 400)
    assert set(drawn(MixedSource(PARTS, [0.0, 2.0]), 20)) == {"b"}
    assert 60 < drawn(MixedSource(PARTS), 200).count("a") < 140


def test_classes_are_the_union_and_each_gets_its_ground() -> None:
    source = MixedSource([*PARTS, OneAsset()])
    assert source.classes == ("Car", "Van")
    injection = Injection(source, probability=1.0, count=(2, 2))
    names = [name for seed in range(6) for name in injection(road_frame(), derive(seed)).objects.names]
    assert set(names) == {"Car", "Van"}


def test_labelled_frames_reach_the_source_that_lives_on_them() -> None:
    paste = CopyPasteSource(min_height=5)
    source = MixedSource([PARTS[0], paste])
    assert source.needs_labels
    assert not MixedSource(PARTS).needs_labels
    Injection(source).bind(Frames())  # type: ignore[arg-type]
    assert len(paste.crops) == 2
    assert any(id.startswith("copy-") for id in drawn(source, 20))


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_weights_that_do_not_fit(weights: list[float]) -> None:
    with pytest.raises(InputError, match=r"source\.weights") as caught:
        MixedSource(PARTS, weights)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="mixture of 0 sources"):
        MixedSource([])

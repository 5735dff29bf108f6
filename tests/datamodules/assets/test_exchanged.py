"""ExchangedSource: boxes of one source, pixels of another."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from datamodules.assets.contract import Asset, AssetSource, Sketched
from datamodules.assets.copy_paste import CopyPasteSource
from datamodules.assets.exchanged import ExchangedAsset, ExchangedSource
from datamodules.assets.recomposition import RecompositionSource
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, wrap_angle
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.randomness import derive
from tests.datamodules.assets.crops.scenes import CAMERA, Frames, car_boxes, painted_frame
from tests.datamodules.injection_scenes import OneAsset, SolidAsset

ORIGIN = painted_frame(car_boxes((-3.0, 12.0, -1.4), (0.5, 20.0, 1.5), (4.0, 30.0, -1.6), (-6.0, 26.0, 0.3)))
EMPTY = painted_frame(car_boxes((9.0, 80.0, 0.0)), sample_id="000002")


def recomposition() -> RecompositionSource:
    return RecompositionSource(min_height=5.0)


def test_a_bank_object_stands_where_a_recomposed_one_would() -> None:
    solid = SolidAsset("solid")
    source, plain = ExchangedSource(recomposition(), OneAsset(solid)), recomposition()
    assert isinstance(source, AssetSource)
    assert source.needs_labels
    for part in (source, plain):
        part.bind(Frames([ORIGIN]))
    asset, other = source.sample(derive(0), EMPTY), plain.sample(derive(0), EMPTY)
    assert isinstance(asset, Asset)
    assert (asset.name, asset.id) == (other.name, "exchanged-solid")
    np.testing.assert_array_equal(asset.dims, other.dims)
    assert asset.pose is not None
    assert other.pose is not None
    np.testing.assert_array_equal(asset.pose.center, other.pose.center)
    drawn, wanted = asset.render(CAMERA, asset.pose), solid.render(CAMERA, asset.pose)
    assert drawn is not None
    assert wanted is not None
    np.testing.assert_array_equal(drawn.rgba, wanted.rgba)


def test_a_real_picture_at_a_bank_objects_box_is_one_taken_from_nearly_there() -> None:
    source = ExchangedSource(OneAsset(SolidAsset("solid")), recomposition())
    source.bind(Frames([ORIGIN]))
    assert source.pool == 4
    asset = source.sample(derive(1), EMPTY)
    assert isinstance(asset, ExchangedAsset)
    assert asset.pose is None
    crops = source.pictures
    assert isinstance(crops, RecompositionSource)
    for number, crop in enumerate(crops.offered):
        near = [crops.suiting(crop.camera, crop.box, draw) for draw in np.arange(8) / 8]
        assert near[0].id == crop.id
        assert len({one.id for one in near}) == 8
        apart = [abs(wrap_angle(one.angles[0] - crop.angles[0])[0]) for one in near]
        assert apart[-1] >= apart[0] == 0, number
    box = Boxes3D.single([1.0, 1.65, 18.0], crops.offered[0].dims, 1.4)
    nearest = ExchangedAsset(asset.place, crops, 0.0)
    layer = nearest.render(CAMERA, box)
    assert layer is not None
    suits = crops.suiting(CAMERA, box, 0.0).render(CAMERA, box)
    assert suits is not None
    np.testing.assert_array_equal(layer.rgba, suits.rgba)
    assert isinstance(nearest, Sketched)
    assert nearest.sketch(CAMERA, box) is None


@pytest.mark.parametrize("real_pictures", [False, True])
def test_injected_and_the_same_again(real_pictures: bool) -> None:
    parts: list[AssetSource] = [OneAsset(SolidAsset("solid")), recomposition()]
    source = ExchangedSource(*(parts if real_pictures else parts[::-1]))
    injection = Injection(source, Placement(map=False), probability=1.0, count=(1, 2))
    injection.bind(Frames([ORIGIN]))
    again = pickle.loads(pickle.dumps(injection))
    found = [injection(EMPTY, derive(seed)) for seed in range(4)]
    assert sum(len(frame.objects) - len(EMPTY.objects) for frame in found) >= 4
    for seed, frame in enumerate(found):
        np.testing.assert_array_equal(again(EMPTY, derive(seed)).image, frame.image)


def test_copies_cannot_be_lent() -> None:
    with pytest.raises(
        InputError, match=r"^source\.pictures CopyPasteSource: its objects keep their own place"
    ) as caught:
        ExchangedSource(OneAsset(), CopyPasteSource())
    assert "\n" not in str(caught.value)

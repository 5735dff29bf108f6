from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.visibility import viewing_direction
from datamodules.errors import InputError
from datamodules.geometry import wrap_angle
from datamodules.objects.posed_images import PosedImageSet
from lit.posing.azimuth import ViewMatcher, calibrate, describe
from tests.lit.posed_boxes import write_posed_boxes


@pytest.mark.parametrize(("offset", "sign"), [(0.4, 1), (-2.9, -1), (3.1, 1)])
def test_calibration_finds_offset_and_sign_despite_confusions(offset: float, sign: int) -> None:
    rng = np.random.default_rng(0)
    turns = rng.uniform(-np.pi, np.pi, 200)
    seen = sign * turns + offset + rng.normal(0, 0.1, 200)
    seen[::5] += np.pi  # a fifth is taken front for back
    found = calibrate(turns, wrap_angle(seen))
    assert found.sign == sign
    assert abs(float(wrap_angle(np.array([found.offset - offset]))[0])) < np.radians(3)
    assert found.residual < 0.2
    assert found.count == 200
    assert np.abs(wrap_angle(found.azimuth(turns) - sign * turns - offset)).max() < np.radians(3)
    assert "median residual" in str(found)


def test_calibration_of_nothing_is_bad_input() -> None:
    with pytest.raises(InputError, match="no generated view"):
        calibrate(np.zeros(2), np.full(2, np.nan))


def test_matcher_tells_the_azimuth_of_cars_it_has_not_seen(tmp_path: Path) -> None:
    posed = PosedImageSet.load(write_posed_boxes(tmp_path / "boxes", objects=5, views=24, size=32))
    matcher, other = ViewMatcher(posed.subset(slice(0, 4))), posed.subset([4])
    direction = viewing_direction(other.projection[0], other.dims[0])
    error = np.abs(wrap_angle(matcher.azimuths(other.rgba[0]) - np.arctan2(direction[:, 2], direction[:, 0])))
    assert np.degrees(np.median(error)) < 15
    assert (np.degrees(error) < 45).mean() > 0.8


def test_description_ignores_place_size_and_exposure(tmp_path: Path) -> None:
    posed = PosedImageSet.load(write_posed_boxes(tmp_path / "boxes", objects=1, views=4, size=32))
    view = posed.rgba[0, 0]
    larger = np.zeros((64, 64, 4), np.uint8)
    larger[5:37, 20:52] = view
    larger[..., :3] = larger[..., :3] // 2
    first, second = describe(view[None])[0], describe(larger[None])[0]
    assert float(first @ second) > 0.97
    assert float(describe(np.zeros((1, 8, 8, 4), np.uint8)).max()) == 0.0

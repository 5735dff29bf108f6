"""Contact sheets: an asset is shown from where it may be seen, and not from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.assets.visibility import Visibility
from datamodules.object_classes import CLASSES
from lit.pictures.pictures import GREY, YAWS, asset_view
from tests.datamodules.injection_scenes import SolidAsset


def test_an_asset_is_left_out_where_it_may_not_be_seen() -> None:
    limited = SolidAsset(visibility=Visibility.arc(np.pi / 2 - 0.3, np.pi / 2 + 0.3))
    assert (asset_view(limited, np.pi / 2, 48) != GREY).any()
    assert (asset_view(limited, 0.0, 48) == GREY).all()
    assert (asset_view(SolidAsset(), 0.0, 48) != GREY).any()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_whole_object_is_on_the_sheet(name: str) -> None:
    asset = SolidAsset(name=name, dims=np.array(CLASSES[name].dims))
    for yaw in YAWS:
        view = asset_view(asset, yaw, 64)
        assert all((edge == GREY).all() for edge in (view[0], view[-1], view[:, 0], view[:, -1]))

"""Contact sheets: an asset is shown from where it may be seen, and not from elsewhere."""

from __future__ import annotations

import numpy as np

from datamodules.assets.visibility import Visibility
from lit.pictures.pictures import GREY, asset_view
from tests.datamodules.injection_scenes import SolidAsset


def test_an_asset_is_left_out_where_it_may_not_be_seen() -> None:
    limited = SolidAsset(visibility=Visibility.arc(np.pi / 2 - 0.3, np.pi / 2 + 0.3))
    assert (asset_view(limited, np.pi / 2, 48) != GREY).any()
    assert (asset_view(limited, 0.0, 48) == GREY).all()
    assert (asset_view(SolidAsset(), 0.0, 48) != GREY).any()

from __future__ import annotations

import pytest

from datamodules.errors import InputError
from lit.leaderboard.board import require_agreement


def test_a_metric_that_its_frames_do_not_give_is_refused() -> None:
    entry = {"delta": 2.0, "seeds": [0, 1], "two_level": {"delta": 2.0000001, "seeds": 2}}
    require_agreement(entry, "a - b", "car")
    with pytest.raises(InputError, match=r"a - b: car differs by 4\.000 in the records and by 2\.000"):
        require_agreement(entry | {"delta": 4.0}, "a - b", "car")
    require_agreement(entry | {"delta": 4.0, "two_level": None}, "a - b", "car")  # frames were not recorded

from __future__ import annotations

import pytest

from lit.adversarial.image_cadence import Cadence


@pytest.mark.parametrize("step", [4, 8, 16, 24, 64])
def test_cadence_follows_images_and_the_gain_makes_up_for_the_batch(step: int) -> None:
    cadence = Cadence(64)
    steps = range(0, 64 * 30, step)
    due = [seen for seen in steps if cadence.due(seen, step)]
    assert len(due) == 30
    assert len(due) * cadence.gain(step) * step == 64 * 30 * (1 if step <= 64 else 0)  # weight an image, in all


def test_cadence_of_steps_beyond_the_interval_and_of_none() -> None:
    assert all(Cadence(64).due(seen, 128) for seen in range(0, 1280, 128))
    assert Cadence(64).gain(128) == 1
    assert not any(Cadence(0).due(seen, 8) for seen in range(0, 80, 8))

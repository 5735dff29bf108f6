from __future__ import annotations

from typing import Any

import pytest

from datamodules.errors import InputError
from lit.adversarial.labelled_game import LabelledWeights
from lit.generators.pix2nerf import Pix2NerfWeights
from lit.generators.single_view_objective import LossWeights


@pytest.mark.parametrize(
    ("weights", "name"), [(LabelledWeights, "cross_view"), (LossWeights, "clip"), (Pix2NerfWeights, "place")]
)
def test_a_weight_is_a_finite_number_from_0(weights: Any, name: str) -> None:
    assert getattr(weights(**{name: 0.0}), name) == 0
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(
            InputError, match=rf"weights.{name} (-1|nan|inf): expected 0 \(leaves the loss out\) or more"
        ):
            weights(**{name: value})

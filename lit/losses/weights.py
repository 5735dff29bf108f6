"""Weights of losses: what a configuration may say of them."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from datamodules.errors import InputError


def require_weights(weights: Any) -> None:
    """Refuse a weight below 0, which would reward what it shall punish, and one that is no finite number.

    Args:
        weights: a dataclass; its fields that are numbers are weights, 0 leaving a loss out.

    Raises:
        InputError: names the weight.
    """
    for field in fields(weights):
        value = getattr(weights, field.name)
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise InputError(f"weights.{field.name} {value:g}: expected 0 (leaves the loss out) or more")

"""The state of metrics that keep tables of numbers: the same figure on one process or many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from lit.metrics.sample_keys import joined


class GatheredRows(Metric):
    """Tables of rows, which grow with every update and are gathered from all processes.

    Args:
        **tables: an empty tensor a table, which says dtype and width of its rows; other arguments are the metric's.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = True

    def __init__(self, **tables: Any) -> None:
        empty = {name: tables.pop(name) for name in [*tables] if isinstance(tables[name], Tensor)}
        super().__init__(**tables)
        self.empty: dict[str, Tensor] = empty
        for name in empty:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def keep(self, **rows: np.ndarray | Tensor) -> None:
        """Add rows to each table."""
        for name, values in rows.items():
            getattr(self, name).append(torch.as_tensor(values).to(self.device))

    def held(self, name: str) -> Tensor:
        """All rows of a table, on the CPU."""
        return joined(getattr(self, name), self.empty[name]).cpu()

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather from all processes; one without any row takes part with empty tables of the right shape."""
        self.keep(**{name: rows for name, rows in self.empty.items() if not len(getattr(self, name))})
        super().sync(*args, **kwargs)

"""The state of metrics that keep some numbers a sample: the same figure on one process or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.errors import InputError
from lit.metrics.sample_keys import distinct, joined, sample_key


class SampleRows(Metric):
    """Rows of ``width`` float64 numbers, one a sample, keyed by the sample's id.

    Distributed samplers repeat samples to even out the processes; of rows with one id, one counts. Rows are put in the
    order of their keys before anything is summed, so that a figure does not depend on who saw which sample.

    Args:
        width: numbers a sample.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = None
    keys: list[Tensor]
    rows: list[Tensor]
    evaluator: dict[str, str]

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.add_state("keys", default=[], dist_reduce_fx="cat")  # int64 (S,)
        self.add_state("rows", default=[], dist_reduce_fx="cat")  # float64 (S, width)

    def add(self, sample_ids: Sequence[str], rows: Tensor) -> None:
        """Keep rows (S, width) of some samples.

        Raises:
            InputError: as many ids as rows are expected.
        """
        if isinstance(sample_ids, str) or len(sample_ids) != len(rows):
            found = f"{sample_ids!r}" if isinstance(sample_ids, str) else f"{len(sample_ids)} sample ids"
            raise InputError(f"sample_ids: {found} for {len(rows)} samples; give a sequence with one id each")
        keys = torch.tensor([sample_key(sample_id) for sample_id in sample_ids], dtype=torch.int64)
        self.keys.append(keys.to(self.device))
        self.rows.append(rows.detach().double().reshape(len(rows), self.width).to(self.device))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather from all processes; one without any sample takes part with empty tensors of the right shape."""
        if not len(self.keys):
            self.add([], torch.zeros(0, self.width, dtype=torch.float64))
        super().sync(*args, **kwargs)

    def counted(self) -> int:
        """Distinct samples of all processes, each of which has to call this."""
        with self.sync_context():
            return len(distinct(joined(self.keys, torch.zeros(0, dtype=torch.int64))))

    def distinct_rows(self) -> Tensor:
        """Rows (S, width) of the distinct samples in the order of their keys, on the CPU.

        Raises:
            InputError: no process has seen a sample.
        """
        keys = joined(self.keys, torch.zeros(0, dtype=torch.int64)).cpu()
        if not len(keys):
            raise InputError(f"{type(self).__name__}: an empty set has no score; update it with at least one sample")
        return joined(self.rows, torch.zeros(0, self.width, dtype=torch.float64)).cpu()[distinct(keys)]

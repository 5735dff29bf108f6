"""The state of metrics that keep some numbers a sample: the same figure on one process or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.sample_keys import distinct, sample_key


class SampleRows(GatheredRows):
    """Rows of ``width`` float64 numbers, one a sample, keyed by the sample's id.

    Distributed samplers repeat samples to even out the processes; of rows with one id, one counts. Rows are put in the
    order of their keys before anything is summed, so that a figure does not depend on who saw which sample.

    Args:
        width: numbers a sample.
    """

    higher_is_better: bool | None = None
    keys: list[Tensor]
    rows: list[Tensor]
    evaluator: dict[str, str]

    def __init__(self, width: int, **kwargs: Any) -> None:
        rows = torch.zeros(0, width, dtype=torch.float64)
        super().__init__(keys=torch.zeros(0, dtype=torch.int64), rows=rows, **kwargs)
        self.width = width

    def add(self, sample_ids: Sequence[str], rows: Tensor) -> None:
        """Keep rows (S, width) of some samples.

        Raises:
            InputError: as many ids as rows are expected.
        """
        if isinstance(sample_ids, str) or len(sample_ids) != len(rows):
            found = f"{sample_ids!r}" if isinstance(sample_ids, str) else f"{len(sample_ids)} sample ids"
            raise InputError(f"sample_ids: {found} for {len(rows)} samples; give a sequence with one id each")
        keys = torch.tensor([sample_key(sample_id) for sample_id in sample_ids], dtype=torch.int64)
        self.keep(keys=keys, rows=rows.detach().double().reshape(len(rows), self.width))

    def counted(self) -> int:
        """Distinct samples of all processes, each of which has to call this."""
        with self.sync_context():
            return len(distinct(self.held("keys")))

    def distinct_rows(self) -> Tensor:
        """Rows (S, width) of the distinct samples in the order of their keys, on the CPU.

        Raises:
            InputError: no process has seen a sample.
        """
        keys = self.held("keys")
        if not len(keys):
            raise InputError(f"{type(self).__name__}: an empty set has no score; update it with at least one sample")
        return self.held("rows")[distinct(keys)]

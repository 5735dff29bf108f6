"""``bench evaluate``: the metrics' processor time, one thread each, beside that of the code they agree with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit.commands.bench import geometry as bench_geometry
from lit.commands.bench import image_metrics as bench_image_metrics
from lit.commands.bench import kitti as bench_kitti
from lit.commands.bench import nuscenes as bench_nuscenes
from lit.commands.report import report

PARTS = (bench_kitti, bench_nuscenes, bench_image_metrics, bench_geometry)


def run(out: str | Path | None = None) -> dict[str, Any]:
    """Measure all metrics.

    Args:
        out: JSON file to write, or None.

    Returns:
        The figures of the ``measure`` functions of :data:`PARTS`; among them ``kitti_cpu_seconds`` and the ratios
        ``nuscenes_ratio`` (to nuscenes-devkit; None where it is not installed), ``fid_ratio_2048`` and
        ``fid_ratio_1000`` (to torchmetrics), ``nfs_ratio`` (to a loop of ``torch.histc``).
    """
    measured: dict[str, Any] = {}
    for part in PARTS:
        measured |= part.measure()
    report("bench evaluate", measured, out)
    return measured

"""Figures against the yaw that views are turned by, a curve a generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LABELS = {"fid": "FID", "is": "Inception score", "nfs": "non-flatness score"}
_COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#b83280", "#4a5568", "#b7791f")

YawTable = Mapping[str, Sequence[float | None]]
"""Column ``yaw`` in degrees, and columns of figures as long, None where one is unknown."""


def yaw_plot(tables: Mapping[str, YawTable]) -> np.ndarray:
    """(H, W, 3) uint8, a panel a figure that any table has, FID first.

    Args:
        tables: of each generator by its name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second to import
    from matplotlib.figure import Figure

    kinds = [kind for kind in LABELS if any(kind in table for table in tables.values())]
    figure = Figure(figsize=(3.6 * max(len(kinds), 1), 3.2), dpi=100, layout="constrained")
    for place, kind in enumerate(kinds):
        panel: Any = figure.add_subplot(1, len(kinds), place + 1)
        for number, (name, table) in enumerate(tables.items()):
            values = table.get(kind, [None] * len(table["yaw"]))
            pairs = [(yaw, value) for yaw, value in zip(table["yaw"], values) if yaw is not None and value is not None]
            if pairs:
                colour = _COLOURS[number % len(_COLOURS)]
                panel.plot(*zip(*sorted(pairs)), marker="o", markersize=4, label=name, color=colour)
        panel.set_xlabel("yaw drawn within ± degrees", fontsize=9)
        panel.set_ylabel(LABELS[kind], fontsize=9)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=8)
        if len(tables) > 1 and place == 0:
            panel.legend(fontsize=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

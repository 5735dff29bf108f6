"""Distributions of viewpoints as a picture: a rose of azimuths and a histogram of elevations for each set."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

INK, BARS, EVEN = "#2b2f36", "#4299ff", "#ff8c1a"


def viewpoint_plot(counts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """PNG with a column a set: its azimuths, the front at the top and the left side on the left, above its elevations.

    Args:
        counts: name of each set -> counts by azimuth (A,) from 0, and by elevation (E,) from -90 degrees.
    """
    from matplotlib.figure import Figure  # a second to import

    figure = Figure(figsize=(3.2 * len(counts), 5.4), dpi=100, layout="constrained")
    for column, (name, (turns, rises)) in enumerate(counts.items()):
        rose: Any = figure.add_subplot(2, len(counts), column + 1, projection="polar")
        width = 2 * np.pi / len(turns)
        share = turns / turns.sum() * len(turns)
        rose.bar((np.arange(len(turns)) + 0.5) * width, share, width * 0.95, color=BARS)
        rose.plot(np.linspace(0, 2 * np.pi, 200), np.ones(200), color=EVEN, linewidth=1)  # what an even set would have
        rose.set_theta_zero_location("N")
        rose.set_theta_direction(1)  # anticlockwise, as seen from above: at 90 degrees the object's left
        rose.set_xticks(np.deg2rad([0, 90, 180, 270]), ["front", "left", "back", "right"])
        rose.set_yticks([])
        rose.set_title(f"{name} ({int(turns.sum())})", fontsize=10, color=INK)
        bars = figure.add_subplot(2, len(counts), len(counts) + column + 1)
        step = 180 / len(rises)
        bars.barh(-90 + (np.arange(len(rises)) + 0.5) * step, rises / rises.sum(), step * 0.9, color=BARS)
        bars.set_ylim(-90, 90)
        bars.set_yticks([-90, -45, 0, 45, 90])
        bars.set_xlabel("share", fontsize=8)
        bars.set_ylabel("elevation, degrees", fontsize=8)
        bars.tick_params(labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

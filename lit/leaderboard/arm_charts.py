"""Charts of what arms injected: distances, heights and angles, over those of the same frames' labelled objects."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from lit.leaderboard.arms import ArmObjects, Setting, compare_arms, read_arms
from lit.leaderboard.charts import CHART_WIDTH, STYLE, svg
from lit.results import Result

REAL_COLOUR = "#8a8f98"
DRAWN = {"depth": "distance, m", "height": "box height, pixels", "alpha": "observation angle, radians"}


def arm_charts(results: Sequence[Result], colours: Mapping[str, str]) -> dict[str, Markup]:
    """One chart a setting, by its caption; none where no run recorded injected objects.

    Args:
        results: records.
        colours: arm to colour, of :func:`lit.leaderboard.charts.arm_colours`.
    """
    return {caption: svg(figure, caption) for caption, figure in _figures(results, colours)}


def arm_pictures(results: Sequence[Result], colours: Mapping[str, str]) -> dict[str, bytes]:
    """The same as PNG on white."""
    found = {}
    for caption, figure in _figures(results, colours):
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150, facecolor="white")
        found[caption] = stream.getvalue()
    return found


def _figures(results: Sequence[Result], colours: Mapping[str, str]) -> Iterable[tuple[str, Figure]]:
    groups: dict[Setting, list[ArmObjects]] = {}
    for arm in compare_arms(results):
        groups.setdefault(arm.setting, []).append(arm)
    labelled = read_arms(results, "labelled")
    for setting, arms in groups.items():
        real = [found for found in labelled if found.setting == setting]
        frames = f"{setting.frames or 'all'} frames"
        yield f"{setting.name}s injected into {frames} of {setting.dataset}", distributions(arms, real, colours)


@mpl.rc_context(STYLE | {"axes.grid": False})
def distributions(arms: Sequence[ArmObjects], labelled: Sequence[ArmObjects], colours: Mapping[str, str]) -> Figure:
    """Density of distance, height and angle: a line an arm, the labelled objects as an area behind them.

    Args:
        arms: of one setting.
        labelled: the labelled objects of the same setting, by arm; they are added up.
        colours: arm to colour.
    """
    figure = Figure((CHART_WIDTH, 2.4))
    for number, (quantity, text) in enumerate(DRAWN.items()):
        axes = figure.add_axes((0.03 + 0.33 * number, 0.36, 0.29, 0.61))
        real = np.sum([found.counts[quantity] for found in labelled], 0) if labelled else np.zeros(0)
        if np.sum(real):
            edges = labelled[0].edges[quantity]
            axes.stairs(density(real, edges), edges, fill=True, color=REAL_COLOUR, alpha=0.35, label="labelled")
        for arm in arms:
            edges = arm.edges[quantity]
            line: dict[str, Any] = {"color": colours.get(arm.arm, REAL_COLOUR), "label": arm.arm, "linewidth": 1.3}
            axes.stairs(density(arm.counts[quantity], edges), edges, **line)
        axes.set_xlabel(text)
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        axes.set_xlim(*extent([*arms, *labelled], quantity))
        if number == 0:
            figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncol=5, frameon=False, fontsize=8)
    return figure


def extent(arms: Sequence[ArmObjects], quantity: str) -> tuple[float, float]:
    """From the first to the last bin that holds at least a hundredth of an arm's objects."""
    edges = arms[0].edges[quantity]
    shares = [arm.counts[quantity] / max(arm.counts[quantity].sum(), 1) for arm in arms]
    shown = np.flatnonzero(np.max(shares, 0) >= 0.01)
    return float(edges[shown[0]]), float(edges[shown[-1] + 1])


def density(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(K,) share of the objects a unit of the quantity."""
    return np.asarray(counts / counts.sum() / np.diff(edges))

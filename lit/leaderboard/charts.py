"""Charts of the leaderboard page as inline SVG: bars with every seed, paired differences, and the learning curve.

Matplotlib draws them; its colours become the page's variables, so that they read in light and dark.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy import stats

from lit.leaderboard.rows import Ranked

ARM_COLOURS = (
    "#2f6fde", "#d9542b", "#2a9d6f", "#a44fc4", "#c79a1b", "#1b9fb5",
    "#c2477f", "#7a8f1f", "#6a63d9", "#9a6a3a", "#4f9fe0", "#e08a5a",
)  # fmt: skip
GREY = "#8a8f98"
INK = {"#000001": "var(--fg)", "#000002": "var(--soft)", "#000003": "var(--line)", "#000004": "var(--bg)"}
TEXT, SOFT, LINE, PAPER = INK
STYLE: Any = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "font.family": "sans-serif",
    "text.color": TEXT, "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT, "ytick.labelcolor": TEXT,
    "axes.edgecolor": LINE, "grid.color": LINE, "axes.grid": True, "axes.grid.axis": "x", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "ytick.major.size": 0,
}  # fmt: skip
CHART_WIDTH, SLOT = 6.4, 0.27  # inches: a chart, one of its rows


def arm_colours(rows: list[Ranked]) -> dict[str, str]:
    """One colour an arm, grey for the arm without augmentation."""
    arms = sorted({row["arm"] for row in rows} - {"none"})
    return {"none": GREY} | {arm: ARM_COLOURS[index % len(ARM_COLOURS)] for index, arm in enumerate(arms)}


def mean_interval(values: list[float | None]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean (Student's t); None below two values."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return None
    mean, half = sum(known) / len(known), float(stats.t.ppf(0.975, len(known) - 1) * stats.sem(known))
    return mean - half, mean + half


def svg(figure: Figure, label: str) -> Markup:
    """A figure as an element of a page: its texts stay texts, and what an artist's ``gid`` says is its tooltip."""
    mpl.rcParams["svg.hashsalt"] = label  # the same bytes every time, and no id twice on a page
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = re.sub(r"\s+", " ", text[text.index("<svg") :])
    text = re.sub(r'<style.*?</style>| xmlns(:\w+)?="[^"]*"|(?<= )font-family: [^;]*; ', "", text)
    text = re.sub(r"(\.\d\d)\d+(?=[^<>]*>)", r"\1", re.sub(r"(?<=>) | (?=<)", "", text))  # a third of the bytes
    text = re.sub(r'<g id="([^"]* [^"]*)">', r"<g><title>\1</title>", text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    for colour, variable in INK.items():
        text = text.replace(colour, variable)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))


def row_axes(rows: list[Ranked]) -> tuple[Figure, Axes, list[int]]:
    """Axes with one line a row under headings that say the labelled frames, and the height of each row's line."""
    names, places, frames = [], [], object()
    for row in rows:
        if row["frames"] != frames:
            frames = row["frames"]
            names.append((f"{frames} frames" if frames else "all frames", "bold"))
        places.append(len(names))
        names.append((row["arm"], "normal"))
    height = len(names) * SLOT + 0.35
    figure = Figure((CHART_WIDTH, height))
    left = 0.1 + 0.085 * max(len(name) for name, _ in names)
    axes = figure.add_axes(
        (left / CHART_WIDTH, 0.3 / height, (CHART_WIDTH - left - 0.5) / CHART_WIDTH, len(names) * SLOT / height)
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    for label, (_, weight) in zip(axes.set_yticks(range(len(names)), [name for name, _ in names]), names):
        label.label1.set_fontweight(weight)
    return figure, axes, places


@mpl.rc_context(STYLE)
def bars(rows: list[Ranked], metric: str, colours: dict[str, str]) -> Markup:
    """One bar a row, grouped by labelled frames: mean, 95 % interval of the mean (whisker), every seed (dot)."""
    shown = [row for row in rows if metric in row["metrics"]]
    figure, axes, places = row_axes(shown)
    for row, y in zip(shown, places):
        entry = row["metrics"][metric]
        known = [(seed, v) for seed, v in zip(row["seeds"], entry["values"]) if v is not None]
        faint = 0.45 if len(known) < 2 else 1.0
        axes.barh(y, entry["mean"], height=0.72, color=colours[row["arm"]], alpha=faint)
        interval = mean_interval(entry["values"])
        if interval:
            whisker(axes, *interval, y, f"95 % interval of the mean: {interval[0]:.2f} to {interval[1]:.2f}")
        dot: dict[str, Any] = {
            "markersize": 4,
            "markerfacecolor": PAPER,
            "markeredgecolor": TEXT,
            "markeredgewidth": 0.7,
        }
        said = ", ".join(f"seed {seed}: {v:.2f}" for seed, v in known)
        axes.plot([v for _, v in known], [y] * len(known), "o", alpha=faint, gid=said, **dot)
        end = max(0.0, entry["mean"], interval[1] if interval else 0.0, *(v for _, v in known))
        axes.annotate(f"{entry['mean']:.1f}", (end, y), (6, 0), textcoords="offset points", va="center")
    return svg(figure, f"{metric} by arm")


def whisker(axes: Axes, low: float, high: float, y: float, gid: str) -> None:
    """A horizontal interval with end caps."""
    axes.plot([low, high], [y, y], color=TEXT, linewidth=1.1, marker="|", markersize=7, gid=gid)


@mpl.rc_context(STYLE)
def forest(rows: list[Ranked], metric: str, colours: dict[str, str], baseline: str = "none") -> Markup | None:
    """Paired difference to the baseline with its 95 % interval, one line a row; None without comparisons."""
    versus = [row["metrics"].get(metric, {"vs": {}})["vs"].get(baseline) for row in rows]
    found = [(row, d) for row, d in zip(rows, versus) if d and row["arm"] != baseline]
    if not found:
        return None
    figure, axes, places = row_axes([row for row, _ in found])
    axes.axvline(0, color=SOFT, linewidth=1.2)
    for (row, difference), y in zip(found, places):
        delta, low, high = (difference[key] for key in ("delta", "low", "high"))
        if low is not None:
            whisker(axes, low, high, y, f"{low:+.2f} to {high:+.2f}, p = {difference['p']:.2g}")
        axes.plot([delta], [y], marker="o", markersize=8, color=GREY if low is None else colours[row["arm"]])
        end = delta if high is None else high
        axes.annotate(f"{delta:+.1f}", (end, y), (8, 0), textcoords="offset points", va="center")
    return svg(figure, f"difference to {baseline}, {metric}")


@mpl.rc_context(STYLE)
def curve(rows: list[Ranked], metric: str, colours: dict[str, str]) -> Markup | None:
    """Metric over labelled frames (log axis), one line an arm; None when "none" has fewer than two points."""
    points: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["frames"] and row["human_labels"] and (entry := row["metrics"].get(metric)):
            points.setdefault(row["arm"], {})[row["frames"]] = entry["mean"]
    if len(points.get("none", {})) < 2:
        return None
    figure = Figure((CHART_WIDTH, 3.2))
    axes = figure.add_axes((0.09, 0.15, 0.66, 0.81))
    axes.set_xscale("log")
    frames = sorted({count for line in points.values() for count in line})
    axes.set_xticks(frames, map(str, frames))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled frames")
    axes.grid(axis="both")
    for arm, line in sorted(points.items(), key=lambda item: -item[1][max(item[1])]):
        drawn = "--" if arm == "none" else "-"
        axes.plot(sorted(line), [line[n] for n in sorted(line)], drawn, marker="o", color=colours[arm], label=arm)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return svg(figure, f"{metric} over labelled frames")

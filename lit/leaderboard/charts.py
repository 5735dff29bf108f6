"""Charts of the leaderboard page as inline SVG: bars with every seed, paired differences, and the learning curve."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from scipy import stats

PALETTE = ("#2f6fde", "#d9542b", "#2a9d6f", "#a44fc4", "#c79a1b", "#1b9fb5")
GREY = "#8a8f98"
BAR, GAP, LABEL, PLOT, RIGHT = 22, 8, 120, 460, 60  # pixels: bar height, gap below it, columns of names, plot, figures


def arm_colours(rows: list[dict[str, Any]]) -> dict[str, str]:
    """One colour an arm, grey for the arm without augmentation."""
    arms = sorted({row["arm"] for row in rows} - {"none"})
    return {"none": GREY} | {arm: PALETTE[index % len(PALETTE)] for index, arm in enumerate(arms)}


def mean_interval(values: list[float | None]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean (Student's t); None below two values."""
    known = np.array([v for v in values if v is not None])
    if len(known) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return float(known.mean()) - half, float(known.mean()) + half


def nice_limit(largest: float) -> float:
    """A round number at or above ``largest``."""
    if largest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(unit * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if unit * step >= largest * 0.999)


def picture(width: float, height: float, label: str, parts: list[str]) -> str:
    """An SVG element that scales with its column."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def frames_text(frames: int | None) -> str:
    """Heading of the rows with one number of frames."""
    return f"{frames} frames" if frames else "all frames"


def whisker(low: float, high: float, y: float, title: str) -> str:
    """A horizontal interval with end caps."""
    path = f"M{low} {y}H{high}M{low} {y - 5}V{y + 5}M{high} {y - 5}V{y + 5}"
    return f'<path d="{path}" class="whisker"><title>{escape(title)}</title></path>'


def bars(rows: list[dict[str, Any]], metric: str, colours: dict[str, str]) -> str:
    """One bar a row, grouped by labelled frames: mean, 95 % interval of the mean (whisker), every seed (dot)."""
    shown = [row for row in rows if metric in row["metrics"]]
    tops = [v for row in shown for v in row["metrics"][metric]["values"] if v is not None]
    tops += [interval[1] for row in shown if (interval := mean_interval(row["metrics"][metric]["values"]))]
    limit = nice_limit(max(tops, default=1.0))
    parts: list[str] = []
    y, group = 0, object()
    for row in shown:
        if row["frames"] != group:
            group = row["frames"]
            y += 24
            parts.append(f'<text x="0" y="{y - 7}" class="group">{frames_text(row["frames"])}</text>')
        parts.append(_bar(row, metric, y, limit, colours[row["arm"]]))
        y += BAR + GAP
    axis = [f'<line x1="{LABEL}" x2="{LABEL + PLOT}" y1="{y}" y2="{y}" class="axis"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LABEL + share * PLOT
        axis.append(f'<line x1="{x}" x2="{x}" y1="22" y2="{y}" class="grid"/>')
        axis.append(f'<text x="{x}" y="{y + 15}" class="tick" text-anchor="middle">{limit * share:g}</text>')
    return picture(LABEL + PLOT + RIGHT, y + 22, f"{metric} by arm", axis + parts)


def _bar(row: dict[str, Any], metric: str, y: float, limit: float, colour: str) -> str:
    entry = row["metrics"][metric]

    def x(value: float) -> float:
        return round(LABEL + PLOT * min(max(value / limit, 0.0), 1.0), 1)

    middle = y + BAR / 2
    interval = mean_interval(entry["values"])
    known = [(seed, v) for seed, v in zip(row["seeds"], entry["values"]) if v is not None]
    kind = "single" if len(known) < 2 else "bar"
    name = f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(row["arm"])}</text>'
    bar = f'<rect x="{LABEL}" y="{y}" width="{x(entry["mean"]) - LABEL:.1f}" height="{BAR}" rx="3" fill="{colour}"/>'
    seeds = "".join(
        f'<circle cx="{x(v)}" cy="{middle}" r="2.6" class="seed"><title>seed {seed}: {v:.2f}</title></circle>'
        for seed, v in known
    )
    line = ""
    if interval:
        title = f"95 % interval of the mean: {interval[0]:.2f} to {interval[1]:.2f}"
        line = whisker(x(interval[0]), x(interval[1]), middle, title)
    end = max(x(entry["mean"]), x(interval[1]) if interval else 0, *(x(v) for _, v in known))
    figure = f'<text x="{end + 8}" y="{middle + 4}">{entry["mean"]:.1f}</text>'
    return f'<g class="{kind}">{name}{bar}{line}{seeds}{figure}</g>'


def forest(rows: list[dict[str, Any]], metric: str, colours: dict[str, str], baseline: str = "none") -> str:
    """Paired difference to the baseline with its 95 % interval, one line a row; empty without comparisons."""
    found = [
        (row, versus[baseline])
        for row in rows
        if baseline in (versus := row["metrics"].get(metric, {"vs": {}})["vs"]) and row["arm"] != baseline
    ]
    if not found:
        return ""
    ends = [v for _, d in found for v in (d["delta"], d["low"], d["high"]) if v is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    low, high = (-nice_limit(-low) if low < 0 else 0.0), (nice_limit(high) if high > 0 else 0.0)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return round(LABEL + PLOT * (value - low) / span, 1)

    parts: list[str] = []
    y, group = 0, object()
    for row, difference in found:
        if row["frames"] != group:
            group = row["frames"]
            y += 24
            parts.append(f'<text x="0" y="{y - 7}" class="group">{frames_text(row["frames"])}</text>')
        middle = y + BAR / 2
        parts.append(f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(row["arm"])}</text>')
        if difference["low"] is not None:
            title = f"{difference['low']:+.2f} to {difference['high']:+.2f}, p = {difference['p']:.2g}"
            parts.append(whisker(x(difference["low"]), x(difference["high"]), middle, title))
        fill = colours[row["arm"]] if difference["low"] is not None else GREY
        parts.append(f'<circle cx="{x(difference["delta"])}" cy="{middle}" r="6" fill="{fill}"/>')
        end = x(difference["high"] if difference["high"] is not None else difference["delta"])
        parts.append(f'<text x="{end + 12}" y="{middle + 4}">{difference["delta"]:+.1f}</text>')
        y += BAR + GAP
    axis = [f'<line x1="{x(0)}" x2="{x(0)}" y1="22" y2="{y}" class="zero"/>']
    for value in sorted({low, 0.0, high, high / 2}):
        axis.append(f'<line x1="{x(value)}" x2="{x(value)}" y1="22" y2="{y}" class="grid"/>')
        axis.append(f'<text x="{x(value)}" y="{y + 15}" class="tick" text-anchor="middle">{value:+g}</text>')
    return picture(LABEL + PLOT + RIGHT, y + 22, f"difference to {baseline}, {metric}", axis + parts)


def curve(rows: list[dict[str, Any]], metric: str, colours: dict[str, str]) -> str:
    """Metric over labelled frames (log axis), one line an arm; empty when "none" has fewer than two points."""
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row["frames"] and row["human_labels"] and (entry := row["metrics"].get(metric)):
            points.setdefault(row["arm"], []).append((row["frames"], entry["mean"]))
    if len(points.get("none", [])) < 2:
        return ""
    frames = sorted({count for line in points.values() for count, _ in line})
    limit = nice_limit(max(value for line in points.values() for _, value in line))
    low, span = math.log(frames[0]), math.log(frames[-1] / frames[0])
    height, top, left, width = 240, 12, 44, 460

    def at(count: int, value: float) -> tuple[float, float]:
        share = min(max(value / limit, 0.0), 1.0)
        return round(left + 12 + (width - 24) * (math.log(count) - low) / span, 1), round(top + height * (1 - share), 1)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" class="tick" text-anchor="end">{limit * share:g}</text>')
    for count in frames:
        parts.append(
            f'<text x="{at(count, 0)[0]}" y="{top + height + 17}" class="tick" text-anchor="middle">{count}</text>'
        )
    middle = left + width / 2
    parts.append(f'<text x="{middle}" y="{top + height + 34}" class="tick" text-anchor="middle">labelled frames</text>')
    taken: list[tuple[float, float]] = []
    for arm, line in sorted(points.items(), key=lambda item: -item[1][-1][1]):
        places = [at(count, mean) for count, mean in sorted(line)]
        parts.append(_line(arm, places, colours[arm], taken))
    return picture(left + width + 100, top + height + 40, f"{metric} over labelled frames", parts)


def _line(arm: str, places: list[tuple[float, float]], colour: str, taken: list[tuple[float, float]]) -> str:
    """One arm's line with its name at the end, moved down past the names already written there."""
    path = "M" + "L".join(f"{x} {y}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if arm == "none" else ""
    text = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>']
    text += [
        f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"><title>{escape(arm)}</title></circle>' for x, y in places
    ]
    x, y = places[-1]
    while any(abs(x - other) < 100 and abs(y - height) < 14 for other, height in taken):
        y += 2
    taken.append((x, y))
    return "".join(text) + f'<text x="{x + 9}" y="{y + 4}" class="name" style="fill:{colour}">{escape(arm)}</text>'

"""The pages: charts that are the same bytes every time, colours of the page, and nothing that a name could inject."""

from __future__ import annotations

from typing import Any

from lit.leaderboard.charts import arm_colours, bars, curve, forest
from lit.leaderboard.page import show_page
from lit.leaderboard.tables import difference_text, mean_text

METRIC = "car/3d/moderate/0.5"


def row(arm: str, frames: int, *values: float, **versus: Any) -> dict[str, Any]:
    entry = {"mean": sum(values) / len(values), "values": list(values), "vs": versus}
    seeds = list(range(len(values)))
    return {"arm": arm, "frames": frames, "seeds": seeds, "metrics": {METRIC: entry}, "human_labels": True}


def test_charts_carry_the_page_s_colours_and_every_seed() -> None:
    difference = {"delta": 2.5, "low": 1.0, "high": 4.0, "p": 0.01}
    rows = [row("<b>$x_1</b>", 50, 12.0, 13.0, none=difference), row("none", 50, 9.0, 11.0), row("none", 200, 15.0)]
    colours = arm_colours(rows)
    charts = [draw(rows, METRIC, colours) for draw in (bars, forest, curve)]
    assert charts == [draw(rows, METRIC, colours) for draw in (bars, forest, curve)]
    for chart in charts:
        assert chart is not None
        assert chart.startswith("<svg ")
        assert "&lt;b&gt;$x_1&lt;/b&gt;" in chart  # no markup and no formula
        assert "var(--fg)" in chart
        assert "#00000" not in chart
        assert "http" not in chart
    assert "<title>seed 0: 12.00, seed 1: 13.00</title>" in str(charts[0])
    assert "+1.00 to +4.00, p = 0.01" in str(charts[1])
    assert forest(rows[1:], METRIC, colours) is None
    assert curve(rows[:2], METRIC, colours) is None


def test_captions_are_text() -> None:
    page = show_page("a & b", [("<script>", b"\x89PNG")])
    assert "<h1>a &amp; b</h1>" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "data:image/png;base64,iVBORw==" in page


def test_shares_of_one_have_a_digit_more_than_points_of_a_hundred() -> None:
    entry = {"mean": 0.0744, "std": 0.0118}
    found = {"delta": 0.0886, "low": -0.0012, "high": 0.1784, "p": 0.0512, "holm": 0.2}
    assert mean_text(entry, "nuscenes/car/AP") == "0.074 ± 0.012"
    assert difference_text(found, "nuscenes/car/AP") == "+0.089 [-0.001, +0.178] p=0.051 (Holm 0.2)"
    assert mean_text(entry, "car/3d/moderate/0.5") == "0.07 ± 0.01"
    assert difference_text(found, "car/3d/moderate/0.5") == "+0.09 [-0.00, +0.18] p=0.051 (Holm 0.2)"

"""The leaderboard's HTML page: one file, no outside resource, sortable, readable in light and dark and on a phone."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from lit.experiments.published import LEVELS, Published, own_triple
from lit.leaderboard.charts import arm_colours, bars, curve, forest
from lit.leaderboard.rows import difference_text, frames_cell, mean_text, rivals, worth_text
from lit.results import Result

Row = dict[str, Any]
CLAIMS = {"good": "is better than none", "bad": "is worse than none", "": "cannot be told from none"}


def render_page(rows: list[Row], headline: str, results: list[Result], published: Published | None = None) -> str:
    """The whole page.

    Args:
        rows: ranked rows of :func:`lit.leaderboard.rows.build_rows`.
        headline: the metric shown first.
        results: all records, failed ones too.
        published: a paper's figures for a column of their own.
    """
    names = list(dict.fromkeys([headline, *(name for row in rows for name in row["metrics"])]))
    failed = [result for result in results if result.error is not None]
    summary = f"{len(results) - len(failed)} runs in {len(rows)} rows" + (f"; {len(failed)} failed" if failed else "")
    page = files("lit.leaderboard").joinpath("templates")
    return Template(page.joinpath("leaderboard.html").read_text()).substitute(
        style=page.joinpath("leaderboard.css").read_text(),
        script=page.joinpath("leaderboard.js").read_text(),
        summary=f"{summary}.",
        answers=answers(rows, headline),
        choices="".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in names),
        sections="\n".join(_section(rows, name, name != headline, published) for name in names),
        pictures=_pictures(results),
        failures=_failures(failed),
        facts=_facts([result.content for result in results if result.error is None]),
    )


def answers(rows: list[Row], metric: str) -> str:
    """One sentence for each arm against "none": whether the interval excludes zero, and the arm's worth in labels."""
    items = []
    for row in rows:
        found = row["metrics"].get(metric, {"vs": {}})["vs"].get("none")
        if not found:
            continue
        kind = verdict(found)
        claim = CLAIMS[kind] if found["low"] is not None else "has a single seed: no claim"
        worth = row["frames_equivalent"].get(metric)
        label = f"; worth {escape(worth_text(worth))} labelled frames" if worth else ""
        who = f"<b>{escape(row['arm'])}</b> at {frames_cell(row)} frames"
        text = f"{who} {claim}: <b>{escape(difference_text(found))}</b>{label}"
        items.append(f'<li class="{kind}">{text}</li>')
    if not items:
        return ""
    note = f"Differences in {escape(metric)} with their 95 % interval, paired by seed."
    return f'<p class="soft">{note}</p><ul class="answers">{"".join(items)}</ul>'


def verdict(found: dict[str, Any] | None) -> str:
    """``good`` or ``bad`` when the interval excludes zero, else empty."""
    if not found or found["low"] is None:
        return ""
    return "good" if found["low"] > 0 else "bad" if found["high"] < 0 else ""


def _section(rows: list[Row], metric: str, hidden: bool, published: Published | None) -> str:
    """Charts and tables of one metric."""
    colours = arm_colours(rows)
    charts = {
        f"{metric}: mean over seeds": bars(rows, metric, colours),
        "difference to none, paired by seed": forest(rows, metric, colours),
        "over labelled frames": curve(rows, metric, colours),
    }
    shown = "".join(f"<div><h3>{escape(title)}</h3>{chart}</div>" for title, chart in charts.items() if chart)
    against = rivals(rows)
    head = ["arm", "frames", "seeds", "mean ± std", *(f"minus {arm}" for arm in against), "worth labels"]
    tail = ["injected", "images/s"] + ([LEVELS, published.label] if published else [])
    ranked = [_row(row, metric, against, colours, published) for row in rows if metric in row["metrics"]]
    pairs = [line for row in rows for line in _pairs(row, metric)]
    others = _table(["arm", "minus", "frames", "common seeds", "difference [95 % interval] p"], pairs)
    details = f"<details><summary>Every arm against every other</summary>{others}</details>" if pairs else ""
    note = f'<p class="soft">{escape(published.note())}</p>' if published else ""
    return (
        f'<section data-metric="{escape(metric)}"{" hidden" if hidden else ""}><h2>{escape(metric)}</h2>'
        f'<div class="charts">{shown}</div>{_table([*head, *tail], ranked)}{note}{details}</section>'
    )


def _table(head: list[str], lines: list[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _row(row: Row, metric: str, against: list[str], colours: dict[str, str], published: Published | None) -> str:
    entry = row["metrics"][metric]
    worth = row["frames_equivalent"].get(metric)
    cells = [
        _cell(row["arm"], row["arm"], dot=colours[row["arm"]]),
        _cell(frames_cell(row), row["frames"] or 10**9),
        _cell(str(len(row["seeds"])), len(row["seeds"])),
        _cell(mean_text(entry), entry["mean"]),
    ]
    for arm in against:
        found = entry["vs"].get(arm)
        cells.append(_cell(difference_text(found), found["delta"] if found else "", verdict(found)))
    value = worth["value"] if worth else ""
    beyond = {"<": 0, ">": 10**9}.get(str(value)[:1], "")
    cells.append(_cell(worth_text(worth), value if isinstance(value, float) else beyond))
    for key, digits in (("injected_objects", 0), ("images_per_second", 1)):
        number = row[key]
        cells.append(_cell("–" if number is None else f"{number:.{digits}f}", "" if number is None else number))
    if published:
        figure = published.by_metric(row["arm"]).get(published.metric, "")
        cells.append(_cell(own_triple(row["metrics"], metric), entry["mean"]))
        cells.append(_cell(published.text(row["arm"]), figure))
    return f'<tr class="{"single" if len(row["seeds"]) < 2 else ""}">{"".join(cells)}</tr>'


def _pairs(row: Row, metric: str) -> list[str]:
    lines = []
    for arm, found in row["metrics"].get(metric, {"vs": {}})["vs"].items():
        cells = [
            _cell(row["arm"], row["arm"]),
            _cell(arm, arm),
            _cell(str(row["frames"] or "all"), row["frames"] or 10**9),
            _cell(str(found["seeds"]), found["seeds"]),
            _cell(difference_text(found), found["delta"], verdict(found)),
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return lines


def _cell(text: str, key: object, kind: str = "", dot: str = "") -> str:
    mark = f'<span class="dot" style="background:{dot}"></span>' if dot else ""
    return f'<td class="{kind}" data-key="{escape(str(key))}">{mark}{escape(text)}</td>'


def _pictures(results: list[Result]) -> str:
    """One picture an arm: training frames with injected objects, from the first run that kept some."""
    figures: dict[str, str] = {}
    for result in results:
        for name in result.content.get("samples") or []:
            path = result.path.parent / name
            if result.arm not in figures and path.is_file():
                data = base64.b64encode(path.read_bytes()).decode()
                image = f'<img src="data:image/png;base64,{data}" alt="training frames, {escape(result.arm)}">'
                text = "training frames as the detector saw them; injected boxes orange, labelled boxes blue"
                figures[result.arm] = f"<figure>{image}<figcaption>{escape(result.arm)}: {text}</figcaption></figure>"
    return f"<h2>What was injected</h2>{''.join(figures.values())}" if figures else ""


def _failures(failed: list[Result]) -> str:
    if not failed:
        return ""
    lines = [
        f'<tr><td>{escape(run.path.parent.name)}</td><td class="text"><code>{escape(run.error or "")}</code></td></tr>'
        for run in failed
    ]
    return f'<h2>Failed runs</h2><div class="scroll"><table><tbody>{"".join(lines)}</tbody></table></div>'


def _facts(done: list[dict[str, Any]]) -> str:
    """What the records say about data, evaluator, device, libraries and code."""
    evaluators = [f"{found['name']} {found['version']}" for entry in done if (found := entry.get("evaluator"))]
    versions = [found for entry in done if (found := entry.get("versions"))]
    facts = {
        "Data": [f"{entry['dataset']}, split {entry['split']}" for entry in done],
        "Evaluator": evaluators,
        "Device": [str(entry.get("device") or "") for entry in done],
        "Libraries": [
            f"torch {found.get('torch', '?')}, lightning {found.get('lightning', '?')}" for found in versions
        ],
        "Commit": [str(entry.get("git_commit") or "") for entry in done],
    }
    lines = []
    for name, values in facts.items():
        text = ", ".join(dict.fromkeys(value for value in values if value)) or "not recorded"
        lines.append(f"<p><b>{name}</b> {escape(text)}</p>")
    return "\n".join(lines)

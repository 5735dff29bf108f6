"""The HTML pages: one file each, no outside resource, readable in light and dark and on a phone; the ranking sorts."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lit.experiments.published import EASY_TO_HARD, own_triple
from lit.experiments.statistics import SIGNIFICANT
from lit.leaderboard.arm_charts import arm_charts
from lit.leaderboard.arms import arm_rows
from lit.leaderboard.board import Board
from lit.leaderboard.charts import arm_colours, bars, curve, forest
from lit.leaderboard.rows import Ranked, rivals
from lit.leaderboard.tables import (
    difference_text,
    distinct_text,
    frames_cell,
    mean_text,
    notes,
    planned_cells,
    prepared_text,
    table_cells,
    worth_text,
)
from lit.results import RESULT_FILE, Result

CLAIMS = {"good": "is better than none", "bad": "is worse than none", "": "cannot be told from none"}


def embedded(png: bytes) -> str:
    """A PNG as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def verdict(found: dict[str, Any] | None) -> str:
    """ "good" or "bad" when a difference is told from zero, else empty: by Holm's p where it was planned, so that the
    number of comparisons is paid for, else by its interval."""
    if not found or found["low"] is None:
        return ""
    told = found["low"] > 0 or found["high"] < 0 if found["holm"] is None else found["holm"] < SIGNIFICANT
    return ("good" if found["delta"] > 0 else "bad") if told else ""


def worth_key(worth: dict[str, Any] | None) -> float | str:
    """What an arm's worth is sorted by: beyond the curve's ends lie first and last."""
    value = worth["value"] if worth else ""
    return {"<": 0.0, ">": 1e9}.get(value[:1], "") if isinstance(value, str) else value


PAGES = Environment(
    loader=PackageLoader("lit.leaderboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
TEXTS = (
    difference_text,
    distinct_text,
    prepared_text,
    frames_cell,
    mean_text,
    worth_text,
    embedded,
    verdict,
    worth_key,
)
PAGES.filters.update({text.__name__: text for text in TEXTS})
PAGES.globals["own_triple"] = own_triple


def show_page(title: str, pictures: list[tuple[str, bytes]]) -> str:
    """A page of PNG pictures with their captions."""
    return PAGES.get_template("show.html").render(title=title, pictures=pictures)


def ranking_page(board: Board) -> str:
    """The leaderboard's page."""
    rows, headline, published = board.rows, board.headline, board.published
    names = list(dict.fromkeys([headline, *(name for row in rows for name in row["metrics"])]))
    against, colours = rivals(rows), arm_colours(rows)
    head = ["data", "arm", "frames", "seeds", "mean ± std", *(f"minus {arm}" for arm in against), "worth labels"]
    head += ["injected", "distinct objects", "prepared in", "images/s"] + (
        [EASY_TO_HARD, published.label] if published else []
    )
    return PAGES.get_template("leaderboard.html").render(
        title="Leaderboard",
        board=board,
        rows=rows,
        headline=headline,
        runs=len(board.results) - len(board.failed),
        failed=board.failed,
        planned=planned_cells(board),
        claims=[verdict(entry["difference"]) for entry in board.planned],
        answers=answers(rows, headline),
        sections=[section(rows, name, colours) for name in names],
        later=table_cells(board.later, headline) if board.later else None,
        head=head,
        against=against,
        colours=colours,
        published=published,
        notes=notes(board),
        objects=objects_table(board),
        object_charts=arm_charts([r for r in board.results if r.path.name == RESULT_FILE], colours),
        pictures=arm_pictures(board.results),
        facts=facts([result.content for result in board.results if result.error is None]),
    )


def answers(rows: list[Ranked], metric: str) -> list[tuple[Ranked, dict[str, Any], str]]:
    """Row, difference and claim for each arm against "none": whether the interval excludes zero."""
    found = [(row, row["metrics"].get(metric, {"vs": {}})["vs"].get("none")) for row in rows]
    single = "has a single seed: no claim"
    return [(row, d, CLAIMS[verdict(d)] if d["low"] is not None else single) for row, d in found if d]


def section(rows: list[Ranked], metric: str, colours: dict[str, str]) -> dict[str, Any]:
    """One metric's charts, rows and pairs of arms; a metric that is the same everywhere needs no charts."""
    shown = [row for row in rows if metric in row["metrics"]]
    charts: dict[str, Any] = {}
    for place in dict.fromkeys((row["dataset"], row["split"]) for row in shown):
        here = [row for row in shown if (row["dataset"], row["split"]) == place]
        if len({row["metrics"][metric]["mean"] for row in here}) > 1:
            name = " ".join(place)
            charts |= {
                f"{metric} on {name}: mean over seeds": bars(here, metric, colours),
                f"difference to none on {name}, paired by seed": forest(here, metric, colours),
                f"over labelled frames, {name}": curve(here, metric, colours),
            }
    pairs = [(row, arm, found) for row in shown for arm, found in row["metrics"][metric]["vs"].items()]
    return {"metric": metric, "rows": shown, "charts": charts, "pairs": pairs}


def objects_table(board: Board) -> tuple[list[str], list[list[str]]] | None:
    """Header and text cells of what each arm injected; None where nothing was."""
    head = ["arm", "frames", "class", "objects a frame", "distinct", "held by the source", "passes"]
    head += ["median distance", "median height", "unlike the other arms", "by its method"]
    cells = []
    for row in arm_rows(board.objects):
        pool = "no end" if row["pool"] is None else "{:.0f} to {:.0f}".format(*row["pool"])
        line = [row["arm"], str(row["frames"] or "all"), row["class"], f"{row['objects_per_frame']:.2f}"]
        line += [f"{row['distinct']:.0f}", pool, f"{row['passes']:.1f}", f"{row['medians']['depth']:.1f} m"]
        cells.append(
            [*line, f"{row['medians']['height']:.1f} px", "; ".join(row["differs"]), "; ".join(row["by_method"])]
        )
    return (head, cells) if cells else None


def arm_pictures(results: list[Result]) -> dict[str, bytes]:
    """One picture an arm: training frames with injected objects, from the first run that kept some."""
    found: dict[str, bytes] = {}
    for result in results:
        for name in result.content.get("samples") or []:
            path = result.path.parent / name
            if result.arm not in found and path.is_file() and not path.is_symlink():
                found[result.arm] = path.read_bytes()
    return found


def evaluated(entry: dict[str, Any]) -> str:
    """The frames that a record's figures are of, in words."""
    fold = entry.get("fold")
    return f"split {entry['split']}" if fold is None or entry["split"] != "val" else f"{fold[1]} folds of its drives"


def facts(done: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What the records say about data, evaluator, device, libraries and code."""
    evaluators = [f"{found['name']} {found['version']}" for entry in done if (found := entry.get("evaluator"))]
    versions = [key["versions"] for entry in done if (key := entry.get("key"))]
    return {
        "Data": [f"{entry['dataset']}, {evaluated(entry)}" for entry in done],
        "Evaluator": evaluators,
        "Device": [str(entry.get("device") or "") for entry in done],
        "Libraries": [f"torch {v.get('torch', '?')}, lightning {v.get('lightning', '?')}" for v in versions],
        "Commit": [str(entry.get("git_commit") or "") for entry in done],
        "Code": [key["code"] for entry in done if (key := entry.get("key"))],
    }

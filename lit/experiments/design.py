"""What a comparison was planned to show, stated before its first run: endpoint, comparisons, seeds.

The sweep leaves the plan as ``design.json`` in its folder before anything runs. What is changed or added later is
listed there and shown; the planned analysis stays the first one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.errors import InputError, closest
from datamodules.files.typed_json import Identifier, Text, structure
from lit.results import read_record, write_record

PLAN_FILE = "design.json"
BASELINE = "none"
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
Pair = tuple[Identifier, Identifier]


class Design(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan of a grid.

    Attributes:
        primary: the metric that decides; the leaderboard's usual one when None.
        comparisons: pairs (arm, rival): the family over which Holm's correction is made, with ``frames``.
        frames: numbers of labelled frames the comparisons are made at.
        seeds: the planned seeds; runs with others are exploratory.
        stated: False when the grid file states no plan and this one follows from its arms.
        folds: of cross-validation, as the grid says; unset without.
    """

    primary: Text | None = None
    comparisons: list[Pair] = msgspec.field(default_factory=list)
    frames: list[Annotated[int, Meta(ge=1, le=10**9)] | None] = msgspec.field(default_factory=list)
    seeds: list[Seed] = msgspec.field(default_factory=list)
    stated: bool = True
    folds: Annotated[int, Meta(ge=2)] | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a plan after it was written.

    Attributes:
        time: UTC, ISO 8601.
        what: in words.
    """

    time: Text
    what: Text


class Plan(msgspec.Struct, frozen=True):
    """A plan as it lies in a sweep's folder.

    Attributes:
        name: the grid's.
        design: as it was first written.
        written: UTC, ISO 8601.
        runs_before: finished runs that were there when it was written.
        events: changes since, and looks at the test set.
    """

    name: Text
    design: Design
    written: Text
    runs_before: int = 0
    events: list[Event] = msgspec.field(default_factory=list)


def check_design(path: Path, content: Any, arms: Mapping[str, Sequence[int | None]], seeds: Sequence[int]) -> Design:
    """Check the ``design`` entry of a grid file; without one every arm is compared with "none", as an exploration.

    Args:
        path: the file, for messages.
        content: the entry.
        arms: arms of the grid and the numbers of labelled frames they run on.
        seeds: of the grid.

    Raises:
        InputError: for a missing or unknown key, an arm or a number of frames that the grid does not have.
    """
    if content is None:
        pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE and BASELINE in arms]
        shared = list(dict.fromkeys(count for counts in arms.values() for count in counts))
        return Design(None, pairs, shared, list(seeds), stated=False)
    design: Design = structure(path, "design", content, Design)
    if design.primary is None or not design.comparisons:
        raise InputError(
            f"{path}: design: expected primary (a metric such as car/3d/moderate/0.5) and comparisons (pairs such as "
            "[lift3d, none]); state both, or leave the design out"
        )
    if design.seeds and sorted(design.seeds) != sorted(seeds):
        raise InputError(f"{path}: design.seeds differ from seeds; leave design.seeds out: the grid's are the planned")
    for arm in (arm for pair in design.comparisons for arm in pair):
        if arm not in arms:
            raise InputError(
                f"{path}: design.comparisons: no arm '{arm}', expected {', '.join(arms)}{closest(arm, arms)}"
            )
    frames = design.frames or list(dict.fromkeys(n for a, b in design.comparisons for n in arms[a] if n in arms[b]))
    for arm, rival in design.comparisons:
        for count in frames:
            if arm == rival or count not in arms[arm] or count not in arms[rival]:
                raise InputError(
                    f"{path}: design.comparisons: [{arm}, {rival}] at {count or 'all'} frames, expected two arms that "
                    "both run on as many; correct frames"
                )
    return msgspec.structs.replace(design, frames=frames, seeds=list(seeds))


def write_plan(folder: Path, name: str, design: Design, finished: int) -> Plan:
    """Leave the plan before the first run; a plan that runs were made under stays, and what differs is listed.

    Args:
        folder: the sweep's.
        name: the grid's.
        design: what the grid file says now.
        finished: finished runs in the folder.
    """
    old = read_plan(folder)
    if old is None or (not finished and not old.runs_before):
        if old is None or old.design != design:
            return _write(folder, Plan(name, design, now(), finished))
        return old
    if old.design != design and (what := changes(old.design, design)) not in [event.what for event in old.events]:
        return note(folder, f"after {finished} finished runs: {what}")
    return old


def changes(old: Design, new: Design) -> str:
    """What differs between two designs, in words."""
    fields = ("primary", "comparisons", "frames", "seeds", "folds")
    found = [f"{name} {getattr(old, name)} became {getattr(new, name)}" for name in fields]
    return "; ".join(text for name, text in zip(fields, found, strict=True) if getattr(old, name) != getattr(new, name))


def note(folder: Path, what: str) -> Plan:
    """Add an event to the plan of a folder.

    Raises:
        InputError: there is no plan.
    """
    old = read_plan(folder)
    if old is None:
        raise InputError(f"{folder / PLAN_FILE}: not found; expected a sweep's plan (`python -m lit sweep` writes it)")
    if what in [event.what for event in old.events]:
        return old
    return _write(folder, msgspec.structs.replace(old, events=[*old.events, Event(now(), what)]))


def read_plan(folder: Path) -> Plan | None:
    """The plan that lies in a folder; None without one.

    Raises:
        InputError: a file that no sweep wrote, or that was changed since.
    """
    path = folder / PLAN_FILE
    if not os.path.lexists(path):  # a link to nowhere is no absence
        return None
    content = read_record(path, "a sweep's plan; restore it, or delete it and lose the proof of what was planned")
    plan: Plan = structure(path, "", content, Plan)
    return plan


def now() -> str:
    """The present time, UTC, in whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _write(folder: Path, plan: Plan) -> Plan:
    write_record(folder / PLAN_FILE, msgspec.to_builtins(plan))
    return plan

"""Arms that a grid file states through others: ``like`` another arm, and left out of the grid that it extends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.errors import InputError, closest


def with_arms_resolved(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A grid file's content in which every arm says all its options itself.

    An arm that says ``like: OTHER`` has the other's options below its own and needs the preparing steps that the other
    needs. An arm that is null is left out; steps that served such arms alone go with them.

    Args:
        path: of the file, for messages.
        content: what it says, after ``extends``.

    Raises:
        InputError: an arm is like one that is not there or that is itself like another.
    """
    arms = content.get("arms")
    if not isinstance(arms, dict):
        return content
    out = {name for name, arm in arms.items() if arm is None}
    models: dict[str, str] = {}
    found = {}
    for name, arm in arms.items():
        if isinstance(arm, dict) and "like" in arm:
            models[name] = model = _model(path, name, arm["like"], arms)
            own = {key: value for key, value in arm.items() if key != "like"}
            arm = own | {"options": (arms[model].get("options") or {}) | (own.get("options") or {})}
        if arm is not None:
            found[name] = arm
    if not (out or models):
        return content
    steps = [_served(step, out, models) for step in content.get("prepare") or []]
    return content | {"arms": found, "prepare": [step for step in steps if step is not None]}


def _model(path: Path, name: str, like: object, arms: dict[str, Any]) -> str:
    others = [other for other, arm in arms.items() if isinstance(arm, dict) and "like" not in arm and other != name]
    if not isinstance(like, str) or like not in others:
        raise InputError(
            f"{path}: arms.{name}.like is {like!r}, expected an arm that says its own options: {', '.join(others)}"
            f"{closest(str(like), others)}"
        )
    return like


def _served(step: Any, out: set[str], models: dict[str, str]) -> Any:
    """A preparing step for the arms that are left; None where none is."""
    if not isinstance(step, dict) or not isinstance(arms := step.get("arms"), list) or not arms:
        return step
    alike = [name for name, model in models.items() if model in arms and name not in arms]
    left = [arm for arm in arms if arm not in out] + alike
    return step | {"arms": left} if left else None

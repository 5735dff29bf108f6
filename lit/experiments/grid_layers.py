"""What a grid file says, with the files that it ``extends`` below it and arms that are ``like`` others filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.errors import InputError, closest
from datamodules.files.typed_json import read_yaml


def grid_content(path: Path) -> dict[str, Any]:
    """What a grid file says, every arm with all its options itself.

    Of an entry that several files have, the upper one's holds; nested ones are taken together, lists whole. Whether an
    arm is left out says the uppermost file that mentions it, so one that a file between leaves out may come back.

    Raises:
        InputError: no such file, or one that extends what is none or itself, or see :func:`with_arms_resolved`.
    """
    if not path.is_file():
        beside = [str(p) for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise InputError(f"no grid file '{path}'{closest(str(path), beside) or '; see conf/sweep'}")
    return with_arms_resolved(path, _layered(path, None, []))


def _layered(path: Path, above: dict[str, Any] | None, files: list[Path]) -> dict[str, Any]:
    """A file and those that it extends as one. From the top down, so that what is left out between can come back.

    Args:
        path: of the file.
        above: what the files that extend it say as one, but for names and folders.
        files: those files.
    """
    content = read_yaml(path, dict[str, Any], "a grid such as conf/sweep/demo.yaml")
    base = content.pop("extends", None)
    if above is not None:
        below = {key: value for key, value in content.items() if key not in ("name", "folder")}
        content = merged(below, above) | steps_of_both(below, above)
    if base is None:
        return content
    if not isinstance(base, str) or not Path(base).is_file():
        raise InputError(
            f"{path}: extends is {base!r}, expected another grid file; paths are relative to the working directory"
        )
    if any(Path(base).samefile(file) for file in (path, *files)):
        raise InputError(f"{path}: extends {base}, which leads back to itself; expected a file that does not")
    return _layered(Path(base), content, [path, *files])


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both say something, ``above`` holds, and lists are taken whole."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        found[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return found


def steps_of_both(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Preparing steps of a grid and of one that extends it, by name; where both have one, the upper entries hold."""
    every = [content.get("prepare") or [] for content in (below, above)]
    if not all(isinstance(steps, list) and all(isinstance(step, dict) for step in steps) for steps in every):
        return {}  # whoever checks the file says so
    lower, upper = ({str(step.get("name")): step for step in steps} for steps in every)
    if len(upper) < len(every[1]):
        return {}  # two of one name: likewise
    return {"prepare": list(merged(lower, upper).values())}


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

"""A sweep's grid file: which runs it stands for, and the steps that prepare them."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import InputError
from lit.arguments import closest
from lit.experiments.published import Published, check_published

OPTIONAL = {"name", "folder", "options", "prepare", "frames_option", "reuse", "published"}


@dataclass(frozen=True)
class Step:
    """A command that runs once before the grid.

    Attributes:
        name: shown, and the name of its marker file.
        command: arguments after ``python -m lit``.
        creates: files or folders that must be there afterwards.
        arms: the arms that need it; all when empty.
    """

    name: str
    command: list[str]
    creates: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)

    def serves(self, arm: str) -> bool:
        """Whether an arm needs it."""
        return not self.arms or arm in self.arms

    @property
    def digest(self) -> str:
        """Hash of the command and of what its YAML files say: a changed step runs again, a changed comment is none."""
        parts = [part + stated(Path(part), set()) for part in self.command]
        return fingerprint("\0".join(parts))


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        arm: name of the arm.
        frames: labelled frames, None for all.
        seed: the run's seed.
        folder: the run's own folder.
        command: arguments after ``python -m lit``.
    """

    arm: str
    frames: int | None
    seed: int
    folder: Path
    command: list[str]

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Grid:
    """A checked grid file.

    Attributes:
        name: of the sweep.
        folder: where runs are written.
        experiment: configuration file all arms start from.
        arms: arm name to {"frames": [...], "options": {option: value}}.
        seeds: all arms of the first seed run before the second seed's, so that partial results stay paired.
        options: options common to all arms.
        prepare: steps before the first run.
        frames_option: option that takes the number of labelled frames.
        reuse: folders of other sweeps whose finished runs are taken over where they are the same runs.
        published: a publication's figures to show beside ours.
    """

    name: str
    folder: Path
    experiment: Path
    arms: dict[str, dict[str, Any]]
    seeds: list[int]
    options: dict[str, Any]
    prepare: list[Step]
    frames_option: str = "data.train_frames"
    reuse: list[Path] = field(default_factory=list)
    published: Published | None = None

    def cells(self) -> Iterator[Cell]:
        """All runs, seed by seed."""
        for seed in self.seeds:
            for arm, entry in self.arms.items():
                for frames in entry["frames"]:
                    folder = self.folder / f"{arm}-{frames or 'all'}-s{seed}"
                    yield Cell(arm, frames, seed, folder, self.command(arm, frames, seed, folder))

    def command(self, arm: str, frames: int | None, seed: int, folder: Path) -> list[str]:
        """The arguments of one run; what is given later wins, so an arm's options override the common ones."""
        options: dict[str, Any] = {**self.options, **self.arms[arm]["options"]}
        options |= {self.frames_option: frames} if frames else {}
        options |= {"record.arm": arm, "record.frames": frames, "record.inputs": self.inputs(arm)}
        options |= {"trainer.default_root_dir": str(folder), "trainer.enable_progress_bar": False}
        words = ["fit", "-c", str(self.experiment), "--seed_everything", str(seed)]
        return words + [f"--{key}={value_text(value)}" for key, value in options.items()]

    def digest(self, step: Step) -> str:
        """Hash of a preparing step and of the earlier ones that serve an arm it serves: what it may build on."""
        arms = [arm for arm in self.arms if step.serves(arm)]
        earlier = self.prepare[: self.prepare.index(step)]
        digests = [other.digest for other in earlier if any(other.serves(arm) for arm in arms)]
        return fingerprint("".join([*digests, step.digest]))

    def inputs(self, arm: str) -> str | None:
        """Hash of the preparing steps an arm needs, recorded with its runs; None without any."""
        digests = [step.digest for step in self.prepare if step.serves(arm)]
        return fingerprint("".join(digests)) if digests else None


def fingerprint(text: str) -> str:
    """First 16 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stated(path: Path, seen: set[Path]) -> str:
    """What a YAML file says, and the YAML files it names beside it; empty for another file or one that is not there."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file() or path in seen:
        return ""
    seen.add(path)
    content = json.dumps(yaml.safe_load(path.read_text()), sort_keys=True, default=str)
    named = re.findall(r'"([^"]+\.ya?ml)"', content)
    return content + "".join(stated(path.parent / name, seen) for name in named)


def value_text(value: object) -> str:
    """A value as an option takes it: YAML's spelling of null, true and lists."""
    return value if isinstance(value, str) else json.dumps(value)


def read_grid(path: Path, root: Path | None = None, overrides: Mapping[str, str] | None = None) -> Grid:
    """Read and check a grid file.

    Args:
        path: the YAML file; paths inside it are relative to the working directory.
        root: write runs here instead of ``folder`` or ``runs/<name>``.
        overrides: options for every run, in the place of the file's; preparing steps see them as ``${option}``.

    Raises:
        InputError: for a missing file, unknown keys or values of the wrong type.
    """
    if not path.is_file():
        beside = [str(p) for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), beside, n=1)
        raise InputError(f"no grid file '{path}'" + (f"; did you mean '{near[0]}'?" if near else "; see conf/sweep"))
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    check_keys(path, content, {"experiment", "arms", "seeds"}, OPTIONAL)
    name = str(content.get("name", path.stem))
    folder = root or Path(content.get("folder", f"runs/{name}"))
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not seeds or any(not isinstance(s, int) or s < 0 for s in seeds):
        raise InputError(f"{path}: seeds is {seeds!r}, expected a list of integers >= 0 such as [0, 1, 2]")
    experiment = Path(content["experiment"])
    if not experiment.is_file():
        raise InputError(f"{path}: no experiment file '{experiment}'; paths are relative to the working directory")
    arms = {arm: _arm(path, arm, entry or {}) for arm, entry in _mapping(path, "arms", content["arms"]).items()}
    options = _mapping(path, "options", content.get("options") or {}) | dict(overrides or {})
    for entry in arms.values():
        entry["options"] |= {key: value for key, value in (overrides or {}).items() if key in entry["options"]}
    steps = [_step(path, entry, options, list(arms)) for entry in content.get("prepare") or []]
    frames_option = str(content.get("frames_option", "data.train_frames"))
    reuse = [Path(place) for place in _strings(path, "reuse", content.get("reuse") or [])]
    stated = content.get("published")
    published = check_published(path, stated, list(arms)) if stated is not None else None
    return Grid(name, folder, experiment, arms, seeds, options, steps, frames_option, reuse, published)


def check_keys(path: Path, content: object, required: set[str], optional: set[str]) -> None:
    """Check a mapping's keys.

    Raises:
        InputError: naming the first missing or unknown key and its closest match.
    """
    content = _mapping(path, "the file", content)
    for key in content:
        if key not in required | optional:
            near = difflib.get_close_matches(str(key), required | optional, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{path}: unknown key '{key}', expected {', '.join(sorted(required | optional))}{hint}")
    if missing := sorted(required - content.keys()):
        raise InputError(f"{path}: key '{missing[0]}' is missing")


def _mapping(path: Path, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {name} is {type(value).__name__}, expected a mapping")
    return {str(key): entry for key, entry in value.items()}


def _arm(path: Path, arm: str, entry: object) -> dict[str, Any]:
    check_keys(path, entry, set(), {"frames", "options"})
    content = _mapping(path, arm, entry)
    frames = content.get("frames") or [None]
    if not isinstance(frames, list) or any(f is not None and (not isinstance(f, int) or f < 1) for f in frames):
        raise InputError(f"{path}: arms.{arm}.frames is {frames!r}, expected a list of integers >= 1 such as [50, 200]")
    return {"frames": frames, "options": _mapping(path, f"arms.{arm}.options", content.get("options") or {})}


def _step(path: Path, entry: object, options: Mapping[str, Any], arms: list[str]) -> Step:
    check_keys(path, entry, {"name", "command"}, {"creates", "arms"})
    content = _mapping(path, "prepare", entry)
    name, command = str(content["name"]), content["command"]
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    needed = _strings(path, f"prepare.{name}.arms", content.get("arms") or [])
    for arm in needed:
        if arm not in arms:
            near = closest(arm, arms)
            raise InputError(f"{path}: prepare.{name}.arms: no arm '{arm}', expected {', '.join(arms)}{near}")
    texts = [_filled(path, name, text, options) for text in [*words, *map(str, content.get("creates") or [])]]
    return Step(name, texts[: len(words)], texts[len(words) :], needed)


def _filled(path: Path, step: str, text: str, options: Mapping[str, Any]) -> str:
    """``${data.root}`` in a preparing step stands for that option of the grid."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in options:
            known = ", ".join(options) or "none"
            raise InputError(f"{path}: prepare.{step}: no option '{found[1]}' in this grid, expected one of {known}")
        return value_text(options[found[1]])

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def _strings(path: Path, name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise InputError(f"{path}: {name} is {value!r}, expected a list of names")
    return value

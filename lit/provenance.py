"""What a run's figures follow from: its configuration, the code, what it read, and the libraries; together its key."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from datamodules.errors import InputError
from lit import ROOT

PACKAGES = ("datamodules", "detectors", "lit")
LIBRARIES = (
    "torch",
    "torchvision",
    "lightning",
    "numpy",
    "scipy",
    "numba",
    "timm",
    "trimesh",
    "opencv-python-headless",
)
# Options that say where a run is written, how it reports and whether it goes on, not what it computes.
PLACES = (
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.logger",
    "data.init_args.table_cache",
    "checkpoint",
    "record",
    "config",
)
WRITES = (
    "trainer.",
    "checkpoint.",
    "record.",
    "data.init_args.table_cache.",
)  # paths below these are written, not read
FOLD_OPTION = "data.fold"  # which part is evaluated: one run is made of every fold
OF_OBJECTS = ("data.init_args.road_masks", "ckpt_path")  # inputs of single arms, as all of data.injection: no ground
MOST_READ = 16 << 30  # of one input that are read; beyond it names and sizes have to do


class RunKey(msgspec.Struct, frozen=True):
    """Two runs with the same key have the same figures, wherever their files lie.

    Attributes:
        config: hash of the resolved configuration, without :data:`PLACES`, each path in it replaced by its content's.
        recipe: hash of all that the seeds of one row share: configuration but seed and fold, code, libraries, contents.
        ground: hash of what the arms of one comparison share: code, libraries, and contents but those of objects.
        code: hash of the three packages' source.
        contents: option that names a file or folder, to the hash of what was in it ("sizes:..." for what is too large
            to be read for this: names and sizes alone).
        versions: of Python and the libraries.
    """

    config: str
    recipe: str
    ground: str
    code: str
    contents: dict[str, str]
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """The key in 16 hex digits."""
        return hash_of_values([self.config, self.code, self.contents, self.versions])


class Contents:
    """Hashes of files and folders; what was hashed once is not looked at again, so keep one only for a moment."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, tuple[Path, ...] | None], str] = {}

    def of(self, place: Path, files: Sequence[Path] | None) -> str:
        """Hash of a file or folder; see :func:`input_hash`."""
        named = place, None if files is None else tuple(files)
        if named not in self._known:
            self._known[named] = input_hash(place, files)
        return self._known[named]


def run_key(config: Mapping[str, Any], contents: Contents | None = None, varied: Sequence[str] = ()) -> RunKey:
    """The key of a run with a resolved configuration, as things stand in its folders now.

    Args:
        config: as :func:`lit.trainer_cli.resolve` returns it; paths are relative to the working directory.
        contents: hashes known from other runs of the same moment.
        varied: options that change with the seed by plan (a bank for every seed, a module's own seed), as typed:
            "data.injection.source.folder".
    """
    hashes = contents or Contents()
    read = {name: hashes.of(place, files) for name, place, files in inputs(config)}
    kept = json.loads(json.dumps(config, default=str))
    for place in (*PLACES, "ckpt_path") if config.get("ckpt_path") in (None, "last") else PLACES:  # "last" goes on
        *groups, name = place.split(".")
        owner = kept
        for group in groups:
            owner = owner.get(group) or {}
        owner.pop(name, None)
    for name, found in read.items():
        _replace(kept, name.split("."), found)
    whole = hash_of_values(kept)
    for name in ["seed_everything", FOLD_OPTION, *varied]:
        _forget(kept, name.split("."))
    code, libraries = code_hash(), versions()
    recipe = hash_of_values([kept, code, _planned(read, varied), libraries])
    return RunKey(whole, recipe, common_ground(code, read, libraries, varied), code, read, libraries)


def common_ground(code: str, read: Mapping[str, str], libraries: Mapping[str, str], varied: Sequence[str]) -> str:
    """Hash of what the arms of one comparison share; arguments as the attributes of :class:`RunKey`, and ``varied``."""
    return hash_of_values([code, shared_contents(read, varied), libraries])


def shared_contents(read: Mapping[str, str], varied: Sequence[str]) -> dict[str, str]:
    """Contents but those of objects to insert, which are an arm's own, and those that change with the seed by plan."""
    return {k: v for k, v in _planned(read, varied).items() if ".injection." not in k and k not in OF_OBJECTS}


def _planned(read: Mapping[str, str], varied: Sequence[str]) -> dict[str, str]:
    """Contents but those that change with the seed by plan."""
    return {k: v for k, v in read.items() if k.replace(".init_args", "") not in varied}


def inputs(config: Mapping[str, Any]) -> Iterator[tuple[str, Path, list[Path] | None]]:
    """Options that name something to read: the option, the file or folder, and which files of it if not all.

    A class that reads only a part of a folder says so with a static method ``reads(**init_args)`` that returns the
    option's name and the files; for the others every text that is an existing path stands for all that is there.
    """
    own = Path(str((config.get("trainer") or {}).get("default_root_dir") or "runs")).resolve()
    for name, place, files in _inputs(config, ""):
        if files is not None or place.resolve() not in (own, *own.parents):  # what the run writes is no input
            yield name, place, files


def input_hash(place: Path, files: Sequence[Path] | None = None) -> str:
    """First 16 hex digits of the SHA-256 over names and bytes of a file, or of the files of a folder.

    Args:
        place: the file or folder.
        files: of the folder, all but hidden ones when None; "sizes:" stands before the hash when they are too large to
            be read for this and their sizes have to do.
    """
    listed = sorted(_files(place)) if files is None else sorted(path for path in files if path.is_file())
    sizes = [file.stat().st_size for file in listed]
    read = sum(sizes) <= MOST_READ
    hasher = hashlib.sha256()
    with _Remembered() as remembered:
        for file, size in zip(listed, sizes, strict=True):
            name = file.relative_to(place).as_posix() if file != place else ""
            hasher.update(f"{name}\0{remembered.hash(file) if read else size}\n".encode())
    return ("" if read else "sizes:") + hasher.hexdigest()[:16]


@cache
def code_hash() -> str:
    """First 16 hex digits of the SHA-256 over the names and bytes of the three packages' source files."""
    hasher = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            hasher.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes())
    return hasher.hexdigest()[:16]


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries a figure may depend on."""
    found = {"python": platform.python_version()}
    for name in (*LIBRARIES, "liftbench"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` when tracked files differ from it; None outside a clone."""
    try:
        found = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def hash_of_values(value: object) -> str:
    """First 16 hex digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _inputs(node: Any, place: str) -> Iterator[tuple[str, Path, list[Path] | None]]:
    if f"{place}.".startswith(WRITES):
        return
    if isinstance(node, Mapping):
        said = _reads(node)
        for key, value in node.items():
            name = f"{place}.{key}" if place else str(key)
            if said and key == "init_args":
                option, files = said
                yield f"{name}.{option}", Path(value[option]), files
                value = {other: entry for other, entry in value.items() if other != option}
            yield from _inputs(value, name)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _inputs(value, f"{place}.{index}")
    elif isinstance(node, str) and (place, node) != ("ckpt_path", "last") and _exists(node):
        yield place, Path(node), None


def _reads(node: Mapping[str, Any]) -> tuple[str, list[Path]] | None:
    """The option and the files of a class that says what it reads."""
    module, _, name = str(node.get("class_path", "")).rpartition(".")
    given = node.get("init_args")
    if not module or not isinstance(given, Mapping):
        return None
    try:
        reads = getattr(getattr(importlib.import_module(module), name), "reads", None)
    except (ImportError, AttributeError):
        return None
    if reads is None:
        return None
    try:
        option, files = reads(**given)
        return str(option), list(files)
    except InputError:  # not there yet, or broken: whoever reads it says so
        return None


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, a NUL
        return False


def _replace(node: Any, path: list[str], value: str) -> None:
    for part in path[:-1]:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if isinstance(node, list):
        node[int(path[-1])] = value
    else:
        node[path[-1]] = value


def _forget(node: Any, typed: list[str]) -> None:
    """Empty an option by its name on the command line, which leaves ``init_args`` out; nothing where there is none."""
    for place, part in enumerate(typed):
        if isinstance(node, dict) and part not in node:
            node = node.get("init_args")
        if not isinstance(node, dict) or part not in node:
            return
        if place + 1 == len(typed):
            node[part] = None
        node = node[part]


def _files(path: Path) -> Iterator[Path]:
    """A file, or all files below a folder but hidden ones, in one order everywhere."""
    if path.is_file():
        yield path
        return
    for folder, names, files in os.walk(path, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


class _Remembered:
    """Hashes of files by path, size and time of change, kept between runs in the user's cache; it may be missing."""

    def __enter__(self) -> _Remembered:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftbench"
        self._new: list[tuple[str, int, int, str]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._path: Path | None = folder / "hashes.sqlite"
            with closing(sqlite3.connect(self._path, timeout=10)) as base, base:
                base.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size, changed, hash)")
                rows = base.execute("SELECT path, size, changed, hash FROM files").fetchall()
        except (OSError, sqlite3.Error):
            self._path, rows = None, []
        self._known = {path: (size, changed, found) for path, size, changed, found in rows}
        return self

    def hash(self, file: Path) -> str:
        """SHA-256 of a file's bytes."""
        name, state = str(file.resolve()), file.stat()
        known = self._known.get(name)
        if known and known[:2] == (state.st_size, state.st_mtime_ns):
            return str(known[2])
        with file.open("rb") as stream:
            hasher = hashlib.sha256()
            while block := stream.read(1 << 20):
                hasher.update(block)
        found = hasher.hexdigest()
        self._new.append((name, state.st_size, state.st_mtime_ns, found))
        return found

    def __exit__(self, *_: object) -> None:
        if self._path is None or not self._new:
            return
        try:
            with closing(sqlite3.connect(self._path, timeout=10)) as base, base:
                base.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", self._new)
        except sqlite3.Error:
            return

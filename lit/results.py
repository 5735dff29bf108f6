"""The result contract: ``result.json``, written once by every run and read by the sweep and the leaderboard."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import Finite, Identifier, quoted, read_json, structure
from lit.provenance import RunKey, common_ground, hash_of_values, shared_contents

Line = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
SCHEMA = 2
CHECKSUM = "checksum"
VERSION, TRAINED = "version of ", "training: "  # before names of what runs share
RESULT_FILE = "result.json"  # of a training; scores of other splits lie beside it, see result_file


@dataclass(frozen=True)
class Result:
    """One finished or failed run.

    Attributes:
        path: the ``result.json`` it was read from.
        arm: the augmentation's name.
        frames: labelled frames the run trained on, None for all.
        seed: the run's seed.
        dataset: data set name.
        split: split the metrics were measured on.
        metrics: flat names ("car/3d/moderate/0.5") to values; empty for a failed run.
        error: last log line of a failed run, else None.
        content: everything the file holds.
        key: what the figures follow from; None for a failed run.
        recipe: hash of what the seeds of one row share.
        ground: hash of what the arms of one comparison share.
        shared: what that is, by name: code, versions, options that name something to read; None where the record of
            the training whose checkpoint was scored is not at hand.
        fold: of cross-validation, its number and how many there are; None for a run on given splits.
        parts: of a run that stands for all folds (:mod:`lit.experiments.folds`), the folds' runs; empty for others.
    """

    path: Path
    arm: str
    frames: int | None
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    dataset: str
    split: str
    metrics: dict[str, float]
    error: str | None
    content: dict[str, Any]
    key: RunKey | None = None
    recipe: str = ""
    ground: str = ""
    shared: dict[str, str] | None = None
    fold: tuple[int, int] | None = None
    parts: tuple[Result, ...] = ()

    @property
    def runs(self) -> tuple[Result, ...]:
        """The trainings that it stands for."""
        return self.parts or (self,)

    @property
    def evaluator(self) -> str:
        """Name and version of what measured the metrics."""
        found = self.content.get("evaluator") or {}
        return f"{found.get('name')} {found.get('version')}"

    @property
    def raw(self) -> list[tuple[Path, str]]:
        """Files of what each frame adds to the metrics, with their SHA-256: one a training; none where one lacks it."""
        named = [(run.path.parent, run.content.get("raw")) for run in self.runs]
        found = [(folder / raw["file"], str(raw["sha256"])) for folder, raw in named if raw]
        return found if len(found) == len(named) else []


class Trained(msgspec.Struct, frozen=True):
    """What a checkpoint says of the training that wrote it: see :class:`lit.provenance.RunKey`."""

    digest: Line
    recipe: Line
    ground: Line


class RawFile(msgspec.Struct, frozen=True):
    """A file beside the record: its name, and the SHA-256 of what it holds."""

    file: Identifier
    sha256: Line


class Evaluator(msgspec.Struct):
    """What measured the metrics; it may state more."""

    name: Line
    version: Line


class Recorded(msgspec.Struct):
    """What every record holds; the other fields are there for readers of the file."""

    arm: Line | None
    frames: Annotated[int, Meta(ge=1)] | None
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    dataset: Line
    split: Line
    metrics: dict[str, Any]
    error: str | None = None
    human_labels: bool | None = None
    injected_objects: Finite | None = None
    images_per_second: Finite | None = None
    duration_seconds: Finite | None = None
    evaluator: Evaluator | None = None
    device: str | None = None
    key: RunKey | None = None
    trained: Trained | None = None
    raw: RawFile | None = None
    git_commit: str | None = None
    fold: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=2)]] | None = None
    samples: list[Identifier] | None = None  # pictures beside the record, nowhere else


def write_json(path: Path, value: object) -> None:
    """Write JSON; a kill leaves the old file or the new one."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=False) + "\n")


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record with the hash of what it says, so that a later change shows."""
    write_json(path, sealed(record))


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record as plain JSON values, with the hash of what it says."""
    plain = json.loads(json.dumps(record, default=str))
    return {**plain, CHECKSUM: hash_of_values(plain)}


def read_record(path: Path, expected: str) -> dict[str, Any]:
    """Read what :func:`write_record` wrote, without the hash.

    Raises:
        InputError: it is missing, no JSON, or was changed since.
    """
    return _unsealed(path, read_json(path, dict[str, Any], expected), expected)


def _unsealed(path: Path, content: dict[str, Any], expected: str) -> dict[str, Any]:
    """A record without its hash, which it has to fit."""
    stated = content.pop(CHECKSUM, None)
    if stated != hash_of_values(content):
        raise InputError(f"{path}: changed since it was written ({CHECKSUM} does not fit); expected {expected}")
    return content


def write_output(path: str | Path, value: object) -> None:
    """Write JSON where an option ``--out`` says.

    Raises:
        InputError: the file cannot be written.
    """
    with _refusing(path):
        write_json(Path(path), value)


def require_output(path: str | Path) -> None:
    """Look whether what ``--out`` names can be written, before long work.

    Raises:
        InputError: it cannot.
    """
    target = Path(path)
    with _refusing(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def _refusing(path: str | Path) -> Iterator[None]:
    """What the disk says of ``--out``, as one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written ({error.strerror}); choose another file") from error


def result_file(command: str) -> str:
    """The name of a command's record: only a training's may replace a training's."""
    return RESULT_FILE if command == "fit" else f"result_{command}.json"


def read_result(path: Path) -> Result:
    """Read one record.

    Raises:
        InputError: when the file is no record of this schema.
    """
    expected = "a run's record (run it again to have it written)"
    content = read_json(path, dict[str, Any], expected)
    if (found := content.get("schema")) != SCHEMA:
        schema = quoted(found)
        raise InputError(f"{path}: result schema {schema}, expected {SCHEMA}; run it again with this version")
    content = _unsealed(path, content, expected)
    record: Recorded = structure(path, "", content, Recorded)
    metrics = {k: structure(path, f"metrics.{k}", v, float) for k, v in record.metrics.items() if v is not None}
    metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
    arm = record.arm or path.parent.name
    named = (path, arm, record.frames, record.seed, record.dataset, record.split, metrics, record.error, content)
    key, trained = record.key, record.trained
    fold = record.fold
    if fold and fold[0] >= fold[1]:
        raise InputError(f"{path}: fold {list(fold)}, expected [k, n] with k below n; run it again")
    if key is None:
        return Result(*named, fold=fold)
    ground, shared = _ground(key, content), _shared(key, content)
    if trained is None:
        return Result(*named, key, key.recipe, ground, shared, fold)
    before = _training(path, trained)
    grounds = [trained.ground if before is None else _ground(*before), ground]
    both = None
    if before is not None:
        both = shared | {f"{TRAINED}{name}": value for name, value in _shared(*before).items()}
    recipe = hash_of_values([trained.recipe, key.code])
    return Result(*named, key, recipe, hash_of_values(grounds), both, fold)


def _ground(key: RunKey, content: Mapping[str, Any]) -> str:
    """What a run shares with the other arms, from what it read: the hash in older records counts road masks in."""
    return common_ground(key.code, key.contents, key.versions, _varied(content))


def _shared(key: RunKey, content: Mapping[str, Any]) -> dict[str, str]:
    """The same by name."""
    versions = {f"{VERSION}{name}": version for name, version in key.versions.items()}
    return {"code": key.code, **versions, **shared_contents(key.contents, _varied(content))}


def _varied(content: Mapping[str, Any]) -> list[str]:
    """Options of a run that change with the seed by plan."""
    place: Any = content
    for name in ("config", "record", "varied"):
        place = place.get(name) if isinstance(place, Mapping) else None
    return place if isinstance(place, list) else []


def _training(path: Path, trained: Trained) -> tuple[RunKey, dict[str, Any]] | None:
    """Key and content of the training whose checkpoint was scored, by its record beside this one; None without."""
    beside = path.parent / RESULT_FILE
    if path.name != RESULT_FILE and beside.is_file():
        content = read_record(beside, "the record of the training")
        key = structure(beside, "", content, Recorded).key
        if key is not None and key.digest == trained.digest:
            return key, content
    return None


def find_results(places: Sequence[Path]) -> Iterator[Result]:
    """All records under the given folders (or the given files), in sorted order.

    Raises:
        InputError: when a place is missing or holds no record.
    """
    for place in places:
        if not place.exists():
            raise InputError(
                f"{place}: no such folder; expected a folder with {RESULT_FILE} files, as a sweep leaves them"
            )
        files = [place] if place.is_file() else sorted(place.rglob("result*.json"))
        if not files:
            raise InputError(f"{place}: holds no {RESULT_FILE}; run `python -m lit sweep` or `python -m lit fit` first")
        yield from map(read_result, files)

"""A sweep's grid file: which runs it stands for, and the steps that prepare them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from datamodules.errors import InputError, closest
from datamodules.files.typed_json import Identifier, structure
from lit.experiments.design import Design, check_design
from lit.experiments.grid_layers import grid_content
from lit.experiments.published import Published, check_published
from lit.provenance import FOLD_OPTION, hash_of_values

Count = Annotated[int, Meta(ge=1, le=10**9)]


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One arm of the comparison.

    Attributes:
        frames: numbers of labelled frames it is run on; None is all of them.
        options: its own options.
    """

    frames: list[Count | None] = msgspec.field(default_factory=lambda: [None])
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_unique("frames", self.frames)


PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that runs once before the grid.

    Attributes:
        name: shown, and the name of its marker file.
        command: arguments after ``python -m lit``.
        creates: files or folders that must be there afterwards.
        arms: the arms that need it; all when empty.
        bank: the bank it belongs to, where the grid prepares several (``{bank}`` in its words); None serves all.
    """

    name: Identifier
    command: list[str]
    creates: list[str] = msgspec.field(default_factory=list)
    arms: list[str] = msgspec.field(default_factory=list)
    bank: int | None = None

    def serves(self, arm: str, bank: int | None = None) -> bool:
        """Whether an arm needs it; with a bank, whether its runs with this bank do."""
        return (not self.arms or arm in self.arms) and (bank is None or self.bank in (None, bank))

    @property
    def digest(self) -> str:
        """Hash of the command and of what its YAML files say: a changed step runs again, a changed comment is none."""
        return hash_of_values(self.said())

    def said(self) -> list[str]:
        """Its words, and after each what the YAML files say that it names."""
        return [part + stated(Path(part), set()) for part in self.command]

    def paths(self, said: list[str]) -> set[PurePosixPath]:
        """Its options' values, and what in :meth:`said` has the form of a path."""
        words = {word.split("=")[-1] for word in self.command[1:] if "=" in word or word[:1] != "-"}
        return {PurePosixPath(path) for path in words.union(*map(PATH.findall, said))}

    def builds_on(self, other: Step, said: list[str] | None = None) -> bool:
        """Whether it names a file that another step makes, a folder above it, or something beside or in it.

        The file that a step states is the mark of a folder that it fills. One that states none is taken to make all
        that it names.

        Args:
            other: the step.
            said: of :meth:`said`, for who asks of many steps: it reads files.
        """
        stated = {PurePosixPath(path) for path in other.creates}
        made = {path.parent if path.suffix and path.parent.name else path for path in stated}
        made = made or other.paths(other.said())
        named = self.paths(self.said() if said is None else said)
        return any(mine == its or mine in its.parents or its in mine.parents for mine in named for its in made)


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        arm: name of the arm.
        frames: labelled frames, None for all.
        seed: the run's seed.
        fold: of cross-validation, its number and how many there are; None without.
        bank: the bank its arm draws from, where the grid prepares several.
        folder: the run's own folder.
        command: arguments after ``python -m lit``.
        varied: options that change with the bank.
    """

    arm: str
    frames: int | None
    seed: int
    fold: tuple[int, int] | None
    bank: int
    folder: Path
    command: list[str]
    varied: list[str]

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
        arms: by name.
        seeds: all arms of the first seed run before the second seed's, so that partial results stay paired.
        options: options common to all arms.
        prepare: steps before the first run.
        folds: every run is made so many times, each evaluated on another part of the labelled drives; 0 for the splits
            as they are.
        frames_option: option that takes the number of labelled frames.
        reuse: folders of other sweeps whose finished runs are taken over where they are the same runs.
        published: a publication's figures to show beside ours.
        design: what was planned: endpoint, comparisons, seeds.
        banks: seeds take the banks in turn, where a preparing step and an arm's option say ``{bank}``.
        test: options that turn a run's command into the one that scores its final weights on the held-out test set.
    """

    name: str
    folder: Path
    experiment: Path
    arms: dict[str, Arm]
    seeds: list[int]
    options: dict[str, Any]
    prepare: list[Step]
    design: Design
    folds: int = 0
    frames_option: str = "data.train_frames"
    reuse: list[Path] = field(default_factory=list)
    published: Published | None = None
    banks: int = 1
    test: dict[str, Any] = field(default_factory=dict)

    def cells(self) -> Iterator[Cell]:
        """All runs, seed by seed, and within a seed fold by fold."""
        for seed in self.seeds:
            for fold in range(self.folds) if self.folds else [None]:
                for arm, entry in self.arms.items():
                    for frames in entry.frames:
                        yield self.cell(arm, frames, seed, fold)

    def cell(self, arm: str, frames: int | None, seed: int, number: int | None = None) -> Cell:
        """One run; what is given later wins, so an arm's options override the common ones."""
        fold = None if number is None else (number, self.folds)
        name = f"{arm}-{frames or 'all'}-s{seed}" + (f"-f{number}" if fold else "")
        folder, bank = self.folder / name, seed % self.banks
        given = whole_first({**self.options, **self.arms[arm].options})
        options = {key: value_text(value).replace(BANK, str(bank)) for key, value in given.items()}
        options |= {self.frames_option: str(frames)} if frames else {}
        options |= {FOLD_OPTION: str([*fold])} if fold else {}
        varied = [key for key, value in given.items() if BANK in value_text(value)]
        words = ["-c", str(self.experiment), "--seed_everything", str(seed)]
        words += [f"--{key}={value}" for key, value in options.items()]
        said = {"arm": arm, "frames": frames, "varied": varied}
        words += [f"--record.{key}={value_text(value)}" for key, value in said.items()]
        words += [f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false"]
        return Cell(arm, frames, seed, fold, bank, folder, ["fit", *words], varied)

    def test_command(self, cell: Cell) -> list[str]:
        """The arguments that score a finished run's final weights on the test set."""
        words = [f"--{key}={value_text(value)}" for key, value in self.test.items()]
        return ["test", *cell.command[1:], *words, f"--ckpt_path={cell.folder / 'last.ckpt'}"]

    def digest(self, step: Step) -> str:
        """Hash of a preparing step and of the earlier ones it builds on, and so of what those build on."""
        known: dict[int, str] = {}

        def digest(number: int) -> str:
            if number not in known:  # several steps may build on it
                one, said = self.prepare[number], self.prepare[number].said()
                below = [digest(k) for k in range(number) if one.builds_on(self.prepare[k], said)]
                known[number] = hash_of_values([*below, hash_of_values(said)])
            return known[number]

        return digest(self.prepare.index(step))


def stated(path: Path, seen: set[Path]) -> str:
    """What a YAML file says, and the YAML files it names beside it; empty for another file or one that is not there."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file() or path in seen:
        return ""
    seen.add(path)
    content = json.dumps(yaml.safe_load(path.read_text()), sort_keys=True, default=str)
    named = re.findall(r'"([^"]+\.ya?ml)"', content)
    return content + "".join(stated(path.parent / name, seen) for name in named)


def whole_first(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in their order, but what lies within another one's whole (``model.seed``, ``model: FILE``) at the end.

    An arm that takes another file would otherwise undo what all arms share.
    """
    wholes = [f"{key}." for key, value in options.items() if value is not None]
    within = {key: value for key, value in options.items() if key.startswith(tuple(wholes))}
    return {key: value for key, value in options.items() if key not in within} | within


BANK = "{bank}"


def value_text(value: object) -> str:
    """A value as an option takes it: YAML's spelling of null, true and lists."""
    return value if isinstance(value, str) else json.dumps(value, default=str)  # a date of YAML is its text again


class GridFile(msgspec.Struct, forbid_unknown_fields=True):
    """A grid file as it is written; what stands under each arm, step and publication is checked with its name."""

    experiment: str
    arms: dict[str, Any]
    seeds: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(min_length=1)]
    name: Identifier | None = None
    folder: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    prepare: list[dict[str, Any]] = msgspec.field(default_factory=list)
    folds: Annotated[int, Meta(ge=2, le=100)] | None = None
    frames_option: str = "data.train_frames"
    reuse: list[str] = msgspec.field(default_factory=list)
    published: Any = None
    design: Any = None
    banks: Annotated[int, Meta(ge=1, le=1000)] = 1
    test: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_unique("seeds", self.seeds)
        check_unique("the names under prepare", [step.get("name") for step in self.prepare])


def check_unique(name: str, values: list[Any]) -> None:
    """Refuse what would stand for one run twice.

    Raises:
        ValueError: naming the value.
    """
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} is {values!r}, expected each once; remove the second {value!r}")


def read_grid(path: Path, root: Path | None = None, overrides: Mapping[str, str] | None = None) -> Grid:
    """Read and check a grid file.

    Args:
        path: the YAML file; paths inside it are relative to the working directory.
        root: write runs here instead of ``folder`` or ``runs/<name>``.
        overrides: options for every run, in the place of the file's; preparing steps see them as ``${option}``.

    Raises:
        InputError: for a missing file, unknown keys or values of the wrong type.
    """
    file: GridFile = structure(path, "", grid_content(path), GridFile)
    name = file.name or path.stem
    folder = root or Path(file.folder or f"runs/{name}")
    experiment = Path(file.experiment)
    if not experiment.is_file():
        raise InputError(f"{path}: no experiment file '{experiment}'; paths are relative to the working directory")
    given = dict(overrides or {})
    arms = {arm: _arm(path, arm, entry or {}, given) for arm, entry in file.arms.items()}
    options = file.options | given
    steps = [_step(path, entry, options, list(arms)) for entry in file.prepare]
    steps = [copy for step in steps for copy in per_bank(step, file.banks)]
    reuse = [Path(place) for place in file.reuse]
    published = check_published(path, file.published, list(arms)) if file.published is not None else None
    counts = {arm: entry.frames for arm, entry in arms.items()}
    design = check_design(path, file.design, counts, file.seeds)
    if file.folds:
        design = msgspec.structs.replace(design, folds=file.folds)
        check_folds(path, file.folds, bool(file.test), steps, options.get("data.root"))
    rest = (file.folds or 0, file.frames_option, reuse, published, file.banks, file.test)
    return Grid(name, folder, experiment, arms, file.seeds, options, steps, design, *rest)


# Steps that learn nothing from labelled objects.
UNLEARNED = (("prepare", "kitti"), ("prepare", "world"), ("prepare", "road-masks"))


def check_folds(path: Path, folds: int, tests: bool, steps: Sequence[Step], root: Any) -> None:
    """Check that a grid can be made in folds.

    Args:
        path: the grid file, for messages.
        folds: how many.
        tests: whether it scores a test set.
        steps: its preparing steps.
        root: of its data set.

    Raises:
        InputError: it scores a test set, too; or a step reads the data set and may learn from frames of every fold.
    """
    if tests:
        raise InputError(
            f"{path}: folds {folds} with a test set: expected one of the two; every labelled frame is evaluated "
            "in some fold, so delete test, or score the test set with a grid on given splits"
        )
    for step in steps:
        if tuple(step.command[:2]) not in UNLEARNED and str(root) in step.command:
            raise InputError(
                f"{path}: folds {folds} with the preparing step '{step.name}', which reads {root}: it runs once, and "
                "would learn from frames that a fold evaluates; expected steps that do without, leave out its arms"
            )


def per_bank(step: Step, banks: int) -> list[Step]:
    """A preparing step, or one for each bank when its command says ``{bank}``."""
    if not any(BANK in word for word in step.command):
        return [step]

    def filled(texts: Sequence[str], bank: int) -> list[str]:
        return [text.replace(BANK, str(bank)) for text in texts]

    return [
        msgspec.structs.replace(
            step,
            name=f"{step.name}-{bank}",
            command=filled(step.command, bank),
            creates=filled(step.creates, bank),
            bank=bank,
        )
        for bank in range(banks)
    ]


def _arm(path: Path, name: str, entry: object, overrides: Mapping[str, str]) -> Arm:
    structure(path, f"arms: the name {name!r}", name, Identifier, "a plain name: it becomes a folder's")
    arm: Arm = structure(path, f"arms.{name}", entry, Arm)
    arm.options.update({key: value for key, value in overrides.items() if key in arm.options})
    return arm


def _step(path: Path, entry: dict[str, Any], options: Mapping[str, Any], arms: list[str]) -> Step:
    place = f"prepare.{entry.get('name', '?')}"
    if isinstance(command := entry.get("command"), str):
        try:
            entry = entry | {"command": shlex.split(command)}
        except ValueError as error:
            raise InputError(f"{path}: {place}.command is {command!r}, expected a shell's words ({error})") from error
    step: Step = structure(path, place, entry, Step)
    for arm in step.arms:
        if arm not in arms:
            raise InputError(f"{path}: {place}.arms: no arm '{arm}', expected {', '.join(arms)}{closest(arm, arms)}")
    words, files = ([_filled(path, place, text, options) for text in texts] for texts in (step.command, step.creates))
    return msgspec.structs.replace(step, command=words, creates=files)


def _filled(path: Path, place: str, text: str, options: Mapping[str, Any]) -> str:
    """``${data.root}`` in a preparing step stands for that option of the grid."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in options:
            known = ", ".join(options) or "none"
            raise InputError(f"{path}: {place}: no option '{found[1]}' in this grid, expected one of {known}")
        return value_text(options[found[1]])

    return re.sub(r"\$\{([\w.]+)\}", value, text)

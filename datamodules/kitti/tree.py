"""What a KITTI folder must hold, and a check that names what is missing or broken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import DatasetNotFound, InputError, listed
from datamodules.files.atomic_files import read_bytes
from datamodules.files.checksums import CHECKSUMS
from datamodules.files.text_files import read_text
from datamodules.images import checked_facts
from datamodules.kitti.format import read_calibration, read_label
from datamodules.kitti.rows import ANY_AREA, KITTI_CLASSES

TREE = """ROOT/
  ImageSets/train.txt, val.txt      one six-digit id a line
  training/image_2/000000.png       left colour images; or .jpg
  training/label_2/000000.txt       15 columns a row
  training/calib/000000.txt         with a row P2:
optional: training/planes, road_2, instance_2, depth_2"""
ONE_LINE = "ImageSets/{train,val}.txt and training/{image_2/*.png or *.jpg,label_2/*.txt,calib/*.txt}"
PICTURES = ("png", "jpg", "jpeg")  # as KITTI ships them, and as the field's depth estimators convert them
REQUIRED_FILES = (("image_2", PICTURES), ("label_2", ("txt",)), ("calib", ("txt",)))
USUAL_SPLITS = ("train", "val")
OPTIONAL_FOLDERS = ("planes", "road_2", "instance_2", "depth_2")
NAMED = 20  # problems that the text names one by one
ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class TreeReport:
    """What ``prepare kitti`` found.

    Attributes:
        root: the checked folder.
        splits: ids in each file of ImageSets.
        files: files in each folder of training.
        classes: labelled objects of each class, over all splits.
        problems: one line for each missing or broken file that a split needs.
        notes: one line for what is whole and yet may not be meant: names of no class, files that nothing reads.
    """

    root: Path
    splits: dict[str, int]
    files: dict[str, int]
    classes: dict[str, int]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file that the splits name is there and can be read."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"KITTI tree at {self.root}"]
        lines += [f"  ImageSets/{name}.txt: {count} ids" for name, count in self.splits.items()]
        lines += [f"  training/{name}: {count} files" for name, count in self.files.items()]
        lines += [f"  {name}: {count} objects" for name, count in sorted(self.classes.items(), key=lambda c: -c[1])]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems[:NAMED]]
        if len(self.problems) > NAMED:
            lines.append(f"  ... and {len(self.problems) - NAMED} problems more")
        lines.append("complete" if self.complete else f"{len(self.problems)} problems")
        return "\n".join(lines)


def picture_path(folder: Path, sample_id: str) -> Path:
    """A frame's picture in a folder such as ``image_2``, PNG or JPEG; the PNG's name where there is none.

    Raises:
        InputError: there are several, and nobody can say which one is meant.
    """
    found = [path for suffix in PICTURES if (path := folder / f"{sample_id}.{suffix}").is_file()]
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1].name}: expected one picture a frame; delete one of them")
    return found[0] if found else folder / f"{sample_id}.png"


def picture_ids(folder: Path) -> list[str]:
    """Ids of the frames that have a picture in a folder, in their order."""
    return sorted({path.stem for path in folder.iterdir() if path.suffix.removeprefix(".") in PICTURES})


def not_found(path: Path, root: Path) -> DatasetNotFound:
    """The error for a missing part of the tree under ``root``."""
    cure = "correct data.root, or write a synthetic one with `python -m lit prepare world`"
    if path != root and root.is_dir():
        cure = f"complete the tree (`python -m lit prepare kitti --root {root}` checks it)"
    error = DatasetNotFound(f"{path} does not exist; expected {ONE_LINE} under {root}; {cure}")
    error.tree = TREE
    return error


def read_split(root: Path, split: str) -> list[str]:
    """Ids of a split, in file order.

    Raises:
        DatasetNotFound: there is no such file.
        InputError: it is empty, or names an id twice.
    """
    path = root / "ImageSets" / f"{split}.txt"
    if not path.is_file():
        raise not_found(path if root.is_dir() else root, root)
    rows = [row.strip(" \t") for row in read_text(path, "one id a line").rstrip("\n \t").split("\n")]
    ids: dict[str, int] = {}
    for number, row in enumerate(rows if rows != [""] else [], 1):
        if not ID.fullmatch(row):
            raise InputError(f"{path}:{number}: {row!r}, expected one id such as 000042; repair the row")
        if row in ids:
            raise InputError(f"{path}:{number}: id {row} again, first in line {ids[row]}; delete one")
        ids[row] = number
    if not ids:
        raise InputError(f"{path} is empty; expected one id a line")
    return list(ids)


def check_tree(root: Path | str, class_map: Mapping[str, str] | None = None) -> TreeReport:
    """Check every file that the splits name: labels and calibrations whole, images by their headers and checksums.

    Args:
        root: the folder.
        class_map: names in the labels to names of classes, as the data module takes it.

    Raises:
        DatasetNotFound: the root, a required folder or every split is missing.
        InputError: a split is malformed.
    """
    root = Path(root)
    for path in (root, root / "ImageSets", *(root / "training" / name for name, _ in REQUIRED_FILES)):
        if not path.is_dir():
            raise not_found(path, root)
    splits = {path.stem: read_split(root, path.stem) for path in sorted((root / "ImageSets").glob("*.txt"))}
    if not splits:
        raise not_found(root / "ImageSets" / "train.txt", root)
    problems: list[str] = []
    classes: dict[str, Counter[str]] = {}
    for sample_id in sorted({i for ids in splits.values() for i in ids}):
        for name, suffixes in REQUIRED_FILES:
            folder = root / "training" / name
            try:
                path = picture_path(folder, sample_id) if name == "image_2" else folder / f"{sample_id}.{suffixes[0]}"
                found = _check_file(path, name, class_map or {})
            except InputError as error:
                problems.append(str(error))
            else:
                classes.setdefault(sample_id, Counter()).update(found)
    files, left_out = _count_files(root / "training")
    counts = {name: len(ids) for name, ids in splits.items()}
    total = sum(classes.values(), Counter())
    lacking = [
        f"ImageSets holds no {name}.txt, which fit reads by default" for name in USUAL_SPLITS if name not in splits
    ]
    notes = [*lacking, *left_out, *_class_notes(splits, classes)]
    return TreeReport(root, counts, files, dict(total), tuple(problems), tuple(notes))


def _count_files(training: Path) -> tuple[dict[str, int], list[str]]:
    """Files by folder, and a line for each folder with some that no reader looks at."""
    suffixes, counts, notes = dict(REQUIRED_FILES), {}, []
    for folder in sorted(path for path in training.iterdir() if path.is_dir()):
        inside = [path for path in folder.iterdir() if path.name != CHECKSUMS and not path.name.startswith(".")]
        wanted = [f".{suffix}" for suffix in suffixes.get(folder.name, ())]
        read = [path for path in inside if path.is_file() and path.suffix in wanted]
        other = sorted(path.name for path in set(inside) - set(read)) if folder.name in suffixes else []
        counts[folder.name] = len(read) if folder.name in suffixes else len(inside)
        if other:
            named = listed(other, 3)
            notes.append(f"{folder}: {len(other)} not read, expected {' or '.join(wanted)} files: {named}")
    return counts, notes


def _class_notes(splits: Mapping[str, Iterable[str]], classes: Mapping[str, Counter[str]]) -> list[str]:
    """Lines on names that are no class of KITTI, and on splits without any known object."""
    notes = []
    unknown = sorted({name for found in classes.values() for name in found} - set(KITTI_CLASSES))
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: no class of KITTI, taught only to detectors of these names; "
            "data.class_map gives them others"
        )
    known = set(KITTI_CLASSES) - {ANY_AREA}
    for split, ids in splits.items():
        if not any(known & set(classes.get(sample_id, ())) for sample_id in ids):
            notes.append(f"ImageSets/{split}.txt: no object of a class of KITTI in any of its frames")
    return notes


def _check_file(path: Path, folder: str, class_map: Mapping[str, str]) -> list[str]:
    """Class names in a label file, none for the others.

    Raises:
        InputError: the file is missing or broken.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; restore it or drop the id from ImageSets")
    if folder == "label_2":
        return [str(name) for name in read_label(path, False, class_map).names]
    if folder == "calib":
        read_calibration(path)
    else:
        checked_facts(path, read_bytes(path, "an image"))
    return []

"""What a KITTI folder must hold, and a check that names what is missing or broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import DatasetNotFound, InputError
from datamodules.images import PNG_HEADER, PNG_TRAILER, TAIL
from datamodules.kitti.format import read_calibration, read_label

TREE = """ROOT/
  ImageSets/train.txt, val.txt      one six-digit id a line
  training/image_2/000000.png       left colour images
  training/label_2/000000.txt       15 columns a row
  training/calib/000000.txt         with a row P2:
optional: training/planes, road_2, instance_2, depth_2"""
ONE_LINE = "ImageSets/{train,val}.txt and training/{image_2/*.png,label_2/*.txt,calib/*.txt}"
REQUIRED_FILES = (("image_2", "png"), ("label_2", "txt"), ("calib", "txt"))
OPTIONAL_FOLDERS = ("planes", "road_2", "instance_2", "depth_2")
NAMED = 20  # problems that the text names one by one


@dataclass(frozen=True)
class TreeReport:
    """What ``prepare kitti`` found.

    Attributes:
        root: the checked folder.
        splits: ids in each file of ImageSets.
        files: files in each folder of training.
        classes: labelled objects of each class, over all splits.
        problems: one line for each missing or broken file that a split needs.
    """

    root: Path
    splits: dict[str, int]
    files: dict[str, int]
    classes: dict[str, int]
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file that the splits name is there and can be read."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"KITTI tree at {self.root}"]
        lines += [f"  ImageSets/{name}.txt: {count} ids" for name, count in self.splits.items()]
        lines += [f"  training/{name}: {count} files" for name, count in self.files.items()]
        lines += [f"  {name}: {count} objects" for name, count in sorted(self.classes.items(), key=lambda c: -c[1])]
        lines += [f"  problem: {problem}" for problem in self.problems[:NAMED]]
        if len(self.problems) > NAMED:
            lines.append(f"  ... and {len(self.problems) - NAMED} problems more")
        lines.append("complete" if self.complete else f"{len(self.problems)} problems")
        return "\n".join(lines)


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
    rows = path.read_text().splitlines()
    ids: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if len(row.split()) > 1 or "/" in row:
            raise InputError(f"{path}:{number}: {row!r}, expected one id such as 000042; repair the row")
        if row.strip() in ids:
            raise InputError(f"{path}:{number}: id {row.strip()} again, first in line {ids[row.strip()]}; delete one")
        if row.strip():
            ids[row.strip()] = number
    if not ids:
        raise InputError(f"{path} is empty; expected one id a line")
    return list(ids)


def check_tree(root: Path | str) -> TreeReport:
    """Check every file that the splits name: labels and calibrations whole, images by their first and last bytes.

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
    classes: Counter[str] = Counter()
    for sample_id in sorted({i for ids in splits.values() for i in ids}):
        for name, suffix in REQUIRED_FILES:
            try:
                classes.update(_check_file(root / "training" / name / f"{sample_id}.{suffix}", name))
            except InputError as error:
                problems.append(str(error))
    files = {p.name: sum(1 for _ in p.iterdir()) for p in sorted((root / "training").iterdir()) if p.is_dir()}
    counts = {name: len(ids) for name, ids in splits.items()}
    return TreeReport(root, counts, files, dict(classes), tuple(problems))


def _check_file(path: Path, folder: str) -> list[str]:
    """Class names in a label file, none for the others.

    Raises:
        InputError: the file is missing or broken.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; restore it or drop the id from ImageSets")
    if folder == "label_2":
        return [str(name) for name in read_label(path).names]
    if folder == "calib":
        read_calibration(path)
        return []
    with path.open("rb") as file:
        head = file.read(len(PNG_HEADER))
        size = path.stat().st_size
        file.seek(max(size - TAIL, 0))
        if head != PNG_HEADER or PNG_TRAILER not in file.read():
            raise InputError(f"{path}: {size} bytes that are no whole PNG; copy it again")
    return []

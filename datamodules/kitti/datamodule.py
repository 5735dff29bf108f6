"""KITTI's 3D object data set, read where it lies: image_2, label_2, calib, ImageSets, and extra folders if present."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from datamodules.assets.contract import FrameLabels
from datamodules.base import DetectionDataModule
from datamodules.errors import DatasetNotFound, InputError, listed
from datamodules.geometry import Camera
from datamodules.images import image_size, read_image
from datamodules.injection.injection import Injection
from datamodules.kitti.drives import DRIVES_FILE, choose_drives, part_of_drives, read_drives
from datamodules.kitti.format import read_calibration, read_label, read_plane
from datamodules.kitti.rows import KITTI_CLASSES
from datamodules.kitti.tree import OPTIONAL_FOLDERS, REQUIRED_FILES, not_found, picture_path, read_split
from datamodules.kitti.tree import TreeReport as TreeReport
from datamodules.kitti.tree import check_tree as check_tree
from datamodules.light import read_lights
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects

DEPTH_SCALE = 256.0  # stored units a metre, as in KITTI's depth benchmark

SubsetKind = Literal["first", "seed", "drives"]


def choose_frames(ids: list[str], count: int, seed: int) -> list[str]:
    """``count`` of the ids, drawn by a seed, in their own order; a seed's smaller draw is part of its larger ones."""
    chosen = set(derive(seed, "subset").permutation(len(ids))[:count].tolist())
    return [name for index, name in enumerate(ids) if index in chosen]


class KittiDataset:
    """Frames of one split.

    Attributes:
        ids: sample ids, in the split's order.
        folder: ROOT/training.
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        frames: int | None = None,
        extras: bool = False,
        labels: bool = True,
        class_map: Mapping[str, str] | None = None,
        subset_seed: int | None = None,
        by_drive: bool = False,
        road_masks: str | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        """Open a split; no image is read yet.

        Args:
            root: folder that holds ``training`` and ``ImageSets``.
            split: name of a file in ``ImageSets``, without ``.txt``.
            frames: keep only so many ids, in the file's order; None keeps all.
            extras: also read road masks, planes, instance masks, depth and light where their folders exist.
            labels: False never opens ``label_2`` and leaves out every extra that knows the labelled objects or was
                measured with them in the picture: of the extras only the road mask and the light remain.
            subset_seed: draws which ids are kept (:func:`choose_frames`); None keeps the first ones.
            by_drive: the draw takes whole drives (:func:`datamodules.kitti.drives.choose_drives`).
            class_map: names in the labels to names of classes; None takes them as they are.
            road_masks: folder of the road masks; by default ``training/road_2``.
            ids: the split's frames, where they are others than its file's.

        Raises:
            DatasetNotFound: the split or a required folder does not exist.
            InputError: more frames are asked for than the split has.
        """
        self.root, self.split, self.extras, self.labels = Path(root), split, extras, labels
        self.class_map = dict(class_map or {})
        ids = read_split(self.root, split) if ids is None else list(ids)
        if frames is not None and not 0 < frames <= len(ids):
            raise InputError(f"{frames} frames of split {split}: expected 1 to {len(ids)}; ask for fewer or write more")
        if frames is None or subset_seed is None:
            self.ids = ids[:frames]
        elif by_drive:
            self.ids = choose_drives(self.root, ids, frames, subset_seed)
        else:
            self.ids = choose_frames(ids, frames, subset_seed)
        self.folder = self.root / "training"
        for name, _ in REQUIRED_FILES:
            if not (self.folder / name).is_dir() and (labels or name != "label_2"):
                raise not_found(self.folder / name, self.root)
        kept = OPTIONAL_FOLDERS if labels else ("road_2",)
        read_lights(self.root)  # of a world: its index is whole, so are its checksums
        self._masks = self.folder / "road_2" if road_masks is None else Path(road_masks)
        if road_masks is not None and not self._masks.is_dir():
            raise DatasetNotFound(
                f"{road_masks} does not exist; expected a folder of `python -m lit prepare road-masks --out`; correct "
                "data.road_masks"
            )
        self._has = {name: extras and name in kept and (self.folder / name).is_dir() for name in OPTIONAL_FOLDERS}
        self._has["road_2"] = extras and self._masks.is_dir()

    @classmethod
    def chosen(
        cls, root: Path | str, split: str, frames: int | None, subset: SubsetKind, seed: int, **options: Any
    ) -> KittiDataset:
        """The frames that a detector's training under ``seed`` has: :class:`KittiDataModule` with that ``subset``."""
        drawn = None if subset == "first" else seed
        return cls(root, split, frames, subset_seed=drawn, by_drive=subset == "drives", **options)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Frame:
        """Decode frame ``index`` of the split.

        Raises:
            InputError: one of its files is missing or broken.
        """
        sample_id = self.ids[index]
        image = read_image(picture_path(self.folder / "image_2", sample_id))
        camera = Camera(read_calibration(self.folder / "calib" / f"{sample_id}.txt"), image.shape[2], image.shape[1])
        objects = self._read_labels(sample_id) if self.labels else Objects.empty()
        return Frame(image, camera, objects, sample_id, **self._read_extras(sample_id, camera))

    def _read_labels(self, sample_id: str) -> Objects:
        return read_label(self.folder / "label_2" / f"{sample_id}.txt", scored=False, class_map=self.class_map)

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        """Labels of every frame (see :class:`datamodules.assets.contract.LabelReader`); none are known around a car."""
        for sample_id in self.ids if self.labels and not around else ():
            try:
                objects = self._read_labels(sample_id)
            except InputError:
                continue
            yield objects.boxes, objects.names

    def check(self) -> Counter[str]:
        """Look at every frame without decoding it: its files are there and its labels can be read.

        Returns:
            Labelled objects by class.

        Raises:
            InputError: the first file that is missing or broken.
        """
        found: Counter[str] = Counter()
        names = [(name, suffixes) for name, suffixes in REQUIRED_FILES if self.labels or name != "label_2"]
        there = {name: set(os.listdir(self.folder / name)) for name, _ in names}
        for sample_id in self.ids:
            for name, suffixes in names:
                found_here = sum(f"{sample_id}.{suffix}" in there[name] for suffix in suffixes)
                if not found_here:
                    path = self.folder / name / f"{sample_id}.{suffixes[0]}"
                    raise DatasetNotFound(f"{path} does not exist; restore it or drop its id from ImageSets")
                if found_here > 1:
                    picture_path(self.folder / name, sample_id)  # says which two
            if self.labels:
                found.update(self._read_labels(sample_id).names.tolist())
        return found

    def image_sizes(self) -> dict[tuple[int, int], str]:
        """Height and width of the pictures, each with the first id that has it."""
        found: dict[tuple[int, int], str] = {}
        for sample_id in self.ids:
            found.setdefault(image_size(picture_path(self.folder / "image_2", sample_id)), sample_id)
        return found

    def _read_extras(self, sample_id: str, camera: Camera) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if not self.extras:
            return found
        if self._has["planes"]:
            found["plane"] = read_plane(self.folder / "planes" / f"{sample_id}.txt")
        if self._has["road_2"]:
            found["road"] = self._read_map(self._masks, sample_id, camera, (np.uint8,)) > 127
        if self._has["instance_2"]:
            found["instances"] = self._read_map(self.folder / "instance_2", sample_id, camera, (np.uint8, np.uint16))
        if self._has["depth_2"]:
            found["depth"] = self._read_map(self.folder / "depth_2", sample_id, camera, (np.uint16,)) * np.float32(
                1 / DEPTH_SCALE
            )
        found["light"] = read_lights(self.root).get(sample_id)
        return found

    def _read_map(self, folder: Path, sample_id: str, camera: Camera, types: tuple[type, ...]) -> np.ndarray:
        path = folder / f"{sample_id}.png"
        stored = read_image(path, cv2.IMREAD_UNCHANGED)
        if stored.shape != (camera.height, camera.width):
            raise InputError(
                f"{path}: {stored.shape}, expected one channel of {camera.height} x {camera.width} like the image; "
                f"write it again or delete the folder {folder.name}"
            )
        if stored.dtype not in types:
            bits = " or ".join(str(8 * np.dtype(type_).itemsize) for type_ in types)
            raise InputError(f"{path}: {stored.dtype} values, expected {bits} bits a pixel; write it again")
        return stored


class KittiDataModule(DetectionDataModule):
    """Training and validation splits of a KITTI folder.

    Attributes:
        groups: evaluation frame to the drive it was taken from, where ``drives.txt`` tells; set by ``setup``.
    """

    groups: dict[str, str]

    def __init__(
        self,
        root: str,
        train_split: str = "train",
        val_split: str = "val",
        train_frames: int | None = None,
        val_frames: int | None = None,
        unlabelled: bool = False,
        subset: SubsetKind = "first",
        class_map: dict[str, str] | None = None,
        road_masks: str | None = None,
        fold: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        """Configure; ``options`` are those of :class:`DetectionDataModule`.

        Args:
            root: folder that holds ``training`` and ``ImageSets``.
            train_split: split to train on.
            val_split: split to evaluate on.
            train_frames: only so many training frames, chosen by ``subset``.
            val_frames: only the first so many evaluation frames.
            unlabelled: train without any human label: training frames are read as pictures alone, and every label is
                that of an injected object (Lift3D, Table 3). Evaluation keeps its labels.
            subset: which frames ``train_frames`` keeps: the first of the split's file, or a draw by the run's seed, so
                that repeated runs also tell what a lucky draw of labels does. Under one seed the 50 frames are among
                the 200, and every arm gets the same. "drives" draws whole drives one after the other, the last one cut
                (``ROOT/drives.txt`` names each frame's): frames of one drive resemble each other.
            class_map: names in the labels to names of classes, such as {car: Car}; a name of its own for itself states
                that it is meant.
            road_masks: folder of the training frames' road masks; by default ``training/road_2`` of the root.
            fold: (k, n), of cross-validation by drives: the frames of both splits are divided into n parts of whole
                drives, part k (from 0) is evaluated and the others are trained on. None keeps the two splits.

        Raises:
            InputError: unlabelled training without injected objects, or with objects cut out of labelled frames; or a
                fold that is none.
        """
        super().__init__(**options)
        self.human_labels = not unlabelled
        if unlabelled:
            check_unlabelled(self.injection)
        self.root, self.train_split, self.val_split = root, train_split, val_split
        self.train_frames, self.val_frames, self.subset = train_frames, val_frames, subset
        self.class_map, self.road_masks = class_map, road_masks
        self.fold = check_fold(fold)

    @staticmethod
    def reads(root: str, train_split: str = "train", val_split: str = "val", **_: Any) -> tuple[str, list[Path]]:
        """The option that names the folder, and the files of it that the two splits stand for."""
        base = Path(root)
        ids = {one for split in (train_split, val_split) for one in read_split(base, split)}
        files = [base / "ImageSets" / f"{split}.txt" for split in (train_split, val_split)]
        files += [base / "world.json", base / DRIVES_FILE]
        for folder in (*(name for name, _ in REQUIRED_FILES), *OPTIONAL_FOLDERS):
            files += [path for path in (base / "training" / folder).glob("*") if path.stem in ids]
        return "root", files

    @property
    def dataset(self) -> str:
        """Name for records: that of the folder."""
        return Path(self.root).name

    def setup(self, stage: str | None = None) -> None:
        training, validation = self._divided()
        if stage in (None, "fit"):
            # Extras only feed injection; without it they would be decoded for nothing.
            extras, labels = self.injection is not None, self.human_labels
            drawn = None if self.subset == "first" else self.position().seed
            whole = self.subset == "drives"
            reader = KittiDataset(
                self.root,
                self.train_split,
                self.train_frames,
                extras,
                labels,
                self.class_map,
                subset_seed=drawn,
                by_drive=whole,
                road_masks=self.road_masks,
                ids=training,
            )
            if self.on_error == "raise":
                self._check(reader)
            self.train_reader = self.for_training(reader)
        self.val_reader = KittiDataset(
            self.root, self.val_split, self.val_frames, class_map=self.class_map, ids=validation
        )
        self.groups = read_drives(self.root, self.val_reader.ids)
        self._check(self.val_reader)

    def _divided(self) -> tuple[list[str] | None, list[str] | None]:
        """Ids to train on and to evaluate under a fold; None each without one: those of the splits' files."""
        if self.fold is None:
            return None, None
        splits = [read_split(Path(self.root), split) for split in (self.train_split, self.val_split)]
        ids = list(dict.fromkeys(splits[0] + splits[1]))
        held_out = part_of_drives(self.root, ids, *self.fold)
        kept = set(ids).difference(held_out)
        return [one for one in ids if one in kept], held_out

    def _check(self, reader: KittiDataset) -> None:
        """Refuse a split with a broken file before anything runs, and say what its labels do not hold."""
        found = reader.check()
        if reader.labels:
            where = f"ImageSets/{reader.split}.txt of {self.root}"
            self.warn_of_classes(found, where)
            known = {*KITTI_CLASSES, *(self.detector_classes or ()), *(self.class_map or {}).values()}
            if unknown := sorted(set(found) - known):
                named = listed((f"{found[name]} {name}" for name in unknown), 5)
                warnings.warn(f"{where}: {named}: no class of KITTI; data.class_map gives another name", stacklevel=2)
        if self.size is None and len(sizes := reader.image_sizes()) > 1:
            named = listed((f"{height} x {width} of {name}" for (height, width), name in sizes.items()), 3)
            raise InputError(
                f"data.size null with pictures of {len(sizes)} sizes ({named}): a batch has one, expected data.size "
                "[height, width]; data.fit pad leaves pixels where they are"
            )


def check_fold(fold: Sequence[int] | None) -> tuple[int, int] | None:
    """A fold's number and how many there are.

    Raises:
        InputError: there are fewer than two, or it is none of them.
    """
    if fold is None:
        return None
    number, count = fold
    if count < 2 or not 0 <= number < count:
        raise InputError(f"data.fold {list(fold)}: expected [k, n] with n of 2 or more and k from 0 to n - 1")
    return number, count


def check_unlabelled(injection: Injection | None) -> None:
    """Check that unlabelled training has something to learn, and not from labels.

    Raises:
        InputError: nothing is injected, or what is injected is cut out of labelled frames, or stands on a plane that
            unlabelled frames do not have.
    """
    if injection is None or injection.probability == 0 or injection.count[1] == 0:
        raise InputError(
            "data.unlabelled without injected objects: nothing would be labelled, expected an injection; "
            "set data.injection to conf/injection/lift3d.yaml or another file"
        )
    if injection.source.needs_labels:
        raise InputError(
            f"data.unlabelled with {type(injection.source).__name__}: it cuts its objects out of labelled frames, "
            "expected a source that needs no label; set data.injection to conf/injection/lift3d.yaml or another file"
        )
    if injection.placement.plane == "frame":
        raise InputError(
            "data.unlabelled with placement.plane frame: the frame's own plane is not read without labels, expected "
            "the prior of the calibration; set data.injection.placement.plane to prior"
        )

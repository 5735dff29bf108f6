"""Frames of Omni3D's files: pictures where they lie, boxes upright in the label frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from datamodules.assets.contract import FrameLabels
from datamodules.base import DetectionDataModule
from datamodules.errors import DatasetNotFound, InputError, closest, listed
from datamodules.geometry import resizing
from datamodules.images import image_size, read_image
from datamodules.kitti.datamodule import choose_frames
from datamodules.kitti.rows import ANY_AREA
from datamodules.omni3d.camera_boxes import CameraBoxes, predicted_boxes, truth_boxes
from datamodules.omni3d.format import Omni3DFile, named_pictures, read_omni3d, results_of
from datamodules.omni3d.ignore import TRAINING
from datamodules.omni3d.rows import Omni3DRows, Rectangles, objects_of
from datamodules.omni3d.vocabulary import Spelling, spelled
from datamodules.scene import Batch, Frame, Objects

TOO_HARD = 3  # KITTI's occlusion level that no detector here is taught


class Omni3DDataset:
    """Pictures of one file.

    Attributes:
        ids: of its pictures: names of their files without suffix, or where these repeat the numbers of the images.
        file: what the JSON file says.
    """

    def __init__(
        self,
        root: Path | str,
        path: Path | str,
        frames: int | None = None,
        subset_seed: int | None = None,
        spelling: Spelling = "kitti",
        class_map: Mapping[str, str] | None = None,
        rectangles: Rectangles = "trunc",
        max_tilt: float = 5.0,
        ignore: bool = False,
        road_masks: str | None = None,
    ) -> None:
        """Open a file; no picture is read yet.

        Args:
            root: folder that the paths of the pictures start from.
            path: the JSON file, absolute or from ``root``.
            frames: keep only so many pictures; None keeps all.
            subset_seed: draws which ones; None keeps the first ones.
            spelling: whose names the classes get.
            class_map: categories to names of classes, before the spelling.
            rectangles: see :meth:`datamodules.omni3d.rows.Omni3DRows.rectangles`.
            max_tilt: see :func:`datamodules.omni3d.rows.objects_of`.
            ignore: give what Cube R-CNN ignores in training an occlusion level that detectors are not taught.
            road_masks: folder of road masks named like the frames; None for none.

        Raises:
            InputError: a broken file, or more frames are asked for than it has.
        """
        self.root = Path(root)
        self.file: Omni3DFile = read_omni3d(self.root / path)
        self.spelling, self.class_map = spelling, dict(class_map or {})
        self.rectangles, self.max_tilt, self.ignore = rectangles, max_tilt, ignore
        self.road_masks = None if road_masks is None else Path(road_masks)
        names = [Path(picture.file_path).stem for picture in self.file.pictures]
        if len(set(names)) < len(names):
            names = [str(picture.id) for picture in self.file.pictures]
        if frames is not None and not 0 < frames <= len(names):
            raise InputError(
                f"{frames} frames of {self.file.path}: expected 1 to {len(names)}; ask for fewer or write more"
            )
        if frames is None or subset_seed is None:
            self.ids = names[:frames]
        else:
            self.ids = choose_frames(names, frames, subset_seed)
        self.place = {name: index for index, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.ids)

    def name_of(self, category: str) -> str:
        """The class that a category stands for."""
        return self.class_map.get(category) or spelled(category, self.spelling)

    def picture_file(self, sample_id: str) -> Path:
        """Where a frame's picture lies."""
        return self.root / self.file.pictures[self.place[sample_id]].file_path

    def rows(self, sample_id: str) -> Omni3DRows:
        """A frame's annotations as the file states them."""
        return self.file.rows_of_picture(self.place[sample_id])

    def read(self, index: int) -> Frame:
        """Decode frame ``index``.

        Raises:
            InputError: its picture is missing or broken, or has another size than the file says.
        """
        sample_id = self.ids[index]
        picture = self.file.pictures[self.place[sample_id]]
        image = read_image(self.picture_file(sample_id))
        if image.shape[1:] != (picture.height, picture.width):
            raise InputError(
                f"{self.picture_file(sample_id)}: {image.shape[1]} x {image.shape[2]} pixels, expected "
                f"{picture.height} x {picture.width} as {self.file.path} says; copy the picture again"
            )
        return Frame(image, picture.camera, self._objects(sample_id), sample_id, road=self._road(sample_id))

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        """Labels of every frame (see :class:`datamodules.assets.contract.LabelReader`); none are known around a car."""
        for sample_id in self.ids if not around else ():
            objects = self._objects(sample_id)
            yield objects.boxes, objects.names

    def check(self) -> Counter[str]:
        """Look at every frame without decoding it.

        Returns:
            Labelled objects by class.

        Raises:
            DatasetNotFound: the first picture that is missing, and how many are.
        """
        missing = [sample_id for sample_id in self.ids if not self.picture_file(sample_id).is_file()]
        if missing:
            raise DatasetNotFound(
                f"{self.picture_file(missing[0])} does not exist, one of {len(missing)} missing out of {len(self)} "
                f"pictures of {self.file.path}; set data.root to the folder that its file_path start from"
            )
        return Counter(self.name_of(str(name)) for one in self.ids for name in self.rows(one).category)

    def sizes(self) -> dict[tuple[int, int], str]:
        """Height and width of the pictures as the file states them, each with the first id that has it."""
        found: dict[tuple[int, int], str] = {}
        for sample_id in self.ids:
            picture = self.file.pictures[self.place[sample_id]]
            found.setdefault((picture.height, picture.width), sample_id)
        return found

    def _objects(self, sample_id: str) -> Objects:
        picture, rows = self.file.pictures[self.place[sample_id]], self.rows(sample_id)
        objects = objects_of(rows, picture.pose, self.name_of, self.rectangles, self.max_tilt)
        if self.ignore and len(objects):
            hard = TRAINING.ignored(rows, picture.height) & (objects.names != ANY_AREA)
            objects.occlusion[hard] = TOO_HARD  # the arrays are this call's own
        return objects

    def _road(self, sample_id: str) -> np.ndarray | None:
        if self.road_masks is None:
            return None
        path, picture = self.road_masks / f"{sample_id}.png", self.file.pictures[self.place[sample_id]]
        if image_size(path) != (picture.height, picture.width):
            raise InputError(
                f"{path}: another size than the picture's, {picture.height} x {picture.width}; write it anew"
            )
        return np.asarray(read_image(path, cv2.IMREAD_UNCHANGED) > 127)


class Omni3DDataModule(DetectionDataModule):
    """Training and validation files of Omni3D, whichever data set's pictures they name.

    Detectors are taught what Cube R-CNN teaches: what its training ignores is neither object nor background. Evaluation
    by :class:`lit.callbacks.detection.omni3d_metrics.Omni3DMetrics` goes by the annotations as the file states them.
    """

    val_reader: Omni3DDataset

    def __init__(
        self,
        root: str,
        train_file: str = "omni3d/train.json",
        val_file: str = "omni3d/val.json",
        train_frames: int | None = None,
        val_frames: int | None = None,
        subset: Literal["first", "seed"] = "first",
        spelling: Spelling = "kitti",
        class_map: dict[str, str] | None = None,
        rectangles: Rectangles = "trunc",
        max_tilt: float = 5.0,
        ignore: bool = True,
        road_masks: str | None = None,
        **options: Any,
    ) -> None:
        """Configure; ``options`` are those of :class:`DetectionDataModule`.

        Args:
            root: folder that the pictures' ``file_path`` start from (Cube R-CNN's ``datasets``).
            train_file: the training file, absolute or from ``root``.
            val_file: the validation file, likewise.
            train_frames: only so many training pictures, chosen by ``subset``.
            val_frames: only the first so many evaluation pictures.
            subset: which pictures ``train_frames`` keeps: the file's first, or a draw by the run's seed.
            spelling: how classes are named: "kitti" (Car), "nuscenes" (traffic_cone), or "omni3d" as in the file.
            class_map: categories of the file to names of classes, such as {bus: Truck}, before the spelling.
            rectangles: image boxes that are taught: "trunc", of the projected 3D box inside the picture, which the
                evaluation of Omni3D goes by, or "tight", the annotated ones.
            max_tilt: degrees that a 3D box may lean from the vertical; one that leans more is not taught.
            ignore: give what Cube R-CNN's training ignores the occlusion level 3, which no detector here is taught.
            road_masks: folder of the training pictures' road masks, named like them, for injection; None for none.
        """
        super().__init__(**options)
        self.root, self.train_file, self.val_file = root, train_file, val_file
        self.train_frames, self.val_frames, self.subset = train_frames, val_frames, subset
        self.reading: dict[str, Any] = {
            "spelling": spelling, "class_map": class_map, "rectangles": rectangles, "max_tilt": max_tilt,
        }  # fmt: skip
        self.ignore, self.road_masks = ignore, road_masks

    @staticmethod
    def reads(
        root: str, train_file: str = "omni3d/train.json", val_file: str = "omni3d/val.json", **_: Any
    ) -> tuple[str, list[Path]]:
        """The option that names the folder, and the files of it that are read: the two files and their pictures."""
        base, found = Path(root), []
        for path in {base / train_file, base / val_file}:
            if path.is_file():
                found += [path, *(base / name for name in named_pictures(path))]
        return "root", sorted({path for path in found if path.is_relative_to(base)})

    @property
    def dataset(self) -> str:
        """Name for records: that of the folder."""
        return f"{Path(self.root).name} (Omni3D)"

    def setup(self, stage: str | None = None) -> None:
        if stage in (None, "fit"):
            drawn = None if self.subset == "first" else self.position().seed
            masks = self.road_masks if self.injection is not None else None
            if masks is not None and not Path(masks).is_dir():
                raise DatasetNotFound(
                    f"{masks} does not exist; expected a folder of road masks; correct data.road_masks"
                )
            reader = Omni3DDataset(
                self.root, self.train_file, self.train_frames, drawn, ignore=self.ignore, road_masks=masks,
                **self.reading,
            )  # fmt: skip
            if self.on_error == "raise":
                self._check(reader)
            self.train_reader = self.for_training(reader)
        self.val_reader = Omni3DDataset(self.root, self.val_file, self.val_frames, **self.reading)
        self._check(self.val_reader)
        if stage in (None, "fit"):
            self._check_class_map({*reader.file.categories.values(), *self.val_reader.file.categories.values()})

    def _check_class_map(self, known: set[str]) -> None:
        """Refuse a renaming of what neither file has: it would rename nothing."""
        if lost := next((name for name in self.reading["class_map"] or () if name not in known), None):
            raise InputError(
                f"data.class_map {lost}: no such category, expected names as the files spell them: "
                f"{listed(sorted(known), 12)}{closest(lost, known)}"
            )

    def _check(self, reader: Omni3DDataset) -> None:
        """Refuse a file with a missing picture before anything runs, and say what its labels do not hold."""
        self.warn_of_classes(reader.check(), str(reader.file.path))
        if self.size is None and len(sizes := reader.sizes()) > 1:
            named = listed((f"{height} x {width} of {name}" for (height, width), name in sizes.items()), 3)
            raise InputError(
                f"data.size null with pictures of {len(sizes)} sizes ({named}): a batch has one, expected data.size "
                "[height, width]; data.fit pad leaves pixels where they are"
            )

    def omni3d_truths(self, batch: Batch) -> list[CameraBoxes]:
        """What the file states of each picture of an evaluation batch."""
        return [self._truth(sample_id) for sample_id in batch.sample_ids]

    def omni3d_counted(self) -> Iterator[str]:
        """Class of each label of the validation file that the evaluation counts; who stops early reads no more."""
        for sample_id in self.val_reader.ids:
            boxes = self._truth(sample_id)
            yield from map(str, boxes.names[~np.asarray(boxes.ignored)])

    def _truth(self, sample_id: str) -> CameraBoxes:
        reader = self.val_reader
        rows = reader.rows(sample_id)
        names = np.array([reader.name_of(str(name)) for name in rows.category], dtype=str)
        return truth_boxes(rows, reader.file.pictures[reader.place[sample_id]].height, names)

    def omni3d_predictions(self, outputs: Sequence[Objects], batch: Batch) -> list[CameraBoxes]:
        """Predictions for each picture, in the frame and the pixels of the file."""
        found = []
        for objects, sample_id, camera in zip(outputs, batch.sample_ids, batch.cameras, strict=True):
            picture = self.val_reader.file.pictures[self.val_reader.place[sample_id]]
            pixels = np.eye(3)
            if self.fit == "resize":
                pixels = resizing(camera.width, camera.height, picture.width, picture.height)
            found.append(predicted_boxes(objects, picture.pose, pixels))
        return found

    def omni3d_results(self, found: Mapping[str, CameraBoxes]) -> list[dict[str, Any]]:
        """Predictions by sample id as rows of a result file for the validation file."""
        reader = self.val_reader
        numbers = {
            reader.name_of(name): number for number, name in sorted(reader.file.categories.items(), reverse=True)
        }
        return [
            row
            for sample_id, boxes in found.items()
            for row in results_of(boxes, reader.file.pictures[reader.place[sample_id]].id, numbers)
        ]

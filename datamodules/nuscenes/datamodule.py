"""nuScenes, read where it lies: each camera picture a frame, six of them a sample, boxes upright in a level frame."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import DataLoader, Dataset

from datamodules.assets.contract import FrameLabels
from datamodules.base import DetectionDataModule, EvaluationFrames
from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.geometry import clip_bbox, projected_bbox, truncation
from datamodules.images import read_image
from datamodules.light import read_lights
from datamodules.nuscenes.boxes import (
    ATTRIBUTE_NAMES,
    ATTRIBUTES_OF,
    DETECTION_NAMES,
    MAX_BOXES,
    GlobalBoxes,
    SampleTruth,
)
from datamodules.nuscenes.quaternions import quaternion_matrix
from datamodules.nuscenes.samples import LazySamples, SceneMoments, Shot, read_samples, to_global, to_level
from datamodules.nuscenes.table_columns import CAMERAS, LazyTexts
from datamodules.nuscenes.tables import Tables
from datamodules.randomness import derive
from datamodules.rotated_iou import suppress
from datamodules.samplers import ShardSampler
from datamodules.scene import Batch, Capture, Frame, Objects, collate
from datamodules.surround import InstanceFile, Surround

FOLDERS = "ROOT/{samples/CAM_*/*.jpg,VERSION/*.json}"
KEPT_SCENES = 64  # whose surroundings a process keeps, some 30 MB; more would grow with the data set
MERGE_IOU = 0.05  # of two overlapping boxes of a class, from one camera or two, the better one stays


def choose_scenes(names: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """A seeded share of scenes, rounded down but at least one: 10 % of 700 are 70. Order is kept.

    Raises:
        InputError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"scene_share {share}: expected above 0 and at most 1; correct data.scene_share")
    count = max(math.floor(len(names) * share + 1e-9), 1)
    chosen = set(derive(seed, "scenes").permutation(len(names))[:count].tolist())
    return tuple(name for index, name in enumerate(names) if index in chosen)


class FrameIds(LazyTexts):
    """Ids of the pictures of some samples, "<sample token>/<channel>", made where they are looked at."""

    def __init__(self, samples: LazySamples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(CAMERAS) * len(self.samples)

    def text(self, index: int) -> str:
        sample, camera = divmod(index, len(CAMERAS))
        return f"{self.samples.token(sample)}/{CAMERAS[camera]}"


class NuscenesDataset:
    """Camera pictures of some scenes, a frame each; frame ``6 i + k`` is camera k of sample i.

    Attributes:
        samples: the samples, by scene and time.
        ids: frame ids, "<sample token>/<channel>".
    """

    def __init__(self, samples: LazySamples, root: Path, extras: bool = False, road_masks: Path | None = None) -> None:
        """Open; no image is read yet.

        Args:
            samples: of :func:`datamodules.nuscenes.samples.read_samples`.
            root: folder that holds ``samples`` (and, of worlds, ``road`` and ``instances``).
            extras: attach what injection needs: the surroundings, and where masks are.
            road_masks: folder of the road masks; by default ``road`` of the root.
        """
        self.samples, self.root, self.extras = samples, root, extras
        self.road_masks = root / "road" if road_masks is None else road_masks
        self.ids = FrameIds(samples)
        self._scene = samples.scenes if extras else np.zeros(0, np.int64)
        self._kept: dict[int, SceneMoments] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Frame:
        """Decode frame ``index``.

        Raises:
            InputError: its image is missing or broken, or has another size than the tables say.
        """
        sample, camera = divmod(index, len(CAMERAS))
        shot, truth = self.samples.shot(sample, camera)
        image = read_image(shot.file)
        if image.shape[1:] != (shot.camera.height, shot.camera.width):
            raise InputError(
                f"{shot.file}: {image.shape[1]} x {image.shape[2]} pixels, expected {shot.camera.height} x "
                f"{shot.camera.width} as in sample_data.json; copy the image again"
            )
        objects, rows = visible_objects(truth.boxes, shot)
        capture = Capture(self.samples.token(sample), self.samples.scene(sample), shot.channel, shot.world)
        frame = Frame(image, shot.camera, objects, self.ids[index], capture=capture)
        return self._with_extras(frame, sample, shot, rows) if self.extras else frame

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        """Labels of every picture, or of every sample around its car (see ``LabelReader``)."""
        for sample in self.samples:
            boxes = sample.truth.boxes
            if around:
                yield to_level(boxes, sample.ego), np.array(DETECTION_NAMES)[boxes.labels]
                continue
            for shot in sample.shots:
                objects = visible_objects(boxes, shot)[0]
                yield objects.boxes, objects.names

    def _with_extras(self, frame: Frame, sample: int, shot: Shot, rows: np.ndarray) -> Frame:
        """The frame with what injection needs; ``rows`` are its objects' numbers among the sample's annotations."""
        light = read_lights(self.root).get(self.samples.scene(sample))
        if light is not None:  # the sun in the camera's label frame
            light = replace(light, sun=shot.world[:3, :3].T @ light.sun)
        path = self.root / "instances" / shot.channel / f"{shot.file.stem}.png"
        instances = InstanceFile(path, rows) if path.is_file() else None
        return frame.with_(light=light, surround=self._surround(sample, instances))

    def _surround(self, sample: int, instances: InstanceFile | None) -> Surround:
        number = int(self._scene[sample])
        mine = np.flatnonzero(self._scene == number)
        if number not in self._kept:
            while len(self._kept) >= KEPT_SCENES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = SceneMoments(self.samples[mine], self.road_masks)
        return Surround(self._kept[number], int(np.searchsorted(mine, sample)), instances)


class SampleFrames(Dataset[tuple[Frame, ...]]):
    """All pictures of a sample at once, for evaluation: never injected into."""

    def __init__(self, reader: NuscenesDataset, size: tuple[int, int] | None, fit: Literal["resize", "pad"]) -> None:
        self.frames, self.cameras = EvaluationFrames(reader, size, fit), len(CAMERAS)

    def __len__(self) -> int:
        return len(self.frames) // self.cameras

    def __getitem__(self, index: int) -> tuple[Frame, ...]:
        return tuple(self.frames[self.cameras * index + k] for k in range(self.cameras))


def collate_samples(samples: Sequence[tuple[Frame, ...]]) -> Batch:
    """One batch of the pictures of all samples, sample by sample."""
    return collate([frame for sample in samples for frame in sample])


class NuscenesDataModule(DetectionDataModule):
    """Training and validation scenes of a nuScenes folder.

    A training batch holds ``batch_size`` pictures of any cameras; an evaluation batch whole samples of six.

    Attributes:
        groups: evaluation sample to its scene; set by ``setup``.
    """

    val_reader: NuscenesDataset
    groups: dict[str, str]

    def __init__(
        self,
        root: str,
        version: str = "v1.0-trainval",
        train_split: str = "train",
        val_split: str = "val",
        scene_share: float = 1.0,
        scene_seed: int | None = 0,
        road_masks: str | None = None,
        table_cache: str | None = None,
        **options: Any,
    ) -> None:
        """Configure; ``options`` are those of :class:`DetectionDataModule`.

        Args:
            root: folder that holds ``samples`` and the version's folder of tables.
            version: v1.0-trainval, v1.0-mini, v1.0-test, or another folder of the same tables.
            train_split: official split, or a text file of scene names.
            val_split: likewise; "test" predicts without annotations.
            scene_share: share of the training scenes to train on; 0.1 of 700 are 70.
            scene_seed: chooses which, a smaller share among a larger one's; None takes the run's seed.
            road_masks: folder of the road masks, one of ``prepare road-masks``; by default ``road`` of the root.
            table_cache: folder where the decoded tables are kept, for all processes of a machine and for later runs;
                by default ``liftbench`` in the user's cache folder, for tables of more than 32 MiB.
        """
        super().__init__(**options)
        self.root, self.version, self.train_split, self.val_split = root, version, train_split, val_split
        self.scene_share, self.scene_seed, self.road_masks = scene_share, scene_seed, road_masks
        self.table_cache = table_cache
        self.train_scenes: tuple[str, ...] = ()
        self._rows: dict[str, int] = {}  # of the evaluation samples in their table, by token

    @staticmethod
    def reads(root: str, version: str = "v1.0-trainval", **_: Any) -> tuple[str, list[Path]]:
        """The option that names the folder, and the files of it that are read: tables and camera pictures."""
        base = Path(root)
        return "root", [*(base / version).glob("*.json"), *base.glob("samples/CAM_*/*"), base / "world.json"]

    @property
    def dataset(self) -> str:
        """Name for records: folder and version."""
        return f"{Path(self.root).name} {self.version}"

    def setup(self, stage: str | None = None) -> None:
        root = Path(self.root)
        if not root.is_dir():
            raise DatasetNotFound(f"{root} does not exist; expected {FOLDERS}; correct data.root")
        tables = Tables(root / self.version, self.table_cache)
        if stage in (None, "fit"):
            samples = read_samples(tables, self.train_split)
            scenes = samples.scenes
            names = {int(scene): tables.scene_names[int(scene)] for scene in dict.fromkeys(scenes.tolist())}
            drawn = self.position().seed if self.scene_seed is None else self.scene_seed
            self.train_scenes = choose_scenes(list(names.values()), self.scene_share, drawn)
            chosen = set(self.train_scenes)
            kept = samples[np.isin(scenes, [scene for scene, name in names.items() if name in chosen])]
            if self.on_error == "raise":
                self._check(kept, self.train_split)
            masks = None if self.road_masks is None else Path(self.road_masks)
            if masks is not None and not masks.is_dir():
                raise DatasetNotFound(
                    f"{masks} does not exist; expected a folder of `python -m lit prepare road-masks --out`; correct "
                    "data.road_masks"
                )
            self.train_reader = self.for_training(NuscenesDataset(kept, root, self.injection is not None, masks))
            self._write_scenes()
        samples = read_samples(tables, self.val_split)
        self._check(samples, self.val_split)
        self.val_reader = NuscenesDataset(samples, root)
        tokens = [samples.token(index) for index in range(len(samples))]
        self._rows = dict(zip(tokens, samples.rows.tolist()))
        self.groups = {token: samples.scene(index) for index, token in enumerate(tokens)}

    def _check(self, samples: LazySamples, split: str) -> None:
        """Refuse a split with missing pictures, or of sizes that make no batch; say when its labels are of no use."""
        root, files = Path(self.root), samples.files()
        there: dict[str, set[str]] = {}
        missing = []
        for file in files:
            folder, _, name = file.rpartition("/")
            if folder not in there:
                there[folder] = set(os.listdir(root / folder)) if (root / folder).is_dir() else set()
            if name not in there[folder]:
                missing.append(file)
        if missing:
            raise DatasetNotFound(
                f"{root / missing[0]} does not exist, one of {len(missing)} missing out of {len(files)} pictures of "
                f"{split}; download the version's image files, or name scenes that are there in a text file"
            )
        sizes = sorted((height, width) for width, height in np.unique(samples.sizes.reshape(-1, 2), axis=0).tolist())
        if self.size is None and len(sizes) > 1:
            raise InputError(
                f"data.size null with pictures of sizes {sizes}: a batch has one, expected data.size [height, width]"
            )
        labels = Counter(DETECTION_NAMES[label] for label in samples.labels().tolist())
        if labels or split != "test":
            self.warn_of_classes(labels, f"split {split} of {self.root}")

    def _write_scenes(self) -> None:
        """The training scenes' names, beside the run's other files."""
        trainer = self.trainer
        if trainer is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning's setup
            names = "".join(f"{name}\n" for name in self.train_scenes)
            write_atomically(Path(trainer.default_root_dir) / "train_scenes.txt", names)

    def val_dataloader(self) -> DataLoader:
        frames = SampleFrames(self.val_reader, self.size, self.fit)
        sampler = ShardSampler(len(frames), self.position())
        return self._loader(frames, sampler, max(self.batch_size // len(CAMERAS), 1), collate_samples)

    def sample_truths(self, batch: Batch) -> list[tuple[str, SampleTruth]]:
        """Tokens and annotations of the samples in an evaluation batch."""
        tokens = dict.fromkeys(capture.sample for capture in batch.captures)
        return [(token, self.val_reader.samples.tables.sample_truth(self._rows[token])) for token in tokens]

    def sample_predictions(self, outputs: Sequence[Objects], batch: Batch) -> list[tuple[str, GlobalBoxes]]:
        """What the six cameras of each sample found together, in the global frame."""
        found: dict[str, list[GlobalBoxes]] = {}
        for objects, capture in zip(outputs, batch.captures, strict=True):
            found.setdefault(capture.sample, []).append(global_boxes(objects, capture.world))
        return [(token, merged(boxes)) for token, boxes in found.items()]


def visible_objects(boxes: GlobalBoxes, shot: Shot) -> tuple[Objects, np.ndarray]:
    """The annotated objects in a camera's picture, in its label frame, and which of the boxes (M,) they are.

    Objects that no lidar or radar point hit are left out, as in the official training; so are those behind the camera
    or beside the picture.
    """
    level = to_level(boxes, shot.world)
    full = projected_bbox(shot.camera, level, clip=False)
    bbox = clip_bbox(np.nan_to_num(full, nan=-1.0), shot.camera.width, shot.camera.height)
    inside = (bbox[:, 2:] - bbox[:, :2] > 1).all(1) & (shot.camera.project(level.center)[1] > 0)
    kept = np.flatnonzero(inside & (boxes.num_pts != 0))
    velocity = np.column_stack([boxes.velocity, np.zeros(len(boxes))]) @ shot.world[:3, :3]
    attributes = np.array([*ATTRIBUTE_NAMES, ""])  # index -1 is none
    count = len(kept)
    objects = Objects(
        boxes=level[kept],
        names=np.array(DETECTION_NAMES)[boxes.labels[kept]],
        bbox=bbox[kept],
        truncation=truncation(full[kept], bbox[kept]) if count else np.zeros(0),
        occlusion=np.full(count, -1, np.int64),
        alpha=level[kept].alpha,
        velocity=velocity[kept][:, [0, 2]],
        attribute=attributes[boxes.attributes[kept]],
    )
    return objects, kept


def global_boxes(objects: Objects, world: np.ndarray) -> GlobalBoxes:
    """Predictions of one camera in the global frame.

    Args:
        objects: with scores and the names of the detection task; velocity and attribute may be absent.
        world: (4, 4) label frame to global frame.
    """
    translation, size, rotation = to_global(objects.boxes, world)
    count = len(objects)
    velocity = np.zeros((count, 2)) if objects.velocity is None else np.nan_to_num(objects.velocity)
    moving = np.column_stack([velocity[:, 0], np.zeros(count), velocity[:, 1]]) @ world[:3, :3].T
    given = np.full(count, "") if objects.attribute is None else objects.attribute
    names = [own or ATTRIBUTES_OF.get(name, ("",))[0] for own, name in zip(given, objects.names)]
    return GlobalBoxes(
        translation,
        size,
        rotation,
        moving[:, :2],
        np.array([DETECTION_NAMES.index(name) for name in objects.names], dtype=np.int64),
        np.array([ATTRIBUTE_NAMES.index(name) if name else -1 for name in names], dtype=np.int64),
        np.asarray(objects.score, dtype=np.float64),
        np.full(count, -1, np.int64),
    )


def merged(parts: Sequence[GlobalBoxes]) -> GlobalBoxes:
    """The predictions of a sample's cameras, best first, each object once, at most as many as may be submitted."""
    boxes = GlobalBoxes.concatenate(parts)
    boxes = boxes[np.argsort(-boxes.scores, kind="stable")]
    forward = quaternion_matrix(boxes.rotation)[:, :2, 0]
    yaw = -np.arctan2(forward[:, 1], forward[:, 0])  # rectangles turn clockwise, seen from above
    ground = np.column_stack([boxes.translation[:, :2], boxes.size[:, [1, 0]], yaw])
    ground[:, 0] += 1e4 * boxes.labels  # classes do not meet
    return boxes[suppress(ground, MERGE_IOU)[:MAX_BOXES]]

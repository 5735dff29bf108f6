"""Class image sets of the studio's objects by seed: training pictures, a test split like them, four unlike them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.atomic_files import begun, write_atomically, write_index
from datamodules.files.checksums import digest_of, require_checksums
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.images import write_image
from datamodules.objects.object_images import backdrop
from datamodules.objects.studio import render_view, studio_light, view_projection
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.recognition.conditions import (
    CLASS_SPLITS,
    clutter,
    occluded,
    odd_light,
    reshaped,
    sensed,
    weathered,
)
from datamodules.recognition.poses import POSES, Pose, PoseFile, pose_text
from datamodules.renders.cad_models import CadModel
from datamodules.renders.generated import Generated, digest_of_images
from datamodules.renders.model_meshes import studio_mesh, studio_models
from datamodules.renders.render_set import Render, RenderSet
from datamodules.renders.render_writer import GROUND_POLAR
from datamodules.renders.viewpoints import RENDER_FIELD_OF_VIEW, draw_viewpoints

CLASS_INDEX = "class_images.json"
CLASS_SET = "a class image set (`python -m lit prepare class-images` writes one)"
Stated = dict[str, str | int | float | bool | list[str] | None]
APART = 100_000  # numbers of objects between splits: no object is in two of them, nor among the studio's models


@dataclass(frozen=True)
class ClassSetSettings:
    """All that a set of the studio's objects follows from.

    Attributes:
        classes: of :data:`datamodules.renders.model_meshes.STUDIO_CLASSES`.
        train_objects: objects of each class in the training split.
        test_objects: of each class in each other split.
        views: pictures of each object.
        size: pixels a side.
        mode: of the viewpoints, see :func:`datamodules.renders.viewpoints.draw_viewpoints`.
        distance: of the camera, in the object's longest sides.
        roll: spread of the camera's roll, degrees.
        supersample: rays a pixel and axis.
        seed: of everything.
    """

    classes: tuple[str, ...] = ("car", "van", "bicycle", "pedestrian")
    train_objects: int = 20
    test_objects: int = 15
    views: int = 4
    size: int = 64
    mode: int = 1
    distance: float = 1.5
    roll: float = 5.0
    supersample: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InputError(f"classes {' '.join(self.classes) or 'none'}: expected two or more; name another")
        studio_models(self.classes, 1)  # refuses unknown ones, and the next other modes and distances
        draw_viewpoints(self.mode, 1, self.distance, derive(0, "class images"), max_polar=GROUND_POLAR)
        limits = (
            ("train_objects", self.train_objects, 1, APART - 1),
            ("test_objects", self.test_objects, 1, APART - 1),
            ("views", self.views, 1, 1000),
            ("size", self.size, 16, 2048),
            ("supersample", self.supersample, 1, 8),
        )
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name} {value}: expected {low} to {high}")
        if not 0 <= self.roll <= 45:
            raise InputError(f"roll {self.roll:g}: expected a spread of 0 to 45 degrees")


class ClassIndex(msgspec.Struct):
    """``class_images.json``: settings, and pictures of each split."""

    schema: Annotated[int, Meta(ge=1, le=1)]
    settings: Stated
    splits: Annotated[dict[str, int], Meta(min_length=1)]


class _Written(NamedTuple):
    split: str
    name: str
    pose: Pose
    digest: str
    dims: tuple[float, float, float]


def write_class_images(
    root: str | Path, settings: ClassSetSettings, workers: int = 1, progress: bool = False, wait: bool = False
) -> ClassIndex:
    """Write a set; the same settings give the same bytes whatever the number of workers.

    Args:
        root: folder to write, ``class_images.json`` last.
        settings: what to write.
        workers: processes; 1 stays in this one.
        progress: show a bar.
        wait: for another process that writes there, rather than refuse.

    Raises:
        InputError: the folder holds something else, or another process writes there.
    """
    root, stated = Path(root), _plain(asdict(settings))
    with folder_lock(root, "a class image set", wait=wait):
        if (there := _there(root, stated)) is not None:
            return there
        jobs = [
            (split, name, index)
            for split in CLASS_SPLITS
            for name in settings.classes
            for index in range(settings.train_objects if split == "train" else settings.test_objects)
        ]
        job = partial(_write_object, root=root, settings=settings)
        with begun(root / CLASS_INDEX, CLASS_SPLITS):
            rows = [row for found in run_jobs(job, jobs, workers, progress, "class images") for row in found]
            return _finish(root, rows, stated)


def write_class_renders(
    root: str | Path,
    renders: RenderSet,
    images: list[Generated] | None = None,
    size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ClassIndex:
    """Write renders, or the images generated from them, as the training split of a set.

    Args:
        root: folder to write.
        renders: with their annotations.
        images: generated ones; None takes the renders themselves on plain drawn colours.
        size: pixels a side; None keeps theirs.
        seed: of the colours.
        progress: show a bar.

    Raises:
        InputError: the folder holds something else, or a picture is damaged.
    """
    root = Path(root)
    if size is not None and not 8 <= size <= 4096:
        raise InputError(f"size {size}: expected 8 to 4096")
    chosen: list[Render | Generated] = list(renders) if images is None else list(images)
    keys = digest_of_images(images) if images else digest_of(json.dumps([picture.key for picture in chosen]).encode())
    said: dict[str, object] = {**renders.index.settings, "pictures": keys, "resized": size, "backdrop_seed": seed}
    stated = _plain({**said, "images": None if images is None else images[0].name})
    with folder_lock(root, "a class image set"):
        if (there := _there(root, stated)) is not None:
            return there
        job = partial(_write_render, root=root, size=size, seed=seed)
        with begun(root / CLASS_INDEX, CLASS_SPLITS):
            return _finish(root, run_jobs(job, chosen, 1, progress, "class images"), stated)


def _plain(settings: dict[str, object]) -> Stated:
    found: Stated = json.loads(json.dumps(settings))
    return found


def _there(root: Path, settings: Stated) -> ClassIndex | None:
    """The finished set that a folder holds; None where it has to be written.

    Raises:
        InputError: it holds another one.
    """
    index = root / CLASS_INDEX
    if not index.is_file():
        return None
    found = read_json(index, ClassIndex, CLASS_SET)
    if found.settings != settings:
        raise InputError(f"{root}: holds a class image set of other settings; delete it or give another folder")
    require_checksums(index)
    return found


def _finish(root: Path, rows: list[_Written], settings: Stated) -> ClassIndex:
    """Write poses of each split, and the index.

    Raises:
        InputError: a run that was stopped, with other options, has left pictures that are none of these.
    """
    files = {f"{row.split}/{row.name}": row.digest for row in rows}
    for path in (path for split in CLASS_SPLITS for path in sorted((root / split).rglob("[!.]*")) if path.is_file()):
        if path.name != POSES and path.relative_to(root).as_posix() not in files:
            raise InputError(
                f"{path}: is no picture of this set, a stopped run of other options left it; delete {root} and "
                "run this again"
            )
    counts: dict[str, int] = {}
    for split in dict.fromkeys(row.split for row in rows):
        own = [row for row in rows if row.split == split]
        counts[split] = len(own)
        lengths: dict[str, list[tuple[float, float, float]]] = {}
        for row in own:
            lengths.setdefault(row.name.partition("/")[0], []).append(row.dims)
        dims = {name: _triple(np.mean(found, 0)) for name, found in lengths.items()}
        poses = PoseFile(1, float(np.rad2deg(RENDER_FIELD_OF_VIEW)), dims, {row.name: row.pose for row in own})
        files[f"{split}/{POSES}"] = write_atomically(root / split / POSES, pose_text(poses))
    index = ClassIndex(1, settings, counts)
    write_index(root / CLASS_INDEX, json.dumps(msgspec.to_builtins(index), indent=1) + "\n", files)
    return index


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _write_object(job: tuple[str, str, int], root: Path, settings: ClassSetSettings) -> list[_Written]:
    """Draw and write all pictures of one object."""
    cv2.setNumThreads(1)
    split, name, index = job
    number = APART * (1 + CLASS_SPLITS.index(split)) + index
    mesh = studio_mesh(CadModel(name, f"{number:06d}", name, None), settings.seed)
    if split == "shape":
        mesh = reshaped(mesh, derive(settings.seed, "class images", split, name, index, "shape"))
    found = []
    for view in range(settings.views):
        rng = derive(settings.seed, "class images", split, name, index, view)
        (seen,) = draw_viewpoints(settings.mode, 1, settings.distance, rng, max_polar=GROUND_POLAR)
        roll = float(np.clip(rng.normal(0, settings.roll), -60, 60)) if settings.roll else 0.0
        distance = settings.distance * float(mesh.dims.max())
        projection = view_projection(
            mesh.dims, seen.azimuth, seen.elevation, settings.size, distance, RENDER_FIELD_OF_VIEW
        )
        light, factor = odd_light(rng) if split == "light" else (studio_light(rng), 1.0)
        rgba = render_view(mesh, rolled(projection, roll, settings.size), settings.size, light, settings.supersample)
        straight = rgba["rgba"].astype(np.float32)
        alpha = straight[..., 3:] / 255
        behind = np.clip(clutter(settings.size, rng) * np.float32(factor), 0, 255)
        picture = straight[..., :3] * alpha + behind * (1 - alpha)
        if split == "occlusion":
            picture = occluded(picture, alpha[..., 0] > 0.5, rng)
        if split == "weather":
            picture = weathered(picture, rng)
        place = f"{name}/{index:06d}_{view:02d}.png"
        digest = write_image(root / split / place, sensed(picture, rng).transpose(2, 0, 1))
        pose = (seen.azimuth, seen.elevation, roll, settings.distance)
        found.append(_Written(split, place, pose, digest, _triple(mesh.dims)))
    return found


def rolled(projection: np.ndarray, roll: float, size: int) -> np.ndarray:
    """A square view's projection (3, 4) with its picture turned by ``roll`` degrees from right towards down."""
    turn, middle = np.deg2rad(roll), (size - 1) / 2
    c, s = np.cos(turn), np.sin(turn)
    about = np.array([[c, -s, middle - c * middle + s * middle], [s, c, middle - s * middle - c * middle], [0, 0, 1]])
    return np.asarray(about @ projection)


def folder_name(words: str) -> str:
    """The folder of a class by its words: "tv/monitor" is one class, and no folder lies outside the set."""
    return words.strip().replace(" ", "_").replace("/", "_").replace("\\", "_").lstrip(".") or "unnamed"


def _write_render(picture: Render | Generated, root: Path, size: int | None, seed: int) -> _Written:
    """Write one render or generated image."""
    render = picture.render if isinstance(picture, Generated) else picture
    known, name = render.annotation, folder_name(render.annotation.words)
    stem = f"{known.synset}_{known.model}_{known.view:03d}"  # several synsets may be of one class
    if isinstance(picture, Generated):
        pixels, place = picture.read(), f"{name}/{stem}_{picture.variant:02d}.png"
    else:
        rgba, place = render.rgba.astype(np.float32), f"{name}/{stem}.png"
        behind, alpha = backdrop(len(rgba), "colour", derive(seed, "class images", render.key)), rgba[..., 3:] / 255
        pixels = np.rint(rgba[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8)
    if size is not None and len(pixels) != size:
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    digest = write_image(root / "train" / place, pixels.transpose(2, 0, 1))
    pose = (known.azimuth % 360, known.elevation, known.roll, known.distance_in_sides)
    return _Written("train", place, pose, digest, known.dims)

"""Omni3D's JSON files and the result files of its evaluation, read and written.

A file holds ``info``, ``images`` (id, file_path, width, height, K), ``categories`` and ``annotations``; see DATA.md of
facebookresearch/omni3d. An image may state ``p2``, the whole projection (:mod:`datamodules.omni3d.rows`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError, closest, listed, printable
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import Finite, Text, read_json
from datamodules.geometry import Camera
from datamodules.omni3d.camera_boxes import CameraBoxes, boxes_of_corners
from datamodules.omni3d.rows import UNSTATED, Omni3DRows, corners_of_boxes, pinhole_pose
from datamodules.omni3d.vocabulary import numbered

OMNI3D_FILE = "a file of Omni3D (`python -m lit prepare omni3d` writes one)"
OMNI3D_RESULTS = "results as Omni3D's evaluation writes them: a list of image_id, category_id, bbox, score, bbox3D"
LARGEST_SIDE = 100_000  # pixels
ROUNDING = 1e-6  # of what is 0 or 1 in a matrix of intrinsics
ASKEW = 0.01  # of the entries of R_cam R_cam^T beside the identity's
AGREE = 0.1  # metres, and as a share of the box: what corners may differ by from those of centre, dimensions and R_cam

Number = Annotated[int, Meta(ge=0)]
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
Value = Annotated[float, Meta(ge=-1e6, le=1e6)]  # metres or entries of a matrix
Pixel = Annotated[float, Meta(ge=-1e9, le=1e9)]  # a corner beside the camera projects far beyond any picture
Point = Annotated[list[Value], Meta(min_length=3, max_length=3)]
Rectangle = Annotated[list[Pixel], Meta(min_length=4, max_length=4)]
Matrix = Annotated[list[Point], Meta(min_length=3, max_length=3)]
_Row = Annotated[list[Value], Meta(min_length=4, max_length=4)]
_Projection = Annotated[list[_Row], Meta(min_length=3, max_length=3)]
Corners = Annotated[list[Point], Meta(min_length=8, max_length=8)]
Flag = bool | int


class Omni3DPicture(msgspec.Struct, frozen=True):
    """An image of a file.

    Attributes:
        id: its number.
        width: pixels.
        height: pixels.
        file_path: from the folder of all pictures.
        K: (3, 3) intrinsics.
        dataset_id: of the data set it is from.
        p2: (3, 4) label frame to pixels, or None where that is K.
    """

    id: Number
    width: Side
    height: Side
    file_path: Annotated[Text, Meta(min_length=1)]
    K: Matrix
    dataset_id: int = 0
    p2: _Projection | None = None

    def __post_init__(self) -> None:
        matrix = self.intrinsics
        off = np.abs([*matrix[np.tril_indices(3, -1)], matrix[2, 2] - 1]).max()
        if min(matrix[0, 0], matrix[1, 1]) < 1 or off > ROUNDING:
            raise ValueError("K is no pinhole camera's, expected f s u / 0 f v / 0 0 1 with f >= 1 pixel")
        turn = self.pose[:, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
            raise ValueError("p2 is not K times a rotation and a shift, expected the same camera as K")

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64."""
        return np.array(self.K, np.float64)

    @property
    def camera(self) -> Camera:
        """Label frame to pixels."""
        projection = np.eye(3, 4) if self.p2 is None else np.array(self.p2, np.float64)
        return Camera(self.intrinsics @ projection if self.p2 is None else projection, self.width, self.height)

    @property
    def pose(self) -> np.ndarray:
        """(3, 4) label frame to the pinhole's."""
        return np.eye(3, 4) if self.p2 is None else pinhole_pose(self.intrinsics, np.array(self.p2, np.float64))


class Category(msgspec.Struct, frozen=True):
    """A class of a file."""

    id: Number
    name: Annotated[Text, Meta(min_length=1)]


class Omni3DAnnotation(msgspec.Struct, frozen=True):
    """An annotation as it stands in a file; see :class:`datamodules.omni3d.rows.Omni3DRows`."""

    id: Number
    image_id: Number
    category_id: Number
    valid3D: Flag
    bbox2D_tight: Rectangle
    bbox2D_proj: Rectangle
    bbox2D_trunc: Rectangle
    bbox3D_cam: Corners
    center_cam: Point
    dimensions: Point
    R_cam: Matrix
    category_name: str | None = None
    behind_camera: Flag = False
    visibility: Finite = UNSTATED
    truncation: Finite = UNSTATED
    segmentation_pts: Finite = UNSTATED
    lidar_pts: Finite = UNSTATED
    depth_error: Finite = UNSTATED


class _Content(msgspec.Struct, frozen=True):
    images: Annotated[list[Omni3DPicture], Meta(min_length=1)]
    categories: Annotated[list[Category], Meta(min_length=1)]
    annotations: list[Omni3DAnnotation] = []
    info: Any = None


class _NamedPicture(msgspec.Struct, frozen=True):
    file_path: str


class _Named(msgspec.Struct, frozen=True):
    images: list[_NamedPicture]


class _Result(msgspec.Struct, frozen=True):
    image_id: Number
    category_id: Number
    bbox: Rectangle
    score: Finite
    bbox3D: Corners


@dataclass(frozen=True)
class Omni3DFile:
    """A checked file.

    Attributes:
        path: where it lies.
        pictures: its images, in its order.
        categories: number to name.
        rows: all annotations, picture by picture, in the file's order within each.
        offsets: (P + 1,) where each picture's begin.
    """

    path: Path
    pictures: tuple[Omni3DPicture, ...]
    categories: dict[int, str]
    rows: Omni3DRows
    offsets: np.ndarray

    def rows_of_picture(self, index: int) -> Omni3DRows:
        """Annotations of picture ``index``."""
        return self.rows[int(self.offsets[index]) : int(self.offsets[index + 1])]


def read_omni3d(path: str | Path) -> Omni3DFile:
    """Read and check a file.

    Raises:
        InputError: it is missing or no such file, an image lacks its K, a box has not eight corners, an annotation is
            of an image or category that the file lacks, or a number stands twice.
    """
    path = Path(path)
    content = read_json(path, _Content, OMNI3D_FILE)
    for kind, entries in (("image", content.images), ("category", content.categories)):
        _check_once(path, kind, [entry.id for entry in entries])
    _check_once(path, "annotation", [entry.id for entry in content.annotations])
    categories = {category.id: category.name for category in content.categories}
    if len(set(categories.values())) < len(categories):
        raise InputError(f"{path}: two categories of one name, expected each once; merge them")
    place = {picture.id: index for index, picture in enumerate(content.images)}
    for entry in content.annotations:
        if problem := _misplaced(entry, place, categories):
            raise InputError(printable(f"{path}: annotation {entry.id}: {problem}"))
    owner = np.array([place[entry.image_id] for entry in content.annotations], np.int64)
    order = np.argsort(owner, kind="stable")
    rows = _rows([content.annotations[index] for index in order], categories)
    _warn_of_corners(path, rows, [content.annotations[index] for index in order])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(place)))])
    return Omni3DFile(path, tuple(content.images), categories, rows, offsets)


def named_pictures(path: Path) -> tuple[str, ...]:
    """Paths of the pictures that a file names, kept until the file changes; what else it says is not looked at.

    Raises:
        InputError: it is missing or no such file.
    """
    found = path.stat() if path.is_file() else None
    return _named_pictures(path, *((found.st_mtime_ns, found.st_size) if found else (0, 0)))


@lru_cache(maxsize=16)
def _named_pictures(path: Path, *_: int) -> tuple[str, ...]:
    return tuple(image.file_path for image in read_json(path, _Named, OMNI3D_FILE).images)


def _check_once(path: Path, kind: str, numbers: Sequence[int]) -> None:
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise InputError(f"{path}: {kind} {twice[0]} stands twice, expected each number once; number them anew")


def _misplaced(entry: Omni3DAnnotation, place: dict[int, int], categories: dict[int, str]) -> str | None:
    """What an annotation names that the file does not have."""
    if entry.image_id not in place:
        return f"image {entry.image_id} is not among the images, expected one of {len(place)}; add it or drop the row"
    name = categories.get(entry.category_id)
    if name is None:
        known = listed((f"{number} {name}" for number, name in sorted(categories.items())), 10)
        return f"category {entry.category_id} is not among the categories, expected one of {known}; add it"
    if entry.category_name not in (None, name):
        hint = closest(str(entry.category_name), categories.values())
        return f"category_name {entry.category_name!r} of category {entry.category_id}, expected {name!r}{hint}"
    return None


def _rows(entries: Sequence[Omni3DAnnotation], categories: dict[int, str]) -> Omni3DRows:
    def column(name: str, *shape: int) -> np.ndarray:
        return np.array([getattr(entry, name) for entry in entries], np.float64).reshape(len(entries), *shape)

    return Omni3DRows(
        category=np.array([categories[entry.category_id] for entry in entries], dtype=str),
        valid=column("valid3D") > 0,
        tight=column("bbox2D_tight", 4),
        proj=column("bbox2D_proj", 4),
        trunc=column("bbox2D_trunc", 4),
        center=column("center_cam", 3),
        dims=column("dimensions", 3),
        rotation=column("R_cam", 3, 3),
        behind=column("behind_camera") > 0,
        **{name: column(name) for name in ("visibility", "truncation", "segmentation_pts", "lidar_pts", "depth_error")},
    )


def _warn_of_corners(path: Path, rows: Omni3DRows, entries: Sequence[Omni3DAnnotation]) -> None:
    """Say when a box has no rotation, or other corners than stated: the order of the dimensions is easily mistaken."""
    sized = rows.valid & (rows.dims > 0).all(1)
    if not sized.any():
        return
    turn = rows[sized].rotation
    skewed = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max((1, 2)) > ASKEW
    skewed |= np.linalg.det(turn) < 0
    if skewed.any():
        first = entries[int(np.flatnonzero(sized)[int(skewed.argmax())])]
        warnings.warn(
            f"{path}: R_cam of {skewed.sum()} of {len(skewed)} boxes is no rotation (first annotation {first.id}): "
            "what is trained and scored of these is not what they show; take scale, shear and mirroring out of it",
            stacklevel=3,
        )
    stated = np.array([entry.bbox3D_cam for entry in entries], np.float64)[sized]
    off = np.linalg.norm(stated - rows[sized].corners, axis=-1).max(1)
    wrong = off > AGREE * (1 + rows.dims[sized].max(1))
    if wrong.any():
        first = entries[int(np.flatnonzero(sized)[int(wrong.argmax())])]
        warnings.warn(
            f"{path}: {wrong.sum()} of {len(wrong)} boxes have other corners than center_cam, dimensions (width, "
            f"height, length) and R_cam say (first annotation {first.id}, {off[wrong.argmax()]:.2f} m off); the latter "
            "are taken",
            stacklevel=3,
        )


def write_omni3d(
    path: str | Path,
    pictures: Sequence[Omni3DPicture],
    rows: Sequence[Omni3DRows],
    info: dict[str, Any],
    first_annotation: int = 1,
    categories: Sequence[str] = (),
) -> int:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        pictures: its images.
        rows: the annotations of each.
        info: what the file says of itself: "id", "name", "split", "version", "url", "source".
        first_annotation: number of the first annotation; Cube R-CNN's evaluation takes number 0 for no annotation.
        categories: names that are listed even where no annotation has them.

    Returns:
        The number of annotations.
    """
    joined = Omni3DRows.concatenate(rows)
    numbers = numbered([*categories, *joined.category.tolist()])
    owners = np.repeat([picture.id for picture in pictures], [len(one) for one in rows])
    entries = [
        _entry(joined, index, first_annotation + index, int(owners[index]), numbers) for index in range(len(joined))
    ]
    content = {
        "info": info,
        "images": [_image(picture) for picture in pictures],
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for name, number in sorted(numbers.items(), key=lambda entry: entry[1])
        ],
        "annotations": entries,
    }
    write_atomically(path, msgspec.json.encode(content))
    return len(entries)


def _image(picture: Omni3DPicture) -> dict[str, Any]:
    found = {
        "id": picture.id,
        "dataset_id": picture.dataset_id,
        "width": picture.width,
        "height": picture.height,
        "file_path": picture.file_path,
        "K": picture.K,
        "src_90_rotate": 0,
        "src_flagged": False,
    }
    return found if picture.p2 is None else {**found, "p2": picture.p2}


def _entry(rows: Omni3DRows, index: int, number: int, image: int, numbers: dict[str, int]) -> dict[str, Any]:
    one = rows[index : index + 1]
    name = str(one.category[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": numbers[name],
        "category_name": name,
        "valid3D": bool(one.valid[0]),
        "bbox2D_tight": one.tight[0].tolist(),
        "bbox2D_proj": one.proj[0].tolist(),
        "bbox2D_trunc": one.trunc[0].tolist(),
        "bbox3D_cam": one.corners[0].tolist(),
        "center_cam": one.center[0].tolist(),
        "dimensions": one.dims[0].tolist(),
        "R_cam": one.rotation[0].tolist(),
        "behind_camera": bool(one.behind[0]),
        "visibility": float(one.visibility[0]),
        "truncation": float(one.truncation[0]),
        "segmentation_pts": int(one.segmentation_pts[0]),
        "lidar_pts": int(one.lidar_pts[0]),
        "depth_error": float(one.depth_error[0]),
    }


def read_results(path: str | Path, truth: Omni3DFile) -> list[CameraBoxes]:
    """Predictions for each picture of a file, in its order.

    Raises:
        InputError: it is no such file, or names an image or category that the ground truth lacks.
    """
    entries = read_json(path, list[_Result], OMNI3D_RESULTS)
    place = {picture.id: index for index, picture in enumerate(truth.pictures)}
    for number, entry in enumerate(entries):
        if entry.image_id not in place or entry.category_id not in truth.categories:
            what = f"image {entry.image_id}" if entry.image_id not in place else f"category {entry.category_id}"
            raise InputError(f"{path}: result {number}: {what} is not in {truth.path}; evaluate the file it is for")
    owner = np.array([place[entry.image_id] for entry in entries], np.int64)
    order = np.argsort(owner, kind="stable")
    taken = [entries[index] for index in order]
    corner = np.array([entry.bbox for entry in taken], np.float64).reshape(-1, 4)
    corners = np.array([entry.bbox3D for entry in taken], np.float64).reshape(-1, 8, 3)
    boxes = CameraBoxes(
        np.array([truth.categories[entry.category_id] for entry in taken], dtype=str),
        np.concatenate([corner[:, :2], corner[:, :2] + corner[:, 2:]], 1),
        *boxes_of_corners(corners),
        score=np.array([entry.score for entry in taken], np.float64),
    )
    ends = np.cumsum(np.bincount(owner, minlength=len(place)))
    return [boxes[int(end - count) : int(end)] for end, count in zip(ends, np.diff(ends, prepend=0))]


def results_of(boxes: CameraBoxes, image: int, numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Predictions of a picture as :func:`read_results` and Omni3D's evaluation read them.

    Args:
        boxes: with scores; classes without a number are left out.
        image: number of the picture.
        numbers: category numbers by the names of the boxes.
    """
    corners = corners_of_boxes(boxes.center, boxes.dims, boxes.rotation)
    assert boxes.score is not None
    return [
        {
            "image_id": image,
            "category_id": numbers[str(name)],
            "bbox": [*boxes.bbox[k, :2].tolist(), *(boxes.bbox[k, 2:] - boxes.bbox[k, :2]).tolist()],
            "score": float(boxes.score[k]),
            "depth": float(boxes.center[k, 2]),
            "bbox3D": corners[k].tolist(),
            "center_cam": boxes.center[k].tolist(),
            "dimensions": boxes.dims[k, ::-1].tolist(),
            "pose": boxes.rotation[k].tolist(),
        }
        for k, name in enumerate(boxes.names)
        if str(name) in numbers
    ]

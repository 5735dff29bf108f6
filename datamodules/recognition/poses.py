"""Poses beside the pictures of a split: ``poses.json`` in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.typed_json import Identifier, Metres, Text, read_json

POSES = "poses.json"
POSE_KIND = "poses of pictures (`python -m lit prepare class-images` writes them)"

Pose = tuple[
    Annotated[float, Meta(ge=0, le=360)],
    Annotated[float, Meta(ge=-90, le=90)],
    Annotated[float, Meta(ge=-180, le=180)],
    Annotated[float, Meta(gt=0.5, le=1000)],
]


class PoseFile(msgspec.Struct):
    """The whole file.

    Attributes:
        schema: of the file.
        field_of_view: of the square pictures, degrees.
        dims: mean length, height, width of each class's objects, metres.
        poses: by "class/picture.png": azimuth (0 looks at the front, 90 at the left side), elevation and roll of the
            camera in degrees, and its distance to the object's middle in the object's longest sides. The camera looks
            at that middle; roll turns the picture from right towards down.
    """

    schema: Annotated[int, Meta(ge=1, le=1)]
    field_of_view: Annotated[float, Meta(gt=1, lt=170)]
    dims: dict[Identifier, tuple[Metres, Metres, Metres]]
    poses: Annotated[dict[Text, Pose], Meta(min_length=1)]


def pose_text(found: PoseFile) -> str:
    """The file's content."""
    return json.dumps(msgspec.to_builtins(found), indent=1) + "\n"


def read_poses(folder: Path, names: list[str], classes: tuple[str, ...]) -> tuple[PoseFile, np.ndarray]:
    """The poses of a split, and those of its pictures (N, 4) float32.

    Args:
        folder: of the split.
        names: of its pictures, "class/picture.png".
        classes: whose dimensions are needed.

    Raises:
        InputError: no such file, a damaged one, or one that lacks a picture or a class.
    """
    path = folder / POSES
    found = read_json(path, PoseFile, POSE_KIND)
    if lost := next((name for name in names if name not in found.poses), None):
        raise InputError(f"{path}: no pose of {lost}; add it, or set data.posed false where poses are not needed")
    if lost := next((name for name in classes if name not in found.dims), None):
        raise InputError(f"{path}: dims: no class {lost}, expected its mean length, height and width in metres; add it")
    return found, np.array([found.poses[name] for name in names], np.float32).reshape(-1, 4)

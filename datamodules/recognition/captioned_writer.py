"""Studio objects of several classes with what their captions say: a posed image set a class, and one index."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.atomic_files import begun, write_index
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import Identifier, Text, read_json
from datamodules.objects.posed_images import write_object, write_posed_index
from datamodules.objects.studio import render_views, require_views, spread_angles, studio_light
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.recognition.captions import paint_of
from datamodules.renders.cad_models import CadModel
from datamodules.renders.model_meshes import studio_mesh, studio_models

CAPTIONED_INDEX = "captioned.json"
CAPTIONED_SET = "a set of pictures with captions (conf/experiment/clip_studio.yaml writes one)"
FIRST = 900_000  # number of the first object: no other set of the studio shows it
ELEVATION = (0.0, 25.0)  # degrees
Albedo = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class CaptionedSettings:
    """All that a set follows from.

    Attributes:
        classes: of :data:`datamodules.renders.model_meshes.STUDIO_CLASSES`.
        objects: of each class.
        views: of each object.
        size: pixels a side.
        seed: of everything.

    Raises:
        InputError: fewer than two classes, an unknown one, or impossible counts.
    """

    classes: tuple[str, ...] = ("car", "van", "bicycle", "pedestrian")
    objects: int = 200
    views: int = 8
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InputError(f"classes {' '.join(self.classes) or 'none'}: expected two or more; name another")
        studio_models(self.classes, 1)
        require_views(self.objects, self.views, self.size, 1, ELEVATION)


class CaptionedObject(msgspec.Struct):
    """What is true of an object from everywhere: its class, body style and the linear albedo of its paint."""

    id: Identifier
    name: Identifier
    body: Text | None
    paint: tuple[Albedo, Albedo, Albedo] | None


class CaptionedIndex(msgspec.Struct):
    """``captioned.json``; each class has a folder of its name with a posed image set of its objects."""

    schema: Annotated[int, Meta(ge=1, le=1)]
    settings: dict[str, str | int | list[str]]
    objects: Annotated[list[CaptionedObject], Meta(min_length=1)]


def write_captioned(
    root: str | Path, settings: CaptionedSettings, workers: int = 1, progress: bool = False, wait: bool = False
) -> None:
    """Write a set; the same settings give the same bytes whatever the number of workers.

    Args:
        root: folder to write, ``captioned.json`` last.
        settings: what to write.
        workers: processes; 1 stays in this one.
        progress: show a bar.
        wait: for another process that writes there, rather than refuse.

    Raises:
        InputError: the folder holds something else, or another process writes there.
    """
    index = Path(root) / CAPTIONED_INDEX
    stated = json.loads(json.dumps(asdict(settings)))
    with folder_lock(root, CAPTIONED_SET, wait=wait):
        if index.is_file():
            if read_json(index, CaptionedIndex, CAPTIONED_SET).settings != stated:
                raise InputError(f"{root}: holds pictures of other settings; delete it or give another folder")
            return
        jobs = [(name, number) for name in settings.classes for number in range(settings.objects)]
        job = partial(_write_captioned_object, root=Path(root), settings=settings)
        with begun(index, settings.classes):
            written = run_jobs(job, jobs, workers, progress, "pictures with captions")
            for name in settings.classes:
                own = [(found.id, dims) for found, dims in written if found.name == name]
                ids, dims = [identity for identity, _ in own], np.array([dims for _, dims in own])
                source = f"studio seed={settings.seed} captioned"
                write_posed_index(Path(root) / name, name, settings.size, settings.views, ids, dims, source)
            content = CaptionedIndex(1, stated, [found for found, _ in written])
            write_index(index, json.dumps(msgspec.to_builtins(content), indent=1) + "\n", {})


def _write_captioned_object(
    job: tuple[str, int], root: Path, settings: CaptionedSettings
) -> tuple[CaptionedObject, list[float]]:
    """Draw and write one object; what is true of it, and its dimensions."""
    cv2.setNumThreads(1)
    name, number = job
    mesh = studio_mesh(CadModel(name, f"{FIRST + number:06d}", name, None), settings.seed)
    rng = derive(settings.seed, "captioned", name, number)
    azimuths, elevations = spread_angles(settings.views, ELEVATION, rng)
    identity = f"{name}-{number:05d}"
    write_object(
        root / name, identity, render_views(mesh, azimuths, elevations, settings.size, studio_light(rng), supersample=2)
    )
    body = mesh.body if name == "car" else None
    return CaptionedObject(identity, name, body, paint_of(mesh.mesh)), mesh.dims.tolist()

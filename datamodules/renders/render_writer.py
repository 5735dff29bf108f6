"""Renders CAD models with annotations: resumable, over processes, the same bytes whatever their number."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.files.checksums import digest_of
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.objects.studio import render_view, studio_light, view_projection
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.renders.annotation import annotate, annotation_text, read_annotation
from datamodules.renders.cad_models import CadModel, Layout
from datamodules.renders.model_meshes import is_watertight, load_model
from datamodules.renders.render_set import (
    RENDER_INDEX,
    RENDER_KIND,
    RENDER_PICTURES,
    LeftOut,
    Render,
    RenderedModel,
    RenderIndex,
    RenderSet,
)
from datamodules.renders.synsets import ON_GROUND
from datamodules.renders.viewpoints import RENDER_FIELD_OF_VIEW, Viewpoint, draw_viewpoints
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.obj_materials import surface_files

BLOCK = 16  # views a job
FARTHEST = 1000.0  # metres of the camera, what an annotation may say
DEPTH_UNITS = ((0.001, 65), (0.01, 655), (0.1, 6553))  # metres a count of 16 bits, and up to where it serves
CAD_VERSION = 2  # of what is drawn of a CAD file; from 2 on its surfaces have their materials' colours
GROUND_POLAR = 95.0  # degrees: objects of the road are not seen from further below the horizon


@dataclass(frozen=True)
class RenderSettings:
    """All that renders follow from, beside the models.

    Attributes:
        size: pixels of the square pictures.
        views: of each model; None where ``samples`` is given.
        samples: views of each class, shared evenly by its models.
        mode: viewpoint mode of models whose row has none.
        distance: camera's distance in longest sides, of models whose row has none.
        vary_distance: draw distances from a truncated normal about it.
        max_polar: largest polar angle, degrees; None: 95 for objects of the road, 180 for others.
        scale: see ``size`` of :func:`datamodules.renders.model_meshes.load_model`.
        textures: see there.
        forward, up: see there.
        layout: of the collection.
        supersample: rays a pixel and axis.
        seed: of viewpoints, light and the studio's objects.
    """

    size: int = 512
    views: int | None = 20
    samples: int | None = None
    mode: int = 1
    distance: float = 2.2
    vary_distance: bool = False
    max_polar: float | None = None
    scale: Literal["class", "file"] | float = "class"
    textures: Literal["require", "grey"] = "require"
    forward: str | None = None
    up: str | None = None
    layout: Layout = "files"
    supersample: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.views is None) == (self.samples is None):
            raise InputError(f"views {self.views}, samples {self.samples}: expected one of both; leave the other out")
        count = self.views or self.samples or 0
        limits = (("size", self.size, 8, 4096), ("supersample", self.supersample, 1, 8), ("views", count, 1, 100_000))
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name} {value}: expected {low} to {high}")
        if not isinstance(self.scale, str) and not 0.01 <= self.scale <= 1000:
            raise InputError(f"scale {self.scale:g}: expected metres in 0.01 to 1000, 'class' or 'file'")


def write_renders(
    root: str | Path,
    models: Sequence[CadModel],
    settings: RenderSettings,
    workers: int = 1,
    progress: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    wait: bool = False,
) -> RenderSet:
    """Render all views of all models; a finished view is skipped, a damaged or older one is drawn again.

    Args:
        root: folder to write.
        models: what to render.
        settings: how.
        workers: processes; 1 stays in this one.
        progress: show a bar.
        on_error: what a model that cannot be read does: stop with its error, or be left out and listed.
        wait: for another process that writes there, rather than refuse.

    Raises:
        InputError: a model cannot be read, all of them were left out, or the folder holds renders of other settings.
    """
    root = Path(root)
    stated: dict[str, str | int | float | bool | None] = {**asdict(settings), "models": len(models)}
    stated["list"] = digest_of(json.dumps([_named(model) for model in models]).encode())
    with folder_lock(root, "annotated renders", wait=wait):
        if (root / RENDER_INDEX).is_file():
            there = read_json(root / RENDER_INDEX, RenderIndex, RENDER_KIND)
            if there.settings != stated:
                raise InputError(f"{root}: holds renders of other settings; delete it or give another folder")
        jobs = [
            (model, tuple(range(start, min(start + BLOCK, count))))
            for model, count in zip(models, view_counts(models, settings))
            for start in range(0, count, BLOCK)
        ]
        job = partial(_render_block, root=root, settings=settings, skip=on_error == "skip")
        found = run_jobs(job, jobs, workers, progress, "renders")
        rendered: dict[tuple[str, str], RenderedModel] = {}
        left_out: dict[tuple[str, str], LeftOut] = {}
        for result in found:
            key = (result.synset, result.model)
            if isinstance(result, LeftOut):
                left_out[key] = result
            elif key in rendered:
                rendered[key].views += result.views
            else:
                rendered[key] = result
        if not rendered:
            raise InputError(f"{root}: all {len(models)} models were left out; the first: {found[0].reason}")  # type: ignore[union-attr]
        index = RenderIndex(1, stated, list(rendered.values()), list(left_out.values()))
        write_atomically(root / RENDER_INDEX, json.dumps(msgspec.to_builtins(index), indent=1) + "\n")
    open_meshes = [model.model for model in index.models if not model.watertight]
    if open_meshes and any(model.path is not None for model in models):  # the studio's are made of parts on purpose
        warnings.warn(
            f"{root}: {len(open_meshes)} of {len(index.models)} meshes are not watertight ({open_meshes[0]}, ...): "
            "their pictures may look into them; annotations say which",
            stacklevel=2,
        )
    return RenderSet(root, index)


def _named(model: CadModel) -> list[object]:
    return [model.synset, model.model, model.name, list(model.keywords), msgspec.to_builtins(model.alignment)]


def view_counts(models: Sequence[CadModel], settings: RenderSettings) -> list[int]:
    """Views of each model: as many for all, or each class's samples shared evenly, the first taking what is left over.

    Raises:
        InputError: fewer samples than a class has models.
    """
    if settings.samples is None:
        return [settings.views or 0] * len(models)
    members: dict[str, int] = {}
    place = []
    for model in models:
        place.append(members.get(model.synset, 0))
        members[model.synset] = place[-1] + 1
    for synset, count in members.items():
        if settings.samples < count:
            raise InputError(f"samples {settings.samples}: {synset} has {count} models; give at least as many")
    shares = (divmod(settings.samples, members[model.synset]) for model in models)
    return [share + (number < rest) for number, (share, rest) in zip(place, shares)]


@lru_cache(maxsize=2)
def _mesh(model: CadModel, settings: RenderSettings) -> tuple[CarMesh, bool, str]:
    """The mesh, whether it is closed, and the digest of all its renders follow from."""
    content = b"" if model.path is None else read_bytes(model.path, "a CAD file")
    surface = [] if model.path is None else [file for file in surface_files(model.path) if file.is_file()]
    mesh = load_model(
        model, settings.layout, settings.scale, settings.textures, settings.forward, settings.up, settings.seed
    )
    shared = {**asdict(settings), "views": None, "samples": None}  # more views leave those before as they are
    stated: list[object] = [shared, _named(model), digest_of(content)]
    if model.path is not None:
        stated += [CAD_VERSION, [digest_of(read_bytes(file, "a material or picture")) for file in surface]]
    return mesh, is_watertight(mesh.mesh), digest_of(json.dumps(stated, sort_keys=True).encode())


def _render_block(
    block: tuple[CadModel, tuple[int, ...]], root: Path, settings: RenderSettings, skip: bool
) -> RenderedModel | LeftOut:
    """Render some views of one model, those that are there left out."""
    cv2.setNumThreads(1)
    model, views = block
    try:
        mesh, watertight, digest = _mesh(model, settings)
    except InputError as error:
        if not skip:
            raise
        return LeftOut(model.synset, model.model, str(error))
    for view in views:
        render = Render(root / model.synset / model.model, view)
        if not is_whole(render, digest):
            _write_view(render, model, mesh, settings, watertight, digest)
    dims = (float(mesh.dims[0]), float(mesh.dims[1]), float(mesh.dims[2]))
    return RenderedModel(
        model.synset, model.model, mesh.name, model.name, list(model.keywords), dims, len(views), watertight
    )


def is_whole(render: Render, settings: str) -> bool:
    """Whether a view was written with these settings and its pictures are as they were written."""
    try:
        found = read_annotation(render.path("annotation", ".json"))
        if found.settings != settings or found.files.keys() != RENDER_PICTURES.keys():
            return False
        return all(
            digest_of(read_bytes(render.path(kind), "a picture")) == digest for kind, digest in found.files.items()
        )
    except InputError:
        return False


def draw_view(mesh: CarMesh, model: CadModel, view: int, settings: RenderSettings) -> tuple[Viewpoint, int]:
    """A view's viewpoint and mode; each view has draws of its own."""
    row, road = model.alignment, model.name in ON_GROUND
    rng = derive(settings.seed, "renders", model.synset, model.model, view)
    mode = row.sampling or settings.mode
    limit = settings.max_polar if settings.max_polar is not None else GROUND_POLAR if road else 180.0
    (found,) = draw_viewpoints(
        mode, 1, row.distance or settings.distance, rng, settings.vary_distance, limit, row.elevation
    )
    return found, mode


def _write_view(
    render: Render, model: CadModel, mesh: CarMesh, settings: RenderSettings, watertight: bool, digest: str
) -> None:
    """Draw one view and write its pictures, then its annotation."""
    viewpoint, mode = draw_view(mesh, model, render.view, settings)
    light = studio_light(derive(settings.seed, "renders", model.synset, model.model, render.view, "light"))
    distance = viewpoint.distance * float(mesh.dims.max())
    if distance > FARTHEST:
        raise InputError(
            f"{model.synset}/{model.model}: distance {viewpoint.distance:g} of its longest side is {distance:.4g} m, "
            f"expected at most {FARTHEST:g} m; give a smaller --distance or --scale"
        )
    projection = view_projection(
        mesh.dims, viewpoint.azimuth, viewpoint.elevation, settings.size, distance, RENDER_FIELD_OF_VIEW
    )
    seen = render_view(mesh, projection, settings.size, light, settings.supersample)
    unit = next(step for step, most in DEPTH_UNITS if seen["depth"].max() < most)
    annotation = annotate(
        model, mesh, viewpoint, render.view, mode, projection, seen["rgba"][..., 3], digest, unit, watertight, {}
    )
    rotation = np.array(annotation.R_cam)
    facing = np.rint((seen["normals"] @ rotation.T + 1) * 127.5)
    pictures = {
        "image_render": cv2.cvtColor(seen["rgba"], cv2.COLOR_RGBA2BGRA),
        "depth": np.rint(seen["depth"] / unit).astype(np.uint16),
        "normal": np.where(seen["normals"].any(-1, keepdims=True), facing, 0).astype(np.uint8)[..., ::-1],
    }
    for kind, picture in pictures.items():
        data = cv2.imencode(".png", np.ascontiguousarray(picture))[1].tobytes()
        annotation.files[kind] = write_atomically(render.path(kind), data)
    write_atomically(render.path("annotation", ".json"), annotation_text(annotation))

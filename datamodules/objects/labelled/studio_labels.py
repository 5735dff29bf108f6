"""The studio's cars as pictures on white with edge maps and part segmentations, in EG3D's archives.

Cameras are those of EG3D's cars: at 1.7 units from the object's middle, focal length 1.7074 image sides. A car is
scaled so that its box has a diagonal of just below one unit, which such a view holds from every side.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import begun, disk_refusals, write_atomically
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.objects.labelled.cameras import DIAGONAL, camera_label
from datamodules.objects.labelled.files import DATASET_INDEX
from datamodules.objects.labelled_views import LABEL_KINDS, Kind
from datamodules.objects.studio import edge_steps, render_views, require_views, spread_angles, studio_light
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.shapes.meshes import POPULATIONS, CarMesh, car
from datamodules.shapes.paints import Paints, check_paints
from datamodules.shapes.primitives import GLASS, HEADLIGHT, PART_NAMES, RIM, TAILLIGHT, TYRE

RADIUS, FOCAL = 1.7, 1.7074
PART_CLASSES = ("background", "body", "window", "wheel", "headlight", "taillight")
CLASS_OF_PART = np.array([0, *[1] * (len(PART_NAMES) - 1)], np.uint8)
CLASS_OF_PART[[GLASS, TYRE, RIM, HEADLIGHT, TAILLIGHT]] = 2, 3, 3, 4, 5
IMAGES = "images.zip"
DONE = "labelled.json"  # written last
TOGETHER = 256  # objects whose files are in memory at a time
LABELLED_SET = "what a set of labelled views was made with; delete the folder and write it again"


class Settings(msgspec.Struct, frozen=True):
    """``labelled.json``: what a set was made with."""

    source: str
    objects: int
    views: int
    size: int
    labels: list[str]
    schema: int = 1


def world_scale(dims: np.ndarray) -> float:
    """World units a metre for an object of length, height, width (3,) metres."""
    return float(DIAGONAL / np.linalg.norm(dims))


def labelled_views(
    mesh: CarMesh, azimuths: Sequence[float] | np.ndarray, elevations: Sequence[float] | np.ndarray, size: int,
    rng: np.random.Generator, paints: Paints = "studio",
) -> dict[str, np.ndarray]:  # fmt: skip
    """V views of one object.

    Args:
        mesh: the object.
        azimuths, elevations: V angles each, degrees, as in the studio.
        size: pixels of the square views.
        rng: draws the light.
        paints: the object's, which the light has to suit.

    Returns:
        ``images`` (V, S, S, 3) uint8 on white, ``edge`` (V, S, S) uint8 dark lines on white, ``seg`` (V, S, S) uint8
        numbers of :data:`PART_CLASSES`, ``cameras`` (V, 25) float64.
    """
    scale, field_of_view = world_scale(mesh.dims), 2 * np.arctan(0.5 / FOCAL)
    views = render_views(
        mesh, azimuths, elevations, size, studio_light(rng, paints),
        distance=RADIUS / scale, field_of_view=field_of_view,
    )  # fmt: skip
    alpha = views["rgba"][..., 3:].astype(np.float32) / 255
    images = np.rint(views["rgba"][..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    length, seg = float(mesh.dims[0]), CLASS_OF_PART[views["parts"]]
    drawn = [_drawing(*view, length) for view in zip(views["rgba"], views["depth"], views["normals"], seg)]
    cameras = [camera_label(projection, mesh.dims, scale, size) for projection in views["projection"]]
    return {"images": images, "edge": np.stack(drawn), "seg": seg, "cameras": np.stack(cameras)}


def _drawing(rgba: np.ndarray, depth: np.ndarray, normals: np.ndarray, seg: np.ndarray, length: float) -> np.ndarray:
    """(S, S) uint8 dark lines on white where depth jumps, the surface folds or the class changes.

    They lie on both sides of the step, two pixels wide: so that they stay darker than grey behind the readers' blur.
    """
    solid = rgba[..., 3] > 127
    lines = np.zeros(solid.shape, bool)
    shown = np.where(solid, depth.astype(np.float32), 0)
    for here, ahead, step in edge_steps(shown, normals.astype(np.float32) / 127, seg, length):
        lines[here] |= step
        lines[ahead] |= step
    return np.where(lines, 0, 255).astype(np.uint8)


def _object_files(
    index: int,
    views: int,
    size: int,
    seed: int,
    population: str,
    elevation: tuple[float, float],
    labels: tuple[Kind, ...],
    paints: Paints,
) -> tuple[str, list[float], dict[str, list[bytes]], list[list[float]]]:
    """One object's name, dims, PNG files by archive, and camera labels."""
    cv2.setNumThreads(1)
    mesh = car(population, index, seed, paints=paints)
    rng = derive(seed, "labelled", population, index)
    azimuths, elevations = spread_angles(views, elevation, rng)
    arrays = labelled_views(mesh, azimuths, elevations, size, rng, paints)
    files = {"images": [_png(image[..., ::-1]) for image in arrays["images"]]}
    files |= {kind: [_png(values) for values in arrays[kind]] for kind in labels}
    return mesh.id, mesh.dims.tolist(), files, np.round(arrays["cameras"], 9).tolist()


def _png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1])


def write_labelled_views(
    folder: str | Path,
    objects: int = 40,
    views: int = 64,
    size: int = 64,
    labels: Sequence[Kind] = LABEL_KINDS,
    seed: int = 0,
    population: str = "studio",
    elevation: tuple[float, float] = (0.0, 30.0),
    workers: int = 2,
    progress: bool = False,
    wait: bool = False,
    paints: Paints = "studio",
) -> Path:
    """Write ``images.zip`` with ``dataset.json``, and a zip for each kind of label; nothing in them is deflated.

    The same arguments give the same bytes whatever the number of workers. ``labelled.json`` is written last.

    Args:
        folder: folder to create.
        objects: how many cars.
        views: views of each, azimuths spread evenly.
        size: pixels of the square pictures.
        labels: "edge", "seg" or both.
        seed: seed of everything.
        population: "studio", "train" or "val".
        elevation: lowest and highest elevation of the cameras, degrees.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.
        wait: for another process that writes there, rather than refuse.
        paints: "studio" of every hue, or "street" (:func:`datamodules.objects.studio.write_posed_images`).

    Raises:
        InputError: impossible counts, sizes or angles, another process writes there, or the folder holds another set
            or something else.
    """
    require_views(objects, views, size, workers, elevation)
    if population not in POPULATIONS:
        raise InputError(f"population {population!r}: expected one of {', '.join(POPULATIONS)}")
    if not labels or set(labels) - set(LABEL_KINDS):
        raise InputError(f"labels {list(labels)}: expected some of {', '.join(LABEL_KINDS)}")
    check_paints(paints)
    kinds = tuple(kind for kind in LABEL_KINDS if kind in labels)
    source = f"studio seed={seed} population={population} elevation={elevation[0]:g}-{elevation[1]:g}"
    source += "" if paints == "studio" else f" paints={paints}"
    settings = Settings(source, objects, views, size, list(kinds))
    folder = Path(folder)
    if _is_there(folder, settings):
        return folder
    with folder_lock(folder, "a set of labelled views", wait=wait):
        if not _is_there(folder, settings):  # another process may have written it meanwhile
            job = partial(
                _object_files, views=views, size=size, seed=seed, population=population,
                elevation=(elevation[0], elevation[1]), labels=kinds, paints=paints,
            )  # fmt: skip
            with begun(folder / DONE, [IMAGES, *(f"{kind}.zip" for kind in LABEL_KINDS)]):
                _write_archives(folder, settings, job, workers, progress)
                write_atomically(folder / DONE, json.dumps(msgspec.to_builtins(settings), indent=1))
    return folder


def _is_there(folder: Path, settings: Settings) -> bool:
    """Whether a folder holds the set.

    Raises:
        InputError: it holds another one.
    """
    if not (folder / DONE).is_file():
        return False
    if read_json(folder / DONE, Settings, LABELLED_SET) != settings:
        raise InputError(f"{folder}: holds another set of labelled views; delete it or give another folder")
    return True


def _write_archives(
    folder: Path, settings: Settings, job: partial[tuple[str, list[float], dict[str, list[bytes]], list[list[float]]]],
    workers: int, progress: bool,
) -> None:  # fmt: skip
    """Fill the archives under other names, then rename them: each is whole or absent."""
    kinds = [*settings.labels, "images"]  # last what readers look for first
    temporary = {kind: folder / f".{kind}.zip.tmp" for kind in kinds}
    index: dict[str, object] = {}
    cameras: list[tuple[str, list[float]]] = []
    sizes: dict[str, object] = {}
    with disk_refusals(folder):
        archives = {kind: zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) for kind, path in temporary.items()}
        try:
            for start in range(0, settings.objects, TOGETHER):
                some = range(start, min(start + TOGETHER, settings.objects))
                for name, dims, files, poses in run_jobs(job, some, workers, progress, "labelled views"):
                    paths = [f"{name}/{name}_{view:03d}.png" for view in range(settings.views)]
                    for kind in kinds:
                        _store(archives[kind], zip(paths, files[kind]))
                    cameras += zip(paths, poses)
                    sizes[name] = {"dims": dims, "scale": world_scale(np.array(dims))}
            index = {"labels": cameras, "classes": PART_CLASSES, "objects": sizes, "source": settings.source}
            _store(archives["images"], [(DATASET_INDEX, json.dumps(index).encode())])
            for kind, archive in archives.items():
                archive.close()
                with open(temporary[kind], "rb") as file:
                    os.fsync(file.fileno())
                os.replace(temporary[kind], folder / f"{kind}.zip")
        except BaseException:
            for kind, archive in archives.items():
                archive.close()
                temporary[kind].unlink(missing_ok=True)
            raise


def _store(archive: zipfile.ZipFile, files: Iterable[tuple[str, bytes]]) -> None:
    """Add files without compression and of one date, so that the same content gives the same bytes."""
    for name, content in files:
        archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)

"""Posed views of single objects with mask, depth, normals, edges and part labels, for training generators.

The camera orbits a still object under still light, so that a field without view dependence can explain every view. At
azimuth 0 the camera looks at the object's front; at 90 degrees it looks at its left side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import refuse_foreign
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.light import Light
from datamodules.objects.posed_images import POSED_INDEX, POSED_SET, PosedIndex, write_object, write_posed_index
from datamodules.processes import run_jobs
from datamodules.randomness import derive
from datamodules.shapes.meshes import CAD_SUFFIXES, POPULATIONS, CarMesh, car, load_cad
from datamodules.shapes.paints import Paints, check_paints
from datamodules.shapes.raycast import cast_car, pixel_rays

FIELD_OF_VIEW = np.deg2rad(30.0)
EDGE_STEP = 0.10  # share of an object's length by which depth jumps at an edge
DRIVER = np.deg2rad(8.0)  # elevation from which bonnets and roofs of the cars ahead are seen
EDGE_TURN = 0.70  # cosine between neighbouring normals below which there is an edge


def view_projection(
    dims: np.ndarray,
    azimuth: float,
    elevation: float,
    size: int,
    distance: float | None = None,
    field_of_view: float = FIELD_OF_VIEW,
) -> np.ndarray:
    """Projection (3, 4) from the canonical cube to pixels of a square view that looks at the object's middle.

    Args:
        dims: (3,) length, height, width in metres.
        azimuth, elevation: degrees, see the module's text; elevation is above the horizon.
        size: pixels.
        distance: metres to the object's middle; None: the object's diagonal fills the view.
        field_of_view: radians, of the whole view.
    """
    radius = float(np.linalg.norm(dims)) / 2
    if distance is None:
        distance = 1.02 * radius / np.sin(field_of_view / 2)
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    outward = np.array([np.cos(e) * np.cos(a), -np.sin(e), np.cos(e) * np.sin(a)])
    forward = -outward
    # Image x = down × forward, which at azimuth 270 gives +x: the right-hand side shows its front on the right.
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = size / (2 * np.tan(field_of_view / 2))
    intrinsics = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    return intrinsics @ np.column_stack([rotation * (np.asarray(dims) / 2), -rotation @ outward * distance])


def render_views(
    mesh: CarMesh,
    azimuths: Sequence[float] | np.ndarray,
    elevations: Sequence[float] | np.ndarray,
    size: int = 64,
    light: Light | None = None,
    supersample: int = 3,
    distance: float | None = None,
    field_of_view: float = FIELD_OF_VIEW,
) -> dict[str, np.ndarray]:
    """Draw V views of one object.

    Args:
        mesh: the object.
        azimuths, elevations: V angles each, degrees.
        size: pixels of the square views.
        light: illumination with the sun in the object frame; None: soft light with weak reflections.
        supersample: rays a pixel and axis.
        distance, field_of_view: see :func:`view_projection`.

    Returns:
        Arrays of a posed image set: rgba, projection, depth, normals, parts, edges (see
        :class:`datamodules.objects.posed_images.PosedImageSet`).
    """
    if len(azimuths) != len(elevations) or not len(azimuths):
        raise InputError(f"{len(azimuths)} azimuths and {len(elevations)} elevations: expected as many, at least one")
    chosen = light or Light(specular=0.3)
    views = [
        render_view(mesh, view_projection(mesh.dims, a, e, size, distance, field_of_view), size, chosen, supersample)
        for a, e in zip(azimuths, elevations)
    ]
    stacked = {key: np.stack([view[key] for view in views]) for key in views[0]}
    depth, normals = stacked["depth"].astype(np.float16), np.rint(stacked["normals"] * 127).astype(np.int8)
    return stacked | {"depth": depth, "normals": normals}


def render_view(
    mesh: CarMesh, projection: np.ndarray, size: int, light: Light, supersample: int = 3
) -> dict[str, np.ndarray]:
    """Draw one view (S, S) through any camera.

    Args:
        mesh: the object.
        projection: (3, 4) canonical cube to pixels, third row depth in metres.
        size: pixels of the square view, S.
        light: illumination with the sun in the object frame.
        supersample: rays a pixel and axis.

    Returns:
        ``rgba`` uint8 (S, S, 4), straight colour; ``depth`` float64 metres, 0 where empty; ``normals`` float64
        (S, S, 3), unit vectors in the object frame, 0 where empty; ``parts`` and ``edges`` uint8; ``projection``.
    """
    origin, directions = pixel_rays(projection, 0, 0, size, size, supersample)
    seen = cast_car(mesh, origin, directions, light)
    pixel, count = seen.ray // supersample**2, size * size
    covered = np.bincount(pixel, minlength=count)
    weight = np.maximum(covered, 1)
    rgba = np.empty((count, 4))
    normal = np.empty((count, 3))
    for channel in range(3):
        rgba[:, channel] = np.bincount(pixel, seen.colour[:, channel], count) / weight
        normal[:, channel] = np.bincount(pixel, seen.normals[:, channel], count)
    rgba[:, 3] = covered / supersample**2
    solid = rgba[:, 3] > 0.5
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal[~solid] = 0
    depth = np.where(covered > 0, np.bincount(pixel, seen.depth, count) / weight, 0)
    votes = np.bincount(pixel * 16 + seen.part, minlength=count * 16).reshape(count, 16)
    parts = np.where(solid, votes.argmax(1), 0)
    shape = (size, size)
    depth, facing = depth.reshape(shape), normal.reshape(*shape, 3)
    return {
        "rgba": np.rint(rgba * 255).astype(np.uint8).reshape(*shape, 4),
        "projection": projection,
        "depth": depth,
        "normals": facing,
        "parts": parts.astype(np.uint8).reshape(shape),
        "edges": _edges(np.where(solid.reshape(shape), depth, 0), facing, parts.reshape(shape), float(mesh.dims[0])),
    }


def _edges(depth: np.ndarray, normal: np.ndarray, parts: np.ndarray, length: float) -> np.ndarray:
    """(S, S) uint8, 255 where depth jumps, the surface folds or the part changes towards the next pixel."""
    edge = np.zeros(depth.shape, bool)
    for here, _, step in edge_steps(depth, normal, parts, length):
        edge[here] |= step
    return edge.astype(np.uint8) * 255


def edge_steps(
    depth: np.ndarray, normal: np.ndarray, parts: np.ndarray, length: float
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], np.ndarray]]:
    """Along each axis: the pixels that have a next one, those next ones, and where an edge lies between both.

    Args:
        depth: (S, S) metres, 0 in the background.
        normal: (S, S, 3) unit normals, 0 in the background.
        parts: (S, S) part labels.
        length: of the object, metres.
    """
    for axis in (0, 1):
        ahead = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        here = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
        jump = np.abs(depth[ahead] - depth[here]) > EDGE_STEP * length
        fold = ((normal[ahead] * normal[here]).sum(-1) < EDGE_TURN) & (depth[ahead] > 0) & (depth[here] > 0)
        yield here, ahead, jump | fold | (parts[ahead] != parts[here])


def studio_light(rng: np.random.Generator, paints: Paints = "studio") -> Light:
    """Soft, ambient-heavy light with a moderate range, so that what is learnt under it fits into any frame.

    Street paints get a street's reflections, as strong as they are, that do not depend on the view.
    """
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(40, 75))
    sun = np.array([np.cos(elevation) * np.cos(azimuth), -np.sin(elevation), np.cos(elevation) * np.sin(azimuth)])
    light = Light(sun, float(rng.uniform(0.62, 0.85)), float(rng.uniform(0.9, 1.1)), 0.3)
    return light if paints == "studio" else replace(light, specular=1.0, level_eye=DRIVER)


def spread_angles(
    views: int, elevation: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths spread evenly from a random start and elevations spread evenly in another order, degrees."""
    azimuths = (rng.uniform(0, 360) + 360 * np.arange(views) / views) % 360
    share = (rng.permutation(views) + rng.uniform(0, 1, views)) / views
    return azimuths, elevation[0] + (elevation[1] - elevation[0]) * share


def _write_posed(
    index: int,
    folder: str,
    views: int,
    size: int,
    seed: int,
    population: str,
    elevation: tuple[float, float],
    paints: Paints,
) -> tuple[str, list[float]]:
    """Draw and write one object of a population, or one CAD file when ``population`` is a folder."""
    cv2.setNumThreads(1)
    ours = population in POPULATIONS
    mesh = car(population, index, seed, paints=paints) if ours else load_cad(cad_files(population)[index])
    rng = derive(seed, "studio", population if ours else "cad", index)
    azimuths, elevations = spread_angles(views, elevation, rng)
    write_object(folder, mesh.id, render_views(mesh, azimuths, elevations, size, studio_light(rng, paints)))
    return mesh.id, mesh.dims.tolist()


def cad_files(folder: str | Path) -> list[Path]:
    """A folder's CAD files in name order.

    Raises:
        InputError: no such folder, or no CAD file in it.
    """
    folder = Path(folder)
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in CAD_SUFFIXES) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"{folder}: expected {', '.join(POPULATIONS)} or a folder with {', '.join(CAD_SUFFIXES)} files"
        )
    return found


def require_views(objects: int, views: int, size: int, workers: int, elevation: tuple[float, float]) -> None:
    """Check what a set of rendered views is asked to hold.

    Raises:
        InputError: impossible counts, sizes or angles.
    """
    for label, value, low in (("objects", objects, 1), ("views", views, 1), ("size", size, 8), ("workers", workers, 1)):
        if value < low:
            raise InputError(f"{label}={value}: expected at least {low}; give a larger number")
    if not -10 <= elevation[0] <= elevation[1] <= 89:
        raise InputError(f"elevation={tuple(elevation)}: expected lowest and highest within -10 to 89 degrees")


def write_posed_images(
    folder: str | Path,
    objects: int = 40,
    views: int = 50,
    size: int = 64,
    seed: int = 0,
    population: str = "studio",
    elevation: tuple[float, float] = (0.0, 20.0),
    workers: int = 2,
    progress: bool = False,
    wait: bool = False,
    paints: Paints = "studio",
) -> Path:
    """Write a posed image set; the same arguments give the same bytes whatever the number of workers.

    Args:
        folder: folder to create; ``posed.json`` is written last.
        objects: how many cars (at most as many as there are CAD files).
        views: views an object.
        size: pixels of the square views.
        seed: seed of everything.
        population: "studio" (or "train", "val"), or a folder of CAD files.
        elevation: lowest and highest elevation, degrees.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.
        wait: for another process that writes there, rather than refuse.
        paints: "studio" of every hue, or "street" for those of real streets with a street's reflections
            (:mod:`datamodules.shapes.paints`); the bodies are the same.

    Raises:
        InputError: impossible counts or sizes, street paints for CAD files, another process writes there, or the folder
            holds another set or something else.
    """
    require_views(objects, views, size, workers, elevation)
    check_paints(paints)
    if population not in POPULATIONS:
        if paints != "studio":
            raise InputError(f"paints {paints}: CAD files keep their own, expected studio with population {population}")
        objects = min(objects, len(cad_files(population)))
    folder = Path(folder)
    source = f"studio seed={seed} population={Path(population).name} elevation={elevation[0]}-{elevation[1]}"
    source += "" if paints == "studio" else f" paints={paints}"
    wanted = (source, views, size, objects)
    if _is_there(folder, wanted):
        return folder
    with folder_lock(folder, "a posed image set", wait=wait):
        if not _is_there(folder, wanted):  # another process may have written it meanwhile
            refuse_foreign(folder / POSED_INDEX, (f"{population}-*.npz" if population in POPULATIONS else "*.npz",))
            job = partial(
                _write_posed, folder=str(folder), views=views, size=size, seed=seed, population=str(population),
                elevation=(elevation[0], elevation[1]), paints=paints,
            )  # fmt: skip
            written = run_jobs(job, range(objects), workers, progress, f"studio {size}x{size}")
            dims = np.array([w[1] for w in written])
            write_posed_index(folder, "Car", size, views, [w[0] for w in written], dims, source)
    return folder


def _is_there(folder: Path, wanted: tuple[str, int, int, int]) -> bool:
    """Whether a folder holds the set (source, views, size, objects).

    Raises:
        InputError: it holds another one.
    """
    if not (folder / POSED_INDEX).is_file():
        return False
    found = read_json(folder / POSED_INDEX, PosedIndex, POSED_SET)
    if (found.source, found.views, found.image_size, len(found.objects)) != wanted:
        raise InputError(f"{folder}: holds another posed image set; delete it or give another folder")
    return True

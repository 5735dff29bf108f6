"""Cars by population and a user's CAD files, as meshes in the suite's object frame.

Three populations (labelled training scenes, validation scenes, studio) are drawn from one family of shapes with
disjoint random streams, so that a detector which learns the few cars of its training frames has to generalise to the
others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.shapes.cars import build, draw_shape
from datamodules.shapes.obj_materials import pictured_materials
from datamodules.shapes.paints import Paints, check_paints, repainted
from datamodules.shapes.primitives import OTHER, Mesh, soup
from datamodules.shapes.shading import GAMMA

POPULATIONS = ("train", "val", "studio")
CAD_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
GREY = 0.6  # of surfaces without a colour, as a display shows it
INSIDE = (np.array([(i, j, 3 - i - j) for i in range(4) for j in range(4 - i)]) + 1 / 3) / 4  # barycentric, of a face


@dataclass(frozen=True)
class CarMesh:
    """One object to draw.

    Attributes:
        id: unique name, such as "studio-000004".
        name: class name in KITTI's spelling.
        dims: (3,) float64 length, height, width in metres.
        mesh: its surface in the object frame (metres, origin in the middle of the box, filling the box).
        body: body style ("sedan", ...), "cad" for user files.
    """

    id: str
    name: str
    dims: np.ndarray
    mesh: Mesh
    body: str


@lru_cache(maxsize=256)
def car(population: str, index: int, seed: int = 0, body: str | None = None, paints: Paints = "studio") -> CarMesh:
    """The ``index``-th car of a population.

    Args:
        population: "train", "val" or "studio"; their shapes and paints share no draw.
        index: which car, >= 0.
        seed: the world's seed.
        body: force a body style (see :data:`datamodules.shapes.cars.BODIES`, or "van"); drawn when None.
        paints: "studio" for paints of every hue, "street" for those of real streets (:mod:`datamodules.shapes.paints`)
            on the same bodies.

    Raises:
        InputError: unknown population or paints.
    """
    check_paints(paints)
    if population not in POPULATIONS:
        raise InputError(f"population {population!r}: expected one of {', '.join(POPULATIONS)}")
    shape = draw_shape(derive(seed, "car", population, index), body)
    if paints == "street":
        shape = repainted(shape, derive(seed, "street paint", population, index))
    name = "Van" if shape.body == "van" else "Car"
    return CarMesh(f"{population}-{index:06d}", name, np.array(shape.dims), build(shape), shape.body)


def _axis(letter: str) -> np.ndarray:
    unit = np.zeros(3)
    unit["xyz".index(letter[-1])] = -1.0 if letter.startswith("-") else 1.0
    return unit


def load_cad(
    path: str | Path,
    dims: Sequence[float] | None = None,
    forward: str = "x",
    up: str = "z",
    name: str = "Car",
) -> CarMesh:
    """Read a user's model and turn it into the object frame.

    Args:
        path: .glb, .gltf, .obj, .ply, .stl or .off.
        dims: length, height, width in metres to scale to; None keeps the file's own size (taken as metres).
        forward: the file's axis towards the front, one of x, -x, y, -y, z, -z.
        up: the file's axis towards the roof.
        name: class name.

    Raises:
        InputError: missing or unreadable file, no surface in it, or axes that do not span a frame.
    """
    import trimesh  # here, because the world needs no trimesh and its workers start faster without

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such CAD file; give a {', '.join(CAD_SUFFIXES)} file")
    if path.suffix.lower() not in CAD_SUFFIXES:
        raise InputError(
            f"{path}: {path.suffix or 'no suffix'} is not a known CAD format; give one of {', '.join(CAD_SUFFIXES)}"
        )
    for value in (forward, up):
        if value.lstrip("-") not in ("x", "y", "z"):
            raise InputError(f"axis {value!r}: expected x, y or z with an optional minus sign")
    try:
        loaded = trimesh.load_scene(path)
        surfaces = [g for g in loaded.dump() if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    except Exception as error:  # trimesh raises whatever its many readers raise
        raise InputError(f"{path}: cannot be read as a mesh ({type(error).__name__}); export it again") from error
    if not surfaces:
        raise InputError(f"{path}: holds no triangles; export the surface, not only points or curves")
    ahead, above = _axis(forward), _axis(up)
    if abs(float(ahead @ above)) > 0.5:
        raise InputError(f"forward axis {forward!r} and up axis {up!r} are parallel; they must differ")
    rotation = np.stack([ahead, -above, np.cross(ahead, -above)])  # rows: our x, y (down), z in the file's axes
    pictured = pictured_materials(path)
    mesh = Mesh.concatenate([_surface(s, pictured) for s in surfaces]).transformed(rotation, np.zeros(3))
    low, high = mesh.bounds
    size = np.asarray(dims, float) if dims is not None else (high - low)[[0, 1, 2]].astype(float)
    if size.shape != (3,) or not np.all(size > 1e-6):
        raise InputError(
            f"{path}: dims {size.tolist()}: expected three positive lengths (length, height, width) in metres"
        )
    return CarMesh(path.stem, name, size, mesh.fitted(size), "cad")


def _surface(surface: Any, pictured: Collection[str]) -> Mesh:
    """A trimesh surface as a soup, with its own smooth normals and a colour a face.

    Args:
        surface: of trimesh.
        pictured: materials whose colour a picture says, and nothing else.
    """
    corners, normals = np.asarray(surface.vertices)[surface.faces], np.asarray(surface.vertex_normals)[surface.faces]
    try:
        colour = _face_colours(surface, pictured)
    except Exception:  # what trimesh cannot make sense of is grey
        colour = np.full((len(corners), 3), GREY**GAMMA)
    return soup(corners, normals, colour, 0.3, OTHER)


def _face_colours(surface: Any, pictured: Collection[str]) -> np.ndarray:
    """(F, 3) linear albedo of the faces: their own, their material's, or the mean of what a picture shows on each."""
    visual, faces = surface.visual, np.asarray(surface.faces)
    material = getattr(visual, "material", None)
    if material is None:
        return (np.asarray(visual.face_colors, float).reshape(len(faces), -1)[:, :3] / 255) ** GAMMA
    picture = getattr(material, "baseColorTexture", getattr(material, "image", None))
    factor = getattr(material, "baseColorFactor", None)  # glTF's, linear, of the picture too
    plain = np.ones(3) if factor is None else np.asarray(factor, float)[:3] / 255
    if picture is not None and visual.uv is not None:
        return _pictured_colours(np.asarray(visual.uv, float)[faces], picture) * plain
    if factor is None:
        stated = "kd" in (getattr(material, "kwargs", None) or {}) and material.name not in pictured
        plain = (np.asarray(material.diffuse, float)[:3] / 255 if stated else np.full(3, GREY)) ** GAMMA
    return np.tile(plain, (len(faces), 1))


def _pictured_colours(places: np.ndarray, picture: Any) -> np.ndarray:
    """(F, 3) mean linear colour of a picture within triangles (F, 3, 2) of it, at ten points of each."""
    from trimesh.visual.color import uv_to_color

    shown, found = picture.convert("RGBA"), np.zeros((len(places), 3))
    for weights in INSIDE:
        found += (uv_to_color(weights @ places, shown)[:, :3] / 255.0) ** GAMMA
    return found / len(INSIDE)

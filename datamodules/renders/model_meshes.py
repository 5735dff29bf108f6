"""CAD models and the studio's own objects as meshes in the suite's object frame, upright, aligned and in metres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from datamodules.errors import InputError, closest
from datamodules.geometry import rotation_y
from datamodules.object_classes import object_class
from datamodules.randomness import derive
from datamodules.renders.cad_models import CadModel, Layout
from datamodules.renders.synsets import KITTI_NAMES, SIZED
from datamodules.shapes import street, vehicles
from datamodules.shapes.cars import BODIES
from datamodules.shapes.meshes import CarMesh, car, load_cad
from datamodules.shapes.obj_materials import missing_textures
from datamodules.shapes.primitives import Mesh

AXES: dict[Layout, tuple[str, str]] = {  # a collection's axis towards the front, and the one towards the roof
    "shapenet": ("-z", "y"),
    "objaverse": ("z", "y"),
    "omniobject3d": ("z", "y"),
    "files": ("x", "z"),
}
PLAUSIBLE = (0.05, 100.0)  # metres of an object's longest side
READABLE = (1e-3, 1e6)  # of its longest side in the file's own unit

Drawn = Callable[[np.random.Generator], CarMesh]
STUDIO: dict[str, Drawn] = {
    "pedestrian": street.pedestrian,
    "bicycle": street.bicycle,
    "cyclist": street.cyclist,
    "truck": vehicles.truck,
    "bus": vehicles.bus,
    "motorcycle": lambda rng: vehicles.motorcycle(rng, rider=False),
}
STUDIO_CLASSES = ("car", "van", *STUDIO)


def studio_models(classes: Sequence[str], count: int) -> list[CadModel]:
    """The studio's own objects as models, ``count`` a class.

    Args:
        classes: of :data:`STUDIO_CLASSES`.
        count: models of each.

    Raises:
        InputError: an unknown class, or one twice.
    """
    for name in classes:
        if name not in STUDIO_CLASSES:
            near = closest(name, STUDIO_CLASSES)
            raise InputError(f"studio class {name!r}: expected some of {', '.join(STUDIO_CLASSES)}{near}")
    if len(set(classes)) < len(classes):
        raise InputError(f"studio classes {' '.join(classes)}: expected each once")
    return [CadModel(name, f"{index:06d}", name, None) for name in classes for index in range(count)]


def class_label(name: str) -> str:
    """A class in words as the suite's data sets spell it ("car" is KITTI's "Car"); itself where none has it."""
    return KITTI_NAMES.get(name) or SIZED.get(name) or name.replace(" ", "_")


def studio_mesh(model: CadModel, seed: int) -> CarMesh:
    """One object of the studio; cars and vans are the population "studio", which no scene of a world shows."""
    index = int(model.model)
    if model.name in ("car", "van"):
        body = "van" if model.name == "van" else str(derive(seed, "renders", index, "body").choice(BODIES))
        return car("studio", index, seed, body)
    return STUDIO[model.name](derive(seed, "renders", model.name, index))


def load_model(
    model: CadModel,
    layout: Layout = "files",
    size: Literal["class", "file"] | float = "class",
    textures: Literal["require", "grey"] = "require",
    forward: str | None = None,
    up: str | None = None,
    seed: int = 0,
) -> CarMesh:
    """Read one model in the suite's object frame: x forward, y down, z to its left, metres.

    The CSV list's azimuth offset turns it about the vertical, so that theta counts from its true front; its box is the
    bounds of the turned mesh. Proportions are never changed.

    Args:
        model: what to read.
        layout: of its collection, which says how its files stand.
        size: "class": the longest side is that of the class's mean size; "file": the file is in metres; or the longest
            side in metres.
        textures: whether pictures that an .obj names must be there, or its surface is grey where they are not.
        forward, up: the file's axes, in place of the collection's.
        seed: of the studio's objects.

    Raises:
        InputError: unreadable, without faces, of a scale that cannot be, or without its textures.
    """
    if model.path is None:
        return replace(studio_mesh(model, seed), id=f"{model.synset}-{model.model}", name=class_label(model.name))
    lost = missing_textures(model.path)
    if lost and textures == "require":
        raise InputError(
            f"{model.path}: its texture {lost[0]} is not there{' (nor others)' * (len(lost) > 1)}; restore it, or take "
            "grey surfaces with --textures grey"
        )
    ahead, above = AXES[layout]
    loaded = load_cad(model.path, None, forward or ahead, up or above, class_label(model.name))
    mesh = loaded.mesh.transformed(rotation_y(np.deg2rad(model.alignment.azimuth)), np.zeros(3))
    low, high = mesh.bounds
    own = (high - low).astype(float)
    if not READABLE[0] <= own.max() <= READABLE[1]:
        raise InputError(
            f"{model.path}: its longest side is {own.max():.3g}, expected {READABLE[0]:g} to {READABLE[1]:g}"
        )
    if size == "file":
        longest = float(own.max())
        if not PLAUSIBLE[0] <= longest <= PLAUSIBLE[1]:
            raise InputError(
                f"{model.path}: its longest side would be {longest:.3g} m, expected {PLAUSIBLE[0]:g} to "
                f"{PLAUSIBLE[1]:g}: the file is not in metres; give --size class, or metres"
            )
    else:
        longest = max(object_class(loaded.name).dims) if size == "class" else float(size)
    dims = own * (longest / own.max())
    return CarMesh(f"{model.synset}-{model.model}", loaded.name, dims, mesh.fitted(dims), "cad")


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge of a soup joins exactly two triangles, corners within a millionth of its size being one."""
    low, high = mesh.bounds
    step = float((high - low).max()) * 1e-6
    cells = np.rint((mesh.triangles.reshape(-1, 3) - low) / step).astype(np.int64)
    _, corner = np.unique(cells, axis=0, return_inverse=True)
    faces = corner.reshape(-1, 3)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, shared = np.unique(edges, axis=0, return_counts=True)
    return bool((shared == 2).all())

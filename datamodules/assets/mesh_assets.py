"""Meshes as assets, drawn live.

The studio's cars in the frame's own light are what a perfect generator would give; CAD cars in one fixed style are
Lift3D's ShapeNet baseline; and a folder of a user's CAD files serves as either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.assets.contract import Asset, AssetSource, Layer, Wanted
from datamodules.assets.cube_render import RenderWindow, render_cube, sketch_cube
from datamodules.assets.visibility import EVERYWHERE
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, rotation_y
from datamodules.scene import Frame
from datamodules.shapes.meshes import CAD_SUFFIXES, CarMesh, car, load_cad
from datamodules.shapes.paints import Paints, check_paints
from datamodules.shapes.primitives import PAINT
from datamodules.shapes.raycast import render_car

FIXED_PAINT = (0.32, 0.33, 0.35)  # linear albedo: the plain grey of an unpainted model
FIXED_SUN = np.array([0.35, -0.85, -0.39])  # towards the sun in the object's frame, whatever its yaw
FIXED_AMBIENT = 0.75
LARGE = 32  # pixels of a window's shorter side from which on not every pixel of a smooth picture is looked at


@dataclass(frozen=True)
class MeshAsset:
    """One mesh.

    Attributes:
        mesh: the surface with its id, class and dims.
        light: "frame" takes the sun, sky and exposure that the frame knows, "fixed" the studio's.
        supersample: rays a pixel and axis.
    """

    mesh: CarMesh
    light: Literal["frame", "fixed"] = "frame"
    supersample: int = 2
    pose = None
    visibility = EVERYWHERE

    @property
    def id(self) -> str:
        return self.mesh.id

    @property
    def name(self) -> str:
        return self.mesh.name

    @property
    def dims(self) -> np.ndarray:
        return self.mesh.dims

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.contract.Asset.render`)."""
        return render_cube(camera, box, self._renderer(box, frame, self.supersample))

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        """See roughly (:meth:`datamodules.assets.contract.Sketched.sketch`)."""
        return sketch_cube(camera, box, self._renderer(box, frame, 1))

    def _renderer(self, box: Boxes3D, frame: Frame | None, supersample: int) -> RenderWindow:
        """Renders windows in the light that falls on a box, with ``supersample`` rays a pixel and axis."""
        sun, ambient, exposure = self._light(box, frame)

        def window(
            projection: np.ndarray, left: int, top: int, width: int, height: int
        ) -> tuple[np.ndarray, np.ndarray]:
            spacing = 2 if min(width, height) >= LARGE else 1
            return render_car(
                self.mesh, projection, left, top, width, height, sun, ambient, exposure, supersample, spacing
            )

        return window

    def _light(self, box: Boxes3D, frame: Frame | None) -> tuple[np.ndarray, float, float]:
        """Sun in the object's frame, share of sky light, exposure."""
        light = None if frame is None or self.light == "fixed" else frame.light
        if light is None:
            return FIXED_SUN, FIXED_AMBIENT, 1.0
        return rotation_y(box.yaw)[0].T @ light.sun, light.ambient, light.exposure


class MeshSource(AssetSource):
    """Draws meshes of one population or folder uniformly."""

    def __init__(
        self,
        population: str = "studio",
        folder: str | None = None,
        style: Literal["own", "fixed"] = "own",
        light: Literal["frame", "fixed"] = "frame",
        models: int | None = None,
        seed: int = 0,
        forward: str = "x",
        up: str = "z",
        name: str = "Car",
        supersample: int = 2,
        paints: Paints = "studio",
    ) -> None:
        """Choose the models and how they look.

        Args:
            population: population of parametric cars to draw from, when no folder is given.
            folder: a user's CAD files instead; their own size in metres is kept.
            style: "own" keeps each model's paint, "fixed" gives all of them one grey.
            light: "frame" lights them as the frame is lit, where it says so; "fixed" always alike.
            models: how many models; by default 20 in the fixed style (Lift3D's ShapeNet baseline), else 200, or all
                files.
            seed: seed of the population.
            forward: axis of the CAD files towards the front.
            up: axis of the CAD files towards the roof.
            name: class name of the CAD files.
            supersample: rays a pixel and axis.
            paints: of the population's cars in the style "own": "studio" of every hue, "street" those of real streets.

        Raises:
            InputError: no CAD file in the folder, fewer models than one, or unknown paints.
        """
        check_paints(paints)
        self.paints = paints
        self.population, self.style, self.light, self.seed = population, style, light, seed
        self.forward, self.up, self.name, self.supersample = forward, up, name, supersample
        self.files = _cad_files(Path(folder)) if folder is not None else []
        default = len(self.files) or (20 if style == "fixed" else 200)
        self.models = default if models is None else models
        if self.models < 1:
            raise InputError(f"models: {self.models}, expected at least 1; correct source.models")
        if self.files:
            self.models = min(self.models, len(self.files))

    def __len__(self) -> int:
        return self.models

    def __getitem__(self, index: int) -> MeshAsset:
        """The ``index``-th model; meshes are built on first use and kept while they are in use."""
        if self.files:
            mesh = _user_car(self.files[index], self.forward, self.up, self.name, self.style)
        else:
            mesh = _population_car(self.population, index, self.seed, self.style, self.paints)
        return MeshAsset(mesh, self.light, self.supersample)

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.name if self.files else "Car",)

    @property
    def pool(self) -> int:
        """Its models (see ``AssetSource.pool``)."""
        return self.models

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw one model uniformly (:meth:`datamodules.assets.contract.AssetSource.sample`)."""
        return self[int(rng.integers(self.models))]


def _cad_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, expected CAD files ({', '.join(CAD_SUFFIXES)}); correct source.folder"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in CAD_SUFFIXES)
    if not files:
        raise InputError(
            f"{folder}: holds no CAD file, expected {', '.join(CAD_SUFFIXES)}; add one or correct source.folder"
        )
    return files


def _styled(mesh: CarMesh, style: str) -> CarMesh:
    """The mesh in its own paint, or in the one grey."""
    if style == "own":
        return mesh
    surface = mesh.mesh
    painted = np.ones(len(surface), dtype=bool) if mesh.body == "cad" else surface.part == PAINT
    colour = np.where(painted[:, None], np.array(FIXED_PAINT, dtype=np.float32), surface.colour)
    return replace(mesh, mesh=replace(surface, colour=colour.astype(np.float32)))


@lru_cache(maxsize=256)
def _population_car(population: str, index: int, seed: int, style: str, paints: Paints) -> CarMesh:
    return _styled(car(population, index, seed, paints=paints), style)


@lru_cache(maxsize=256)
def _user_car(path: Path, forward: str, up: str, name: str, style: str) -> CarMesh:
    return _styled(load_cad(path, None, forward, up, name), style)

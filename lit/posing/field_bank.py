"""Banks of generators whose objects are fields in a known world: extent, metric box, baked grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError, closest
from datamodules.object_classes import CLASSES, object_class
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.labelled_views import LabelledViews
from datamodules.randomness import derive
from lit.networks.fields.field_values import Field, FieldValues
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.rendering.bake import bake, voxel_centers

AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
SOLID = 0.5  # opacity along an axis from which a place counts as the object's: the mask's rule


def object_axes(forward: str, up: str) -> np.ndarray:
    """Rotation (3, 3) from object axes (x forward, y down, z to the left) to a world's.

    Args:
        forward: the world's axis that objects look along, such as "+x".
        up: the world's axis that points up.

    Raises:
        InputError: no axes, or twice the same.
    """
    for name, axis in (("forward", forward), ("up", up)):
        if axis not in AXES:
            raise InputError(f"{name} {axis}: expected one of {', '.join(AXES)}")
    if forward[1] == up[1]:
        raise InputError(f"forward {forward} and up {up}: expected two different axes")
    ahead, upward = (np.eye(3)["xyz".index(axis[1])] * (1 if axis[0] == "+" else -1) for axis in (forward, up))
    return np.stack([ahead, -upward, np.cross(ahead, -upward)], 1)


@dataclass(frozen=True)
class FieldBox:
    """An object's box in the world of its field.

    Attributes:
        axes: (3, 3) object axes to world axes.
        middle: (3,) of the box, in object axes and the world's unit.
        half: (3,) half length, height and width.
    """

    axes: np.ndarray
    middle: np.ndarray
    half: np.ndarray

    def canonical(self, field: Field, reach: float = math.inf) -> Field:
        """The field in the canonical cube that the box becomes; density per unit of its geometric mean half edge.

        A grid's opacity is the same along all of its axes, whatever the box's shape.

        Args:
            field: in the world.
            reach: distance from the world's origin at which the field ends.
        """
        unit = float(np.prod(self.half) ** (1 / 3))

        def asked(points: Tensor) -> FieldValues:
            axes, middle, half = (torch.as_tensor(part).to(points) for part in (self.axes, self.middle, self.half))
            places = (points * half + middle) @ axes.T
            values = field(places)
            return values._replace(density=values.density * unit * (places.norm(dim=-1) <= reach))

        return asked

    def projection(self, camera: np.ndarray, size: int) -> np.ndarray:
        """Projection (3, 4) from the canonical cube to pixels of a camera (25,), third row depth in world units."""
        pose, intrinsics = camera[:16].reshape(4, 4).astype(float), camera[16:].reshape(3, 3).astype(float)
        to_camera = np.linalg.inv(pose)[:3]
        pixels = np.array([[size, 0, -0.5], [0, size, -0.5], [0, 0, 1.0]]) @ intrinsics
        to_world = np.eye(4)
        to_world[:3] = np.column_stack([self.axes * self.half, self.axes @ self.middle])
        return np.asarray(pixels @ to_camera @ to_world)


@torch.no_grad()
def occupied(field: DecodedPlanes, cells: int = 96, reach: float = math.inf) -> np.ndarray | None:
    """Lowest and highest world coordinates (2, 3) of the object in a field's cube, or None where there is none.

    The object is what stops half of the light along one of the three axes; of its silhouettes there, the largest
    connected part. Both silhouettes that an axis lies in have their say. What lies farther than ``reach`` from the
    origin is not looked at.
    """
    planes = field.planes if isinstance(field.planes, Tensor) else field.planes[0]
    places = voxel_centers(cells, planes.device) * (field.box / 2)
    features = field.grid_features([places] * 3)
    density = torch.cat([field.decode(part.flatten(1)[None]).density[0] for part in features.split(16, 1)])
    thickness = density.view(cells, cells, cells) * (field.box / cells)
    away = sum(axis**2 for axis in torch.meshgrid(places, places, places, indexing="ij"))
    thickness = thickness * (away <= reach**2)
    low, high = np.full(3, cells), np.zeros(3, int)
    for axis in range(3):
        parts, count = ndimage.label((-torch.expm1(-thickness.sum(axis)) > SOLID).cpu().numpy())
        if not count:
            continue
        largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
        for other, places_of in zip([a for a in range(3) if a != axis], np.nonzero(largest)):
            low[other], high[other] = min(low[other], places_of.min()), max(high[other], places_of.max() + 1)
    return None if (high <= low).any() else np.stack([low, high]) * (field.box / cells) - field.box / 2


@torch.no_grad()
def solidified(field: Field, opaque: float, cells: int = 32, device: torch.device | None = None) -> Field:
    """A field of one object in its canonical cube, as opaque as asked for, that looks the same before white.

    Where rays end on white, a training cannot tell a light car from a dark one that white shines through; before a
    street only the former is one. So density is multiplied until the median ray along the axes, of those that lose half
    of their light, loses so much; and colours are mixed with what white shone through there.

    Args:
        field: in the canonical cube.
        opaque: opacity of the median ray, below 1.
        cells: places an axis that it is measured at.
        device: where the field lives.

    Returns:
        The field itself where it is opaque already, or has no such ray.
    """
    places = voxel_centers(cells, device)
    points = torch.stack(torch.meshgrid(places, places, places, indexing="ij"), -1).view(1, -1, 3)
    thickness = field(points).density[0].view(cells, cells, cells) * (2 / cells)
    rays = torch.cat([thickness.sum(axis).flatten() for axis in range(3)])
    rays = rays[-torch.expm1(-rays) > SOLID]
    wanted = -math.log1p(-opaque)
    if not len(rays) or (found := float(rays.median())) >= wanted:
        return field
    through = (math.exp(-found) - (1 - opaque)) / opaque  # so that a ray of this thickness keeps its colour on white

    def asked(points: Tensor) -> FieldValues:
        values = field(points)
        rgb = values.rgb * (1 - through) + through
        return values._replace(density=values.density * (wanted / found), rgb=rgb)

    return asked


def metric_dims(extent: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Metres (3,) of an object of some extent (3,) whose unit nobody knows: its proportions, the class's volume.

    It is the multiple of the extent that is nearest to the class's mean length, height and width in their logarithms.
    """
    return np.asarray(extent * np.exp(np.mean(np.log(mean) - np.log(extent))))


class FieldBank:
    """Turns label maps into voxel assets by a conditional generator of fields.

    Args:
        name: class name.
        dims: length, height and width that give objects their size, metres; None for the class's mean. An object keeps
            its own proportions, see :func:`metric_dims`.
        forward: the world's axis that objects look along; +x in the studio's sets.
        up: the one that points up.
        own_dims: give objects the dims that their data state (``dataset.json`` of the studio), where they do: the field
            is stretched to them.
        looks: assets a label map, each with another latent.
        shape: voxels along length, height and width.
        cells: places an axis that the extent is measured at.
        reach: distance from the world's origin up to which all cameras see the field, in its unit: beyond, no training
            has said what is there. The studio's cars end at 0.49, its cameras' pictures at 0.48.
        truncation: of the latents.
        background: class that is no part of objects: density of its points is left out; None keeps it, edges have none.
        white: where rays end on white (see the march), density fades out between these values of a point's darkest
            channel: a training cannot tell white fog from the white behind it, only a bank shows it. None keeps it.
        opaque: there, opacity that objects are brought to (:func:`solidified`); None keeps the field's.
        seed: of the latents.

    Raises:
        InputError: impossible settings.
    """

    def __init__(
        self,
        name: str = "Car",
        dims: tuple[float, float, float] | None = None,
        forward: str = "+x",
        up: str = "+y",
        own_dims: bool = False,
        looks: int = 1,
        shape: tuple[int, int, int] = (128, 52, 56),
        cells: int = 96,
        reach: float = 0.52,
        truncation: float = 1.0,
        background: int | None = 0,
        white: tuple[float, float] | None = (0.95, 0.99),
        opaque: float | None = 0.95,
        seed: int = 0,
    ) -> None:
        for label, value, low in (("looks", looks, 1), ("cells", cells, 8), *(("shape", side, 2) for side in shape)):
            if value < low:
                raise InputError(f"bank {label} {value}: expected at least {low}; correct model.bank.{label}")
        if name not in CLASSES and dims is None:
            raise InputError(
                f"bank name {name}: no class of the data sets{closest(name, CLASSES)}; correct model.bank.name, or "
                "state model.bank.dims"
            )
        if seed < 0:
            raise InputError(f"bank seed {seed}: expected 0 or more; correct model.bank.seed")
        self.name, self.mean = name, np.array(dims or object_class(name).dims, np.float64)
        if self.mean.shape != (3,) or not (self.mean > 0).all():
            raise InputError(f"bank dims {dims}: expected length, height and width in metres; correct model.bank.dims")
        self.axes = object_axes(forward, up)
        self.own_dims, self.looks, self.shape, self.cells = own_dims, looks, (shape[0], shape[1], shape[2]), cells
        self.reach, self.truncation, self.seed = reach, truncation, seed
        self.background, self.white, self.opaque = background, white, opaque
        if opaque is not None and not 0.5 <= opaque < 1:
            raise InputError(f"bank opaque {opaque}: expected 0.5 to below 1, or null; correct model.bank.opaque")
        if white is not None and not white[0] < white[1]:
            raise InputError(f"bank white {white}: expected a lower and a higher value; correct model.bank.white")

    def solid(self, network: Pix2Pix3DGenerator, latent: Tensor) -> DecodedPlanes:
        """The field of w+ (1, rows, w_dim) without what is no part of the object: see ``background`` and ``white``."""
        field = network.field(network.planes(latent, "const"))
        background = None if network.kind == "edges" else self.background
        fade = self.white if network.march.config.get("white") else None

        def decode(features: Tensor) -> FieldValues:
            values = field.decode(features)
            density = values.density
            if background is not None and values.parts is not None:
                density = density * (values.parts.argmax(1) != background)
            if fade is not None:
                density = density * ((fade[1] - values.rgb.amin(1)) / (fade[1] - fade[0])).clamp(0, 1)
            return values._replace(density=density)

        return replace(field, decode=decode)

    def box(self, field: DecodedPlanes) -> FieldBox | None:
        """The object's box; None where there is no object, or it reaches the end of what cameras see."""
        ends = occupied(field, self.cells, self.reach)
        if ends is None or np.abs(ends).max() > min(field.box / 2, self.reach) - field.box / self.cells / 2:
            return None
        low, high = np.sort(ends @ self.axes, axis=0)  # world to object axes, by the rotation's transpose
        return FieldBox(self.axes, (low + high) / 2, (high - low) / 2)

    @torch.no_grad()
    def asset(
        self, network: Pix2Pix3DGenerator, latent: Tensor, id: str, dims: np.ndarray | None = None
    ) -> VoxelAsset | None:
        """Bake the object of w+ (1, rows, w_dim).

        Args:
            network: in evaluation mode.
            latent: of one object.
            id: of the asset.
            dims: (3,) metres where they are known; None takes the class's size and the object's proportions.

        Returns:
            The asset, or None where the field shows no whole object.
        """
        field = self.solid(network, latent)
        box = self.box(field)
        if box is None:
            return None
        canonical = box.canonical(field, self.reach)
        if self.opaque is not None and network.march.config.get("white"):
            canonical = solidified(canonical, self.opaque, device=latent.device)
        grid = bake(canonical, self.shape, device=latent.device)
        return VoxelAsset(id, self.name, metric_dims(2 * box.half, self.mean) if dims is None else dims, grid)

    @torch.no_grad()
    def assets(
        self,
        network: Pix2Pix3DGenerator,
        batch: LabelledViews,
        dims: Sequence[np.ndarray | None] | None = None,
    ) -> list[VoxelAsset]:
        """The assets of a batch of label maps; maps of which the generator makes no whole object are left out.

        Args:
            network: in evaluation mode.
            batch: its pictures are not looked at.
            dims: metres of each map's object where they are known; used with ``own_dims``.
        """
        found = []
        for row, key in enumerate(batch.keys):
            known = dims[row] if dims is not None and self.own_dims else None
            for look in range(self.looks):
                drawn = derive(self.seed, "bank", key, look).standard_normal((1, network.z_dim))
                z = torch.from_numpy(drawn).float().to(batch.cameras.device)
                where = (batch.cameras[row : row + 1], batch.labels[row : row + 1])
                latent = network.latents(z, *where, self.truncation)
                suffix = f"-{look}" if self.looks > 1 else ""
                if (asset := self.asset(network, latent, f"{key.replace('/', '-')}{suffix}", known)) is not None:
                    found.append(asset)
        return found


def stated_dims(data: Any, keys: Sequence[str]) -> list[np.ndarray | None]:
    """Metres (3,) that a data module of labelled pairs states for the objects of some keys, None where it does not."""
    pairs = getattr(data, "pairs", None)
    if not isinstance(pairs, LabelledPairs):
        return [None] * len(keys)
    names = dict(zip(pairs.keys, pairs.objects))
    known = (pairs.index.objects.get(names.get(key, "")) for key in keys)
    return [None if found is None else np.array(found.dims) for found in known]

"""Meshes of fields: the surface of a density, each vertex with the field's colour or the colour of its class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import trimesh
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from lit.networks.fields.planes import DecodedPlanes
from lit.rendering.marching_cubes import marching_cubes

MESH_SUFFIXES = (".ply", ".glb")
SURFACE = 25.0  # density of a surface
CHUNK = 1 << 17  # points that are decoded at once


class FieldMesh(NamedTuple):
    """A surface in the field's frame.

    Attributes:
        vertices: (V, 3) float64.
        faces: (T, 3) int64, counter-clockwise from outside.
        rgb: (V, 3) uint8.
        labels: (V, C) float32 logits of classes, or (V, 1) edges as decoded; (V, 0) of a field without.
    """

    vertices: np.ndarray
    faces: np.ndarray
    rgb: np.ndarray
    labels: np.ndarray


@torch.no_grad()
def field_mesh(field: DecodedPlanes, cells: int = 128, level: float | None = None) -> FieldMesh:
    """The surface of one object's field.

    Args:
        field: of one object, its density not raw.
        cells: of the lattice along each axis of the field's cube.
        level: density of the surface, per unit of the field's frame; the released script takes 49 (50 raw). None takes
            :data:`SURFACE`, or half of the highest density where that is less.

    Raises:
        InputError: no cells, or the density passes the level nowhere.
    """
    if cells < 2:
        raise InputError(f"lattice of {cells} cells: expected at least 2")
    planes = field.planes if isinstance(field.planes, Tensor) else field.planes[0]
    places = torch.linspace(-1.0, 1.0, cells + 1, device=planes.device) * (field.box / 2)
    rows = max(1, CHUNK // (cells + 1) ** 2)
    density = torch.cat(
        [  # a few slices at a time: the features of a whole lattice take gigabytes
            field.decode(field.grid_features([part, places, places]).flatten(1)[None]).density[0].cpu()
            for part in places.split(rows)
        ]
    ).view((cells + 1,) * 3)
    if level is None:
        level = min(SURFACE, float(density.max()) / 2)
    vertices, faces = marching_cubes(density.numpy(), level)
    if not len(faces):
        raise InputError(
            f"mesh at density {level:g}: the field reaches from {float(density.min()):.3g} to"
            f" {float(density.max()):.3g}; choose a level between them"
        )
    vertices = vertices * (field.box / cells) - field.box / 2
    rgb, labels = [], []
    for part in torch.from_numpy(vertices).float().to(planes.device).split(CHUNK):
        values = field(part[None])
        rgb.append((values.rgb[0].t() * 255).round().clamp(0, 255).byte().cpu().numpy())
        parts = values.parts[0].t() if values.parts is not None else part[:, :0]
        labels.append(parts.float().cpu().numpy())
    return FieldMesh(vertices, faces, np.concatenate(rgb), np.concatenate(labels))


def write_mesh(path: str | Path, mesh: FieldMesh, colours: np.ndarray | None = None) -> None:
    """Write a mesh with colours of its vertices as PLY or GLB, whole or not at all.

    Args:
        path: .ply or .glb.
        mesh: the surface.
        colours: (V, 3) uint8; None for the field's own.

    Raises:
        InputError: another format, or the disk refuses.
    """
    path = Path(path)
    if path.suffix not in MESH_SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(MESH_SUFFIXES)}")
    rgb = mesh.rgb if colours is None else colours
    opaque = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], 1)
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=opaque, process=False)
    content = made.export(file_type=path.suffix[1:])
    write_atomically(path, content if isinstance(content, bytes) else str(content).encode())

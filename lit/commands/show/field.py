"""``python -m lit show field WHAT``: pictures, films and meshes of a pix2pix3D checkpoint's objects.

sheet: a row a label map: the map, its image, the map rendered there, and views around.
grid: between two maps, geometry downwards and appearance to the right.
bank: a row a label map of the network's views around, above those of the asset that `predict` bakes by its defaults.
film: an object turning (or swinging as in the released films), its image beside its labels.
mesh: the surface by marching cubes, coloured by class or by colour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.processes import track
from lit.arguments import Arguments, positive
from lit.commands.show.interpolation import FILM_SUFFIXES as FILMS
from lit.commands.show.interpolation import write_film
from lit.commands.start_maps import Start, add_start_options, read_start
from lit.networks.image_range import to_pixels
from lit.networks.pix2pix3d.generator import LabelledPictures
from lit.pictures.label_maps import class_colours, label_picture
from lit.pictures.pictures import png, stacked
from lit.posing.field_bank import FieldBank
from lit.rendering.field_mesh import MESH_SUFFIXES as MESHES
from lit.rendering.field_mesh import FieldMesh, field_mesh, write_mesh

SUFFIXES = {"sheet": (".png",), "grid": (".png",), "bank": (".png",), "film": FILMS, "mesh": MESHES}
TOGETHER = 4  # views that are rendered at once


def main(argv: list[str]) -> int:
    """``python -m lit show field sheet|grid|bank|film|mesh --checkpoint FILE --data FOLDER --out FILE``."""
    parser = Arguments("show field", __doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=sorted(SUFFIXES), help="what to show")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="sheet, grid, bank: .png; film: .mp4, .webp, .gif; mesh: .ply, .glb",
    )
    add_start_options(parser, count=4)
    parser.add_argument("--views", type=positive, default=6, help="views around, of a sheet or bank (default 6)")
    parser.add_argument("--steps", type=positive, default=5, help="pictures along each side of a grid (default 5)")
    parser.add_argument("--frames", type=positive, default=120, help="pictures of a film (default 120)")
    parser.add_argument("--fps", type=positive, default=24, help="pictures a second (default 24)")
    parser.add_argument("--way", choices=["turn", "swing"], default="turn", help="of a film's camera (default turn)")
    parser.add_argument("--colour", choices=["class", "rgb"], default="class", help="of a mesh (default class)")
    parser.add_argument("--cells", type=positive, default=128, help="cells of a mesh's lattice (default 128)")
    parser.add_argument(
        "--density",
        type=float,
        help="of a mesh's surface (default 25, or half of the densest place where that is thinner)",
    )
    options = parser.parse_args(argv)
    if options.out.suffix not in SUFFIXES[options.what]:
        raise InputError(f"--out {options.out}: expected a name that ends in {', '.join(SUFFIXES[options.what])}")
    start = read_start(options)
    if options.what == "sheet":
        write_atomically(options.out, png(sheet(start, options.views)))
    elif options.what == "grid":
        write_atomically(options.out, png(interpolation_grid(start, options.steps)))
    elif options.what == "bank":
        write_atomically(options.out, png(bank(start, options.views)))
    elif options.what == "film":
        write_film(options.out, film(start, options.frames, options.way), options.fps)
    else:
        made = mesh_of(start, options.cells, options.density)
        write_mesh(options.out, made, label_colours(made.labels) if options.colour == "class" else None)
        print(f"{len(made.vertices)} vertices, {len(made.faces)} triangles")
    print(f"wrote {options.out}")
    return 0


@torch.no_grad()
def seen(start: Start, latent: Tensor, cameras: Tensor, progress: str = "") -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels as pictures (R, R, 3) uint8 of w+ (1, rows, w_dim) through cameras (V, 25)."""
    network = start.network
    planes = network.planes(latent, "const")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    parts = cameras.to(start.device).split(TOGETHER)
    for part in track(list(parts), progress) if progress else parts:
        count = len(part)
        made = network.pictures(planes.expand(count, -1, -1, -1, -1), latent.expand(count, -1, -1), part)
        found += zip(to_pixels(made.image).permute(0, 2, 3, 1).cpu().numpy(), label_pictures(start, made))
    return found


def label_pictures(start: Start, made: LabelledPictures) -> list[np.ndarray]:
    """The rendered labels as pictures (R, R, 3) uint8."""
    if start.network.kind == "edges":
        return [label_picture(labels) for labels in made.labels[:, 0].float().cpu().numpy()]
    return [label_picture(labels, start.network.classes) for labels in made.labels.argmax(1).cpu().numpy()]


@torch.no_grad()
def sheet(start: Start, views: int) -> np.ndarray:
    """A row a map: the map, its image and rendered labels at its own view, then views around, (H, W, 3) uint8."""
    classes = None if start.network.kind == "edges" else start.network.classes
    tiles = []
    for number, begun in enumerate(start.maps):
        around = start.orbit.cameras(views, "turn" if start.orbit.yaw > 3 else "swing")
        drawn = seen(start, start.latent(number), torch.cat([begun.camera[None], around]))
        tiles += [label_picture(begun.labels, classes), *drawn[0], *(image for image, _ in drawn[1:])]
    return stacked(tiles, 3 + views, 2)


@torch.no_grad()
def interpolation_grid(start: Start, steps: int) -> np.ndarray:
    """From the first map and look to the last: geometry rows are mixed downwards, appearance rows to the right.

    Raises:
        InputError: there is one map only.
    """
    if len(start.maps) < 2:
        raise InputError("a grid lies between two label maps: give two with --map, or --data with --count 2")
    first, last = start.latent(0, 0), start.latent(len(start.maps) - 1, 1)
    rows = start.network.mapping.encoder.rows
    tiles = []
    for geometry in torch.linspace(0, 1, steps).tolist():
        for look in torch.linspace(0, 1, steps).tolist():
            mixed = [first[:, :rows].lerp(last[:, :rows], geometry), first[:, rows:].lerp(last[:, rows:], look)]
            tiles.append(seen(start, torch.cat(mixed, 1), start.maps[0].camera[None])[0][0])
    return stacked(tiles, steps, 2)


@torch.no_grad()
def bank(start: Start, views: int) -> np.ndarray:
    """Two rows a map: views around by the network, and of the asset it is baked to, on white; (H, W, 3) uint8."""
    baker, cameras, size = FieldBank(), start.orbit.cameras(views), start.network.resolution
    tiles = []
    for number in range(len(start.maps)):
        latent = start.latent(number)
        tiles += [image for image, _ in seen(start, latent, cameras)]
        box, asset = baker.box(baker.solid(start.network, latent)), baker.asset(start.network, latent, "shown")
        for camera in cameras.numpy():
            picture = np.full((size, size, 3), 255, np.uint8)
            if box is not None and asset is not None:
                rgba, _ = asset.render_window(box.projection(camera, size), 0, 0, size, size)
                picture = np.clip(rgba[..., :3].astype(np.int16) + 255 - rgba[..., 3:], 0, 255).astype(np.uint8)
            tiles.append(picture)
    return stacked(tiles, views, 2)


@torch.no_grad()
def film(start: Start, frames: int, way: str) -> list[np.ndarray]:
    """Pictures (R, 2 R, 3) uint8: the first map's object and its labels, its planes made once."""
    cameras = start.orbit.cameras(frames, "swing" if way == "swing" else "turn")
    return [np.concatenate(both, 1) for both in seen(start, start.latent(0), cameras, "film")]


@torch.no_grad()
def mesh_of(start: Start, cells: int, density: float | None) -> FieldMesh:
    """The surface of the first map's object; at a density that its field has, if none is asked for."""
    planes = start.network.planes(start.latent(0), "const")
    return field_mesh(start.network.field(planes), cells, density)


def label_colours(labels: np.ndarray) -> np.ndarray:
    """(V, 3) uint8 of logits (V, C), however many classes there are, or grey of edges (V, 1) in [0, 1]."""
    if labels.shape[1] > 1:
        return class_colours(labels.shape[1])[labels.argmax(1)]
    return np.repeat(np.rint(labels.clip(0, 1) * 255).astype(np.uint8), 3, 1)

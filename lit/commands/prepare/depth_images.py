"""``prepare depth-images``: photographs with true depth, drawn by the studio."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.paths import typed_path

CLASS = "car"
FILL = 0.98  # of the picture's half, that the ball around an object takes


def depth_images(argv: list[str]) -> int:
    """Draw one photograph of each of the studio's cars, with its true depth beside it."""
    parser = Arguments(
        "prepare depth-images",
        "Writes studio cars as CLASS/NAME.png with alpha, and 16-bit NAME_depth.png beside each.",
    )
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write")
    parser.add_argument("--objects", type=positive, default=400, help="cars, one photograph each (default 400)")
    parser.add_argument("--size", type=positive, default=128, help="image side in pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add_workers(parser)
    options = parser.parse_args(argv)
    from datamodules.processes import run_jobs

    job = partial(write_photo, root=str(options.root), size=options.size, seed=options.seed)
    run_jobs(job, range(options.objects), options.workers, True, f"photographs {options.size}x{options.size}")
    print(f"wrote {options.root / CLASS}: {options.objects} photographs with depth; read them with data.masks true")
    return 0


def write_photo(index: int, root: str, size: int, seed: int) -> None:
    """Draw and write one car from a drawn side, as G3DR's camera sees a ball that fills its picture."""
    from datamodules.images import write_image
    from datamodules.objects.photos.depth_files import write_depth
    from datamodules.objects.photos.photo import CAMERA_ANGLE, CAMERA_RADIUS
    from datamodules.objects.studio import render_view, studio_light, view_projection
    from datamodules.randomness import derive
    from datamodules.shapes.meshes import car

    mesh, rng = car("studio", index, seed), derive(seed, "depth images", index)
    light, azimuth, elevation = studio_light(rng), float(rng.uniform(0, 360)), float(rng.uniform(0, 20))
    half = (
        float(np.linalg.norm(mesh.dims)) / 2 / (FILL * CAMERA_RADIUS * np.sin(CAMERA_ANGLE / 2))
    )  # metres of a half edge
    projection = view_projection(mesh.dims, azimuth, elevation, size, CAMERA_RADIUS * half, CAMERA_ANGLE)
    view = render_view(mesh, projection, size, light)
    path = Path(root) / CLASS / f"{mesh.id}.png"
    depth = view["depth"].astype(np.float64) / half
    write_depth(path, np.where(view["rgba"][..., 3] > 0, depth, CAMERA_RADIUS + 1))
    write_image(path, view["rgba"].transpose(2, 0, 1))

"""``prepare depth-images``: photographs with true depth, drawn by the studio."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.paths import typed_path


def depth_images(argv: list[str]) -> int:
    """Draw one photograph of each of the studio's objects, with its true depth beside it."""
    parser = Arguments(
        "prepare depth-images",
        "Writes studio objects as CLASS/NAME.png with alpha, 16-bit NAME_depth.png and captions NAME.txt beside each.",
    )
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write")
    parser.add_argument("--classes", nargs="+", default=["car"], help="of the studio's (default car)")
    parser.add_argument("--objects", type=positive, default=400, help="of each class, a photograph each (default 400)")
    parser.add_argument("--size", type=positive, default=128, help="image side in pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add_workers(parser)
    options = parser.parse_args(argv)
    from datamodules.processes import run_jobs
    from datamodules.renders.model_meshes import studio_models

    models = studio_models(options.classes, options.objects)  # refuses unknown classes
    job = partial(write_photo, root=str(options.root), size=options.size, seed=options.seed)
    jobs = [(model.name, int(model.model)) for model in models]
    run_jobs(job, jobs, options.workers, True, f"photographs {options.size}x{options.size}")
    for name in options.classes:
        print(f"wrote {options.root / name}: {options.objects} photographs with depth; read them with data.masks true")
    return 0


def write_photo(job: tuple[str, int], root: str, size: int, seed: int) -> None:
    """Draw and write one object from a drawn side, as G3DR's camera sees a ball that fills its picture.

    Args:
        job: class and number.
        root: of the folder.
        size: pixels a side.
        seed: of the studio.
    """
    from datamodules.files.atomic_files import write_atomically
    from datamodules.images import write_image
    from datamodules.objects.photos.depth_files import write_depth
    from datamodules.objects.photos.filling_view import filling_projection, half_edge
    from datamodules.objects.photos.photo import CAMERA_RADIUS
    from datamodules.objects.studio import render_view, studio_light
    from datamodules.randomness import derive
    from datamodules.recognition.captions import WORDINGS, caption, facts_of
    from datamodules.renders.cad_models import CadModel
    from datamodules.renders.model_meshes import studio_mesh
    from datamodules.shapes.meshes import car

    name, index = job
    if name == "car":
        mesh, rng = car("studio", index, seed), derive(seed, "depth images", index)
    else:
        mesh = studio_mesh(CadModel(name, f"{index:06d}", name, None), seed)
        rng = derive(seed, "depth images", name, index)
    light, azimuth, elevation = studio_light(rng), float(rng.uniform(0, 360)), float(rng.uniform(0, 20))
    view = render_view(mesh, filling_projection(mesh.dims, azimuth, elevation, size), size, light)
    path = Path(root) / name / (f"{mesh.id}.png" if name == "car" else f"{name}{index:06d}.png")
    depth = view["depth"].astype(np.float64) / half_edge(mesh.dims)
    write_depth(path, np.where(view["rgba"][..., 3] > 0, depth, CAMERA_RADIUS + 1))
    facts = facts_of(name, mesh, azimuth, view["parts"])
    texts = [caption(facts), *(caption(facts, derive(seed, "depth images", name, index, n)) for n in range(WORDINGS))]
    write_atomically(path.with_suffix(".txt"), "\n".join(texts) + "\n")
    write_image(path, view["rgba"].transpose(2, 0, 1))

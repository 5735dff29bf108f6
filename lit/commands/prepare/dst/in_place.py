"""``prepare dst-in-place``: objects injected into training frames, drawn over where they stand, as a bank to replay."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.masks import share
from lit.commands.prepare.paths import typed_path

USAGE = """Draws a diffusion model's pictures over objects that an experiment's injection puts into its training frames,
each where it stands, and writes them as a bank that conf/injection/dst_in_place.yaml replays in the very same frames.
The experiment's options may follow, as `fit` takes them: --data.root DIR --data.injection conf/injection/mesh.yaml"""


def dst_in_place(argv: list[str]) -> int:
    """Write the frames that are missing, damaged, or of other settings, then the index."""
    options, rest = _parse(argv)
    from datamodules.assets.in_place.in_place_bank import IN_PLACE_FRAMES, IN_PLACE_INDEX, read_index
    from datamodules.files.atomic_files import refuse_foreign, write_atomically
    from datamodules.files.folder_lock import folder_lock
    from datamodules.processes import run_jobs
    from lit.commands.prepare.dst.in_place_frames import InPlacePlan, opened, write_frame_of

    if not options.config.is_file():
        raise InputError(f"{options.config}: no such file; expected an experiment, conf/experiment/kitti_small.yaml")
    settings = _pipeline(options)
    plan = InPlacePlan(
        str(options.bank), str(options.config), tuple(rest), options.split, settings, options.device, options.strength,
        options.seeds, options.seed, options.edges, options.size, options.batch,
    )  # fmt: skip
    index = options.bank / IN_PLACE_INDEX
    with folder_lock(options.bank, "a bank of objects in place"):
        if not index.is_file():
            refuse_foreign(index, [IN_PLACE_FRAMES])
        here = opened(plan)
        if index.is_file() and read_index(options.bank).settings != here.digest:
            raise InputError(f"{options.bank}: holds objects of other settings; delete it or give another folder")
        count = len(here.data.train_reader)
        chosen = range(count if options.frames is None else min(options.frames, count))
        rows = run_jobs(partial(write_frame_of, plan=plan), chosen, options.workers, True, "frames")
        found = here.index(rows)
        if not found.classes:
            raise InputError(f"{options.bank}: no object found a place in {len(rows)} frames; relax the injection")
        write_atomically(index, found.text())
    held = [row.objects for row in found.frames.values()]
    print(f"wrote {options.bank}: {sum(held)} objects in {sum(map(bool, held))} of {len(held)} frames")
    for key, value in found.figures.items():
        print(f"  {key:<24} {'-' if value is None else format(value, '.3f')}")
    return 0


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Arguments("prepare dst-in-place", USAGE)
    add = parser.add_argument
    add("--bank", type=typed_path, required=True, help="folder to write")
    add("-c", "--config", type=Path, required=True, help="experiment, conf/experiment/kitti_small.yaml")
    add("--split", default="train", help="split whose frames are drawn into (default train)")
    add("--frames", type=positive, help="only so many of its training frames (default: all)")
    add("--pipeline", help="folder in diffusers' layout, or with --hub a name there; none for --strength 0")
    add("--controlnet", nargs=1, default=(), help="of a canny ControlNet (default: the pipeline's own)")
    add("--family", choices=("sd", "sdxl"), default="sd", help="Stable Diffusion 1 and 2 (default), or XL")
    add("--scheduler", choices=("ddim", "unipc", "dpm", "euler", "own"), default="ddim", help="default ddim")
    add("--steps", type=positive, default=20, help="of the sampler, of which --strength are taken (default 20)")
    add("--eta", type=float, default=1.0, help="of DDIM (default 1)")
    add("--guidance", type=float, default=9.0, help="weight of the text (default 9)")
    add("--strength", type=share, default=0.5, help="of the change, 0 leaves the object as it is (default 0.5)")
    add("--control", type=float, default=1.0, help="weight of the edges (default 1)")
    add(
        "--edges",
        choices=("render", "picture"),
        default="render",
        help="of the object drawn at --size, or as the frame shows it",
    )
    add(
        "--size",
        type=positive,
        default=64,
        help="pixels of the square crops, what the model was trained at (default 64)",
    )
    add("--seeds", type=positive, default=8, help="objects of each frame, one a draw (default 8)")
    add("--seed", type=int, default=0, help="of all draws (default 0)")
    add("--batch", type=positive, default=8, help="crops at a time (default 8)")
    add("--dtype", choices=("float32", "float16", "bfloat16"), help="default float16 on a GPU, else float32")
    add("--device", help="default: the first GPU, else cpu")
    add("--hub", action="store_true", help="names may be fetched from the Hugging Face hub")
    add("--workers", type=positive, help="processes (default: one a core, on a GPU one)")
    add_workers(parser, processes=False)
    options, rest = parser.parse_known_args(argv)
    if options.seed < 0 or options.seeds > 100:
        raise InputError(f"--seed {options.seed} --seeds {options.seeds}: expected 0 or more, and 1 to 100")
    if not 8 <= options.size <= 4096:
        raise InputError(f"--size {options.size}: expected 8 to 4096 pixels")
    import torch

    options.device = options.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    options.workers = options.workers or (1 if options.device.startswith("cuda") else os.cpu_count() or 1)
    return options, rest


def _pipeline(options: argparse.Namespace) -> Any:
    """How the model draws; None where nothing is drawn."""
    from lit.generators.dst.pipelines import PipelineSettings

    if options.strength == 0:
        return None
    if options.pipeline is None:
        raise InputError(
            "--pipeline: expected a diffusers folder (prepare dst-pipeline writes one of a trained model), or "
            "--strength 0 to keep the objects as they are"
        )
    dtype = options.dtype or ("float16" if options.device.startswith("cuda") else "float32")
    settings = PipelineSettings(
        options.pipeline, tuple(options.controlnet), ("canny",), options.family,
        None if options.scheduler == "own" else options.scheduler, options.steps, options.eta, options.guidance,
        options.control, options.size, dtype, options.hub,
    )  # fmt: skip
    if int(options.steps * options.strength) < 1:
        raise InputError(f"--strength {options.strength:g} of {options.steps} steps: less than one; raise one of them")
    return settings

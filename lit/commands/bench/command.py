"""``python -m lit bench SUBJECT``: prints a table of figures and can write them as JSON."""

from __future__ import annotations

from pathlib import Path

from lit.arguments import Arguments, positive
from lit.commands.dispatch import chosen
from lit.commands.launch_options import not_negative
from lit.results import require_output

SUBJECTS = {
    "render": ("render.run", "voxel and field renderers against a two-pass reference"),
    "inject": ("loader.run", "pasting, measured inside the loader, where it costs"),
    "loader": ("loader.run", "what injection costs a data loader"),
    "nuscenes-tables": (
        "starting.nuscenes_tables.run",
        "starting on nuScenes: seconds and memory, beside nuscenes-devkit",
    ),
    "setups": (
        "starting.setups.run",
        "starting on 7,481 frames of KITTI and on 500,000 posed views: seconds, memory",
    ),
    "loader-memory": (
        "starting.loader_memory.run",
        "memory of a loader's process over 100,000 injected frames",
    ),
    "training": ("training.command.run", "steps of detectors and generators at the published sizes; for a GPU"),
    "pix2pix3d": ("pix2pix3d.run", "a label map to views of its field, the compiled renderer beside the reference"),
    "evaluate": ("evaluate.run", "the evaluators on a validation split's worth of files"),
}
OF_FRAMES = ("inject", "loader", "loader-memory")  # subjects that take a folder of frames


def main(argv: list[str]) -> int:
    """Measure what is asked for."""
    run = chosen("bench", "Measures speed beside a named reference.", SUBJECTS, argv)
    if run is None:
        return 0
    parser = Arguments(f"bench {argv[0]}", f"Measures {argv[0]} on this machine.")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.json", help="also write the figures here")
    if argv[0] in OF_FRAMES:
        parser.add_argument("--root", type=Path, default=None, metavar="DIR", help="a KITTI folder to take frames of")
    if argv[0] == "pix2pix3d":
        parser.add_argument(
            "--checkpoint", type=Path, default=None, metavar="CKPT", help="a trained generator; random weights without"
        )
    if argv[0] == "nuscenes-tables":
        parser.add_argument(
            "--share", type=float, nargs="+", default=[0.1], help="of trainval's size, written for it (0.1); or several"
        )
        parser.add_argument("--root", type=Path, default=None, metavar="DIR", help="a nuScenes folder instead")
        parser.add_argument("--no-devkit", dest="devkit", action="store_false", help="leave nuscenes-devkit out")
    if argv[0] == "setups":
        parser.add_argument("--share", type=float, default=1.0, help="of both sizes (1)")
    if argv[0] == "loader-memory":
        parser.add_argument("--frames", type=positive, default=100_000, help="to inject into (100000)")
        parser.add_argument("--bank", type=Path, default=None, metavar="DIR", help="a bank; by default 96 voxel cars")
    if argv[0] == "training":
        parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU, to see that it runs")
        parser.add_argument("--only", nargs="+", default=None, metavar="NAME", help="only these trainings")
        parser.add_argument("--steps", type=positive, default=None, help="steps that are timed, after one that is not")
        parser.add_argument("--batch", type=positive, default=None, help="pictures, or objects, a step")
        parser.add_argument("--workers", type=not_negative, default=None, help="of the loaders")
        parser.add_argument("--parts", action="store_true", help="also say where the time goes")
    given = vars(parser.parse_args(argv[1:]))
    if given["out"] is not None:
        require_output(given["out"])
    run(**given)
    return 0

"""``python -m lit bench SUBJECT``: prints a table of figures and can write them as JSON."""

from __future__ import annotations

from pathlib import Path

from lit.arguments import Arguments
from lit.commands.dispatch import chosen

SUBJECTS = {
    "render": ("render.run", "voxel and field renderers against a two-pass reference"),
    "inject": ("loader.run", "pasting, measured inside the loader, where it costs"),
    "loader": ("loader.run", "what injection costs a data loader"),
    "evaluate": ("evaluate.run", "the evaluators on a validation split's worth of files"),
}
OF_FRAMES = ("inject", "loader")  # subjects that take a folder of frames


def main(argv: list[str]) -> int:
    """Measure what is asked for."""
    run = chosen("bench", "Measures speed beside a named reference.", SUBJECTS, argv)
    if run is None:
        return 0
    parser = Arguments(f"bench {argv[0]}", f"Measures {argv[0]} on this machine.")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.json", help="also write the figures here")
    if argv[0] in OF_FRAMES:
        parser.add_argument("--root", type=Path, default=None, metavar="DIR", help="a KITTI folder to take frames of")
    run(**vars(parser.parse_args(argv[1:])))
    return 0

"""``python -m lit evaluate placement``: whether injected objects stand where labelled ones of their class do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lit.arguments import Arguments, positive

USAGE = """Injects into training frames as `fit` does, and compares injected with labelled objects of their class.
The experiment's options may follow, as `fit` takes them: --data.root DIR --data.injection conf/injection/mesh.yaml"""


def placement(argv: list[str]) -> int:
    """Two-sample distances of x, z, yaw and 2D height between injected and labelled objects."""
    parser = Arguments("evaluate placement", USAGE)
    parser.add_argument("-c", "--config", type=Path, required=True, help="an experiment's YAML file")
    parser.add_argument("--frames", type=positive, default=100, help="evenly over the split (default 100)")
    parser.add_argument("--split", help="split to take frames from (default: the experiment's own for training)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the injection (default 0)")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--picture", type=Path, help="PNG file of histograms")
    options, rest = parser.parse_known_args(argv)

    from datamodules.files.atomic_files import write_atomically
    from datamodules.injection.reach import effective_range
    from datamodules.processes import track
    from lit.commands.injected_frames import injected_pairs, injecting_datamodule
    from lit.leaderboard.placements import VERSION, Placements, histograms
    from lit.results import write_output

    found = Placements()
    datamodule = injecting_datamodule(options.config, rest, options.split)
    assert datamodule.injection is not None
    print(effective_range(datamodule.injection, datamodule.train_reader) or "placement: no free place found")
    pairs = injected_pairs(datamodule, options.frames, options.seed, spread=True)
    for before, after in track(pairs, "frames", total=options.frames):
        found.add(before, after)
    rows = found.compare()
    print(f"{'class':<12} {'':<7} {'distance':>9}  {'injected 5, 50, 95 %':>24}  {'labelled 5, 50, 95 %':>24}")
    for row in rows:
        ends = ["".join(f"{value:8.2f}" for value in values) for values in (row.injected, row.labelled)]
        print(f"{row.name:<12} {row.quantity:<7} {row.measure} = {row.distance:5.3f}  {ends[0]:>24}  {ends[1]:>24}")
    print(f"{found.frames} frames, {found.injected} injected objects")
    if options.out:
        stated = {"name": "placement", "version": VERSION, "seed": options.seed}
        content = {"rows": [asdict(row) for row in rows], "frames": found.frames, "evaluator": stated}
        write_output(options.out, content)
        print(f"wrote {options.out}")
    if options.picture:
        write_atomically(options.picture, histograms(found))
        print(f"wrote {options.picture}")
    return 0

"""``python -m lit evaluate pose-swap``: which rows of a GAN's latents hold the pose."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lit.arguments import Arguments


def pose_swap(argv: list[str]) -> int:
    """Azimuth errors when a GAN's samples exchange their later or their early rows."""
    parser = Arguments("evaluate pose-swap", "Which rows of a GAN's latents hold the pose.")
    parser.add_argument("--generator", type=Path, required=True, help="StyleGAN2 checkpoint of any known format")
    parser.add_argument("--regressor", type=Path, required=True, help="checkpoint of the pose_regressor experiment")
    parser.add_argument("--pose-layers", type=int, nargs="+", help="splits to measure (default: every one)")
    parser.add_argument("--pairs", type=int, default=256, help="pairs of samples (default 256)")
    parser.add_argument("--truncation", type=float, default=1.0, help="of the samples' styles (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args(argv)

    from datamodules.processes import track
    from lit.posing.swap import VERSION, measure_pose_swap
    from lit.proxies.pose_regressor import PoseRegressor
    from lit.results import write_output
    from lit.weights import read_stylegan2  # imports torch: --help stays quick

    generator, regressor = read_stylegan2(options.generator), PoseRegressor.load(options.regressor)
    splits = options.pose_layers or range(1, generator.rows)
    rows = [
        measure_pose_swap(generator, regressor, split, options.pairs, options.seed, options.truncation)
        for split in track(list(splits), "pose layers")
    ]
    print("pose layers  shared pose  shared shape  unrelated  follows     (mean azimuth errors in degrees)")
    for row in rows:
        errors = f"{row.shared_pose:>11.1f}  {row.shared_shape:>12.1f}  {row.unrelated:>9.1f}"
        print(f"{row.pose_layers:>11}  {errors}  {row.follows:>7.0%}")
    if options.out:
        stated = {"name": "pose-swap", "version": VERSION}
        write_output(options.out, {"rows": [asdict(row) for row in rows], "evaluator": stated})
        print(f"wrote {options.out}")
    return 0

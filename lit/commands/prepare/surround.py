"""``prepare surround``: writes a procedural world of six cameras."""

from __future__ import annotations

from lit.arguments import positive
from lit.commands.prepare.writer import writer


def surround(argv: list[str]) -> int:
    """Write a procedural world seen by six cameras as a nuScenes folder."""
    parser = writer("prepare surround", "Writes a procedural road world as a true nuScenes folder of six cameras.")
    parser.add_argument("--train-scenes", type=positive, default=6, help="training scenes (default 6)")
    parser.add_argument("--val-scenes", type=positive, default=2, help="validation scenes (default 2)")
    parser.add_argument(
        "--samples", dest="samples_per_scene", type=positive, default=6, help="a scene, at 2 Hz (default 6, at most 40)"
    )
    parser.add_argument("--width", type=positive, default=224, help="image width in pixels (default 224)")
    parser.add_argument("--height", type=positive, default=128, help="image height in pixels (default 128)")
    options = parser.parse_args(argv)
    from datamodules.world.surround.world import write_surround_world

    write_surround_world(**vars(options))
    scenes = f"{options.train_scenes} training and {options.val_scenes} validation scenes"
    print(f"wrote {options.root}: {scenes} of {options.samples_per_scene} samples")
    return 0

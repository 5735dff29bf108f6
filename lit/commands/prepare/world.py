"""``prepare world``: writes a procedural road world."""

from __future__ import annotations

from lit.arguments import positive
from lit.commands.prepare.writer import writer


def world(argv: list[str]) -> int:
    """Write a procedural road world as a KITTI folder."""
    parser = writer("prepare world", "Writes a procedural road world as a true KITTI folder.")
    parser.add_argument("--train", type=positive, default=400, help="training frames (default 400)")
    parser.add_argument("--val", type=positive, default=300, help="validation frames (default 300)")
    parser.add_argument("--width", type=positive, default=320, help="image width in pixels (default 320)")
    parser.add_argument("--height", type=positive, default=96, help="image height in pixels (default 96)")
    options = parser.parse_args(argv)
    from datamodules.world.road_world import write_world

    write_world(**vars(options))
    print(f"wrote {options.root}: {options.train} training and {options.val} validation frames")
    return 0
